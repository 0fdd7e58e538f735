"""Presets, schemes and overrides: what wins over what, and what a mistake is told."""

from __future__ import annotations

import pytest

from latent_rl.config.loading import (
    dump,
    flatten,
    load_config,
    load_resolved,
    merge,
    parse_overrides,
    preset_names,
    scheme_names,
)
from latent_rl.config.schema import Config
from latent_rl.errors import UserError


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("scheme", scheme_names())
def test_every_preset_loads_under_every_scheme(preset: str, scheme: str) -> None:
    config = load_config(preset, [f"scheme={scheme}"])
    assert config.scheme == scheme
    assert config.name == f"{preset}-{scheme}-0"


def test_the_schemes_have_the_passes_of_their_papers() -> None:
    def passes(scheme: str) -> int:
        config = load_config("sudoku-4x4", [f"scheme={scheme}"])
        return config.env.max_steps * config.network.cycles * (config.network.inner_updates + 1)

    assert passes("trm") == 336
    assert passes("dis") == passes("pi") == 18


def test_command_line_wins_over_preset_over_scheme_over_defaults(tmp_path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("scheme: dis\nenv: {max_steps: 4, options: {size: 6}}\noptimizer: {lr: 1e-4}\n")
    config = load_config(str(preset), ["optimizer.lr=3e-4", "env.options.seed=7"])
    assert config.optimizer.lr == pytest.approx(3e-4)
    assert config.env.max_steps == 4  # the preset, over 6 of the scheme
    assert config.network.step_embedding  # the scheme, over the default
    assert config.env.options == {"size": 6, "seed": 7}  # merged, not replaced
    assert config.name == "mine-dis-0"


def test_a_resolved_configuration_reads_back_equal(tmp_path) -> None:
    config = load_config("sudoku-6x6", ["seed=3", "scheme=trm"])
    path = tmp_path / "config.yaml"
    path.write_text(dump(config))
    assert load_resolved(path) == config
    assert load_resolved(path, ["seed=4"]).seed == 4


def test_flatten_gives_dotted_keys() -> None:
    flat = flatten(Config(env={"options": {"size": 4}}))
    assert flat["env.options.size"] == 4
    assert flat["optimizer.betas"] == [0.9, 0.95]
    assert flat["scheme"] == "pi"


def test_overrides_are_yaml_and_may_touch_the_same_section() -> None:
    changes = parse_overrides(["a.b=1", "a.c=[1, 2]", "a.b=null", "d=x=y"])
    assert changes == {"a": {"b": None, "c": [1, 2]}, "d": "x=y"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rate=1", r"unknown config key 'optimizer.learning_rate'; did you mean 'optimizer.\w+'"),
        ("optimiser.lr=1", r"unknown config key 'optimiser'; did you mean 'optimizer'"),
        ("lr=1", r"unknown config key 'lr'; did you mean 'optimizer.lr'"),
        ("optimizer.lr=fast", r"optimizer.lr: .*number.*got 'fast'"),
        ("optimizer.lr=-1", r"optimizer.lr: .*greater than 0, got -1"),
        ("collector.num_envs=2.5", r"collector.num_envs: .*integer.*got 2.5"),
        ("network.mixer=conv", r"network.mixer: .*'attention', 'mlp' or 'units', got 'conv'"),
        ("optimizer=3", r"optimizer: .*got 3"),
        ("env=3", r"env: .*got 3"),
        ("scheme=tmr", r"unknown scheme 'tmr'; did you mean 'trm'"),
        ("scheme=3", r"scheme: expected a name or a file, got 3"),
        ("seed", r"'seed' is not of the form key=value"),
        ("seed=[1", r"seed: '\[1' is not a YAML value"),
        ("loss.terms.return.weight=1", r"loss.terms.return learns from whole trajectories: set collector.mode=replay"),
    ],
)
def test_mistakes_are_told_in_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_config("sudoku-4x4", [override])
    assert "\n" not in str(caught.value)


def test_a_run_without_an_end_is_refused(tmp_path) -> None:
    path = tmp_path / "endless.yaml"
    path.write_text("budget: {updates: null}\n")
    with pytest.raises(UserError, match="budget: set budget.updates, budget.passes or budget.seconds"):
        load_config(str(path))


def test_files_that_are_missing_or_no_configuration(tmp_path) -> None:
    with pytest.raises(UserError, match="unknown preset 'sudoku-4x5'; did you mean 'sudoku-4x4'"):
        load_config("sudoku-4x5")
    with pytest.raises(UserError, match="does not exist"):
        load_config(str(tmp_path / "none.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\n")
    with pytest.raises(UserError, match="is not valid YAML"):
        load_config(str(broken))
    broken.write_text("- a\n- b\n")
    with pytest.raises(UserError, match="expected a mapping"):
        load_config(str(broken))


def test_another_puzzle_drops_the_options_of_the_presets_puzzle() -> None:
    config = load_config("sudoku-4x4", ["env.id=latent_rl/NQueens-v0", "env.options.size=8"])
    assert config.env.options == {"size": 8}
    assert config.name == "nqueens-pi-0"
    assert load_config("sudoku-4x4", ["env.id=my.puzzles:LightsOut-v2"]).name == "lightsout-pi-0"
    same = load_config("sudoku-4x4", ["env.id=latent_rl/Sudoku-v0", "env.options.seed=8"])
    assert same.env.options["size"] == 4


def test_another_rule_or_other_targets_drop_the_options_of_those_before() -> None:
    assert load_config("sudoku-4x4", ["scheme=trm"]).halting.options == {"exploration": 0.1, "threshold": 0.5}
    assert load_config("sudoku-4x4", ["scheme=trm", "halting.rule=never"]).halting.options == {}
    kept = load_config("sudoku-4x4", ["scheme=trm", "halting.options.exploration=0.3"]).halting.options
    assert kept == {"exploration": 0.3, "threshold": 0.5}
    below = {"targets": {"name": "a", "k": 1}}
    assert merge(below, {"targets": {"name": "b"}}) == {"targets": {"name": "b"}}
    assert merge(below, {"targets": {"k": 2}}) == {"targets": {"name": "a", "k": 2}}
    other = {"optimizer": {"name": "adamw", "lr": 1.0}}
    assert merge(other, {"optimizer": {"name": "muon"}}) == {"optimizer": {"name": "muon", "lr": 1.0}}


def differences(preset: str, other: str) -> dict[str, object]:
    ours, theirs = (flatten(load_config(one)) for one in (preset, other))
    assert ours.keys() == theirs.keys()
    return {key: value for key, value in ours.items() if value != theirs[key]}


def test_a_preset_with_a_base_says_only_what_differs() -> None:
    assert differences("arc-agi-2", "arc-agi-1") == {
        "name": "arc-agi-2-pi-0",
        "env.options.train": ["data/arc-agi-2/training", "data/concept-arc/corpus"],
        "env.options.test": "data/arc-agi-2/evaluation",
    }
    assert differences("sudoku-hard-gpu", "sudoku-hard") == {
        "name": "sudoku-hard-gpu-pi-0",
        "device": "cuda",
        "precision": "bfloat16",
        "compile": True,
        "network.width": 512,
        "network.layers": 2,
        "network.heads": 8,
        "network.multiple_of": 256,
        "collector.num_envs": 768,
        "optimizer.lr": 3e-4,
        "optimizer.weight_decay": 1.0,
        "optimizer.warmup_updates": 500,
        "optimizer.ema_decay": 0.999,
        "budget.seconds": 540.0,
        "evaluation.every_updates": 2000,
        "evaluation.puzzles": 1000,
    }


@pytest.fixture
def presets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(**texts: str) -> None:
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text)

    return write


def test_bases_may_be_files_and_have_bases(presets) -> None:
    presets(
        low="base: sudoku-6x6\nname: mine\nscheme: dis\noptimizer: {lr: 1e-4}\nenv: {options: {seed: 5}}\n",
        high="base: low.yaml\noptimizer: {lr: 2e-4}\nenv: {options: {train: 7}}\n",
    )
    config, bottom = load_config("high.yaml", ["env.options.test=9"]), load_config("sudoku-6x6")
    assert config.env.options == {**bottom.env.options, "seed": 5, "train": 7, "test": 9}
    assert config.optimizer.lr == pytest.approx(2e-4) and config.network.width == bottom.network.width
    assert config.scheme == "dis"
    assert config.name == "high-dis-0"  # a name is the run's own: two runs with one would share a folder
    assert load_config("low.yaml").name == "mine"


def test_a_preset_for_another_puzzle_drops_the_options_of_its_base(presets) -> None:
    presets(mine="base: sudoku-6x6\nenv: {id: latent_rl/NQueens-v0, options: {size: 8}}\n")
    config = load_config("mine.yaml")
    assert config.env.options == {"size": 8}
    assert config.network == load_config("sudoku-6x6").network


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: sudoku-4x5", r"mine.yaml, base: unknown preset 'sudoku-4x5'; did you mean 'sudoku-4x4'"),
        ("base: none.yaml", r"mine.yaml, base: config file none.yaml does not exist"),
        ("base: [sudoku-4x4]", r"mine.yaml, base: expected the name or the file of a preset, got \['sudoku-4x4'\]"),
        ("base: mine.yaml", r"a preset cannot build on itself: mine.yaml -> mine.yaml"),
        ("base: other.yaml", r"a preset cannot build on itself: mine.yaml -> other.yaml -> mine.yaml"),
    ],
)
def test_mistakes_in_a_base_are_told_in_one_line(presets, text: str, message: str) -> None:
    presets(mine=text, other="base: mine.yaml")
    with pytest.raises(UserError, match=message) as caught:
        load_config("mine.yaml")
    assert "\n" not in str(caught.value)


def test_a_base_belongs_to_files_of_presets() -> None:
    with pytest.raises(UserError, match="unknown config key 'base'"):
        load_config("sudoku-4x4", ["base=sudoku-6x6"])
