"""Types first, then bounds, then work: values that were tracebacks, hangs or nonsense."""

from __future__ import annotations

from pathlib import Path

import pytest

from latent_rl.cli.manners import one_line
from latent_rl.config import load_config, validate_saved
from latent_rl.errors import UserError

BOMB = "[&a [x,x,x,x,x,x,x,x,x,x], " + ", ".join(
    f"&{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
) + "]"  # fmt: skip


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"name={BOMB}", "name: .*at most 10,000 values"),
        ("seed=" + "[" * 20_000, "seed: .* is not a YAML value"),
        ("name=&a [*a]", "nested too deeply"),
        ("optimizer={lr: 1, lr: 2}", "optimizer: .* is not a YAML value"),
        ("env.options.day=2020-13-45", "is not a YAML value"),
        ("env.options.day=2020-01-01", "env.options.day: expected text, a number, .* got a date"),
        ("env.options.file=!!binary aGVsbG8=", "got a bytes"),
        ('env.options.cache_dir="a\\0b"', "env.options.cache_dir: expected text without control characters"),
        ("env.options.rate=.nan", "env.options.rate: expected a finite number, got nan"),
        ("env.reward.pass_cost=.inf", "env.reward.pass_cost: expected a finite number, got inf"),
        ("loss.terms.policy.weight=1e999", "loss.terms.policy.weight: expected a finite number"),
        ('optimizer.lr="1e999"', "optimizer.lr: .*finite number"),
        ("optimizer.lr=true", "optimizer.lr: expected a number, got True"),
        ("collector.num_envs=true", "collector.num_envs: expected a number"),
        ("optimizer.betas=[1, 1]", "optimizer.betas: .*less than 1, got 1"),
        ("seed=9223372036854775808", "seed: expected an integer of 64 bits"),
        ("network.width=10000000000", "network.width: .*less than or equal to 16384"),
        ("network.cycles=1000000000", "network.cycles: .*less than or equal to 1000"),
        ("network.heads=1000000000000", "network.heads: .*less than or equal to 1000"),
        ("env.max_steps=1000000000000", "env.max_steps: .*less than or equal to 1000"),
        ("threads=2147483648", "threads: .*less than or equal to 1024"),
        ("loss.terms.policy.targets={name: [1]}", "targets: a target generator with options needs its name"),
    ],
)
def test_refused_by_name_before_anything_is_done(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config("sudoku-4x4", [override])


@pytest.mark.parametrize(
    "name",
    ["../../x", "/x", "a/b", "a\\\\b", ".", "..", "", " ", "a ", "[/b]", "\\u202eb", "a\\nb", "\\ud800", "a" * 101],
)
def test_a_name_is_one_plain_folder_name(name: str) -> None:
    with pytest.raises(UserError, match="^name: expected"):
        load_config("sudoku-4x4", [f'name="{name}"'])


def test_a_network_may_have_no_position_for_a_puzzle_embedding() -> None:
    assert load_config("sudoku-4x4", ["network.puzzle_positions=0"]).network.puzzle_positions == 0
    with pytest.raises(UserError, match=r"network\.puzzle_positions: "):
        load_config("sudoku-4x4", ["network.puzzle_positions=-1"])


def test_names_as_people_give_them() -> None:
    assert load_config("sudoku-4x4", ['name="[red] übung 3"']).name == "[red] übung 3"
    assert load_config("sudoku-4x4", ["name=null"]).name == "sudoku-4x4-pi-0"
    assert load_config("sudoku-4x4", ["optimizer.lr=3e-4"]).optimizer.lr == 3e-4


def test_files_are_utf_8_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    file = tmp_path / "mine.yaml"
    file.write_text("name: übung\n", encoding="utf-8")
    assert load_config(str(file)).name == "übung"
    file.write_text("name: übung\n", encoding="latin-1")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(str(file))
    file.write_text("seed: 1\nseed: 2\n")
    with pytest.raises(UserError, match="'seed' stands there twice"):
        load_config(str(file))


def test_a_saved_configuration_is_checked_likewise() -> None:
    saved = load_config().model_dump(mode="json")
    assert validate_saved(saved) == load_config()
    for wrong in (1, {**saved, "seed": 2**70}, {**saved, "loss": {"value": 3}}, {1: 2}):
        with pytest.raises(UserError):
            validate_saved(wrong)


def test_messages_are_one_short_line() -> None:
    line = one_line("what is wrong " + "x" * 5000 + "\x1b[31m\n and what would be right")
    assert len(line) <= 300 and line.isprintable()
    assert line.startswith("what is wrong") and line.endswith("and what would be right")


def test_text_has_an_end() -> None:
    with pytest.raises(UserError, match="device: expected text of at most 5,000 characters"):
        load_config("sudoku-4x4", [f"device={'a' * 10_000}"])


def test_merged_keys_have_an_end(tmp_path: Path) -> None:
    rows = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)]
    (tmp_path / "bomb.yaml").write_text("\n".join(["a0: &a0 {x: 1}", *rows]))
    with pytest.raises(UserError, match="more than 10,000 merged keys"):
        load_config(str(tmp_path / "bomb.yaml"))
