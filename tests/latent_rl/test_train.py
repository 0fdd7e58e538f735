"""Training end to end on a tiny puzzle: what a run leaves behind, exact accounting, stopping and going on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from loop import learn
from programs import Program

from latent_rl import evaluate
from latent_rl import train as train_program
from latent_rl.config.loading import load_config
from latent_rl.envs import register_puzzle, registered_ids
from latent_rl.storage import History, load_model, load_training
from latent_rl.train import main
from latent_rl.training import assemble
from latent_rl.training.learner import Learner

TINY = [
    "env.id=tests/Backwards-v0",
    "env.options={train: 300, test: 50}",
    "network={width: 16, layers: 1, heads: 2, multiple_of: 8}",
    "collector.num_envs=8",
    "evaluation={every_updates: 5, puzzles: 20}",
    "optimizer.warmup_updates=3",
    "tracking.enabled=false",
]

MODES = {
    "fused": [],
    "trm": ["scheme=trm", "network.cycles=2", "network.inner_updates=1", "env.max_steps=3"],
    "dis": ["scheme=dis"],
    "captured": ["collector.mode=captured"],
    "replay": ["collector.mode=replay", "collector.steps_per_batch=3", "collector.minibatch_size=12"],
    "replay-return": [
        "collector={mode: replay, steps_per_batch: 4, minibatch_size: 10, epochs: 2}",
        "loss.terms={solved: null, return: {weight: 0.5}}",
    ],
    "muon": ["optimizer.name=muon"],
    "embeddings": [
        "env.id=latent_rl/Arc-v0",
        "env.options={test: mini, train: [], side: 8, augmentations: 50}",
        "network={puzzle_positions: 2, puzzle_embedding_width: 20, cycles: 1, inner_updates: 1}",
        "env.max_steps=2",
    ],
    "halting": ["halting={rule: learned, ppo: {steps: 3, hidden: 8}}"],
    "replay-halting": [
        "collector={mode: replay, steps_per_batch: 3, minibatch_size: 12}",
        "halting={rule: learned, ppo: {steps: 4, hidden: 8}}",
    ],
}
REPEATED = ("replay", "muon", "replay-halting")
"""Of which the parts are in others."""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "tests/Backwards-v0" not in registered_ids():
        register_puzzle("tests/Backwards-v0", "toy_puzzle:Backwards")


quick = pytest.mark.usefixtures("without_figures")
fails = Program(main).mistake


def run(*arguments: str) -> None:
    main([*TINY, *arguments])


def weights(run_dir: str) -> dict[str, torch.Tensor]:
    state = load_training(Path(run_dir) / "checkpoint", "cpu")["learner"]
    return {**state["reasoner"], **{f"averaged {name}": value for name, value in state["averaged"].items()}}


def test_a_run_leaves_config_checkpoint_summary_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    run("name=first", "budget.updates=10", "--json", "result.json")
    summary = json.loads(Path("runs/first/summary.json").read_text())
    assert summary == json.loads(Path("result.json").read_text())
    assert summary["puzzle"] == "backwards-4"
    assert summary["updates"] == 10
    assert summary["eval_puzzles"] == 50
    assert summary["eval_passes_per_puzzle"] == 18
    assert summary["train_passes_total"] == 10 * 8 * 3
    assert summary["savings_vs_trm"] == pytest.approx(336 / 18)
    assert len(summary["accuracy_by_step"]) == 6
    assert {path.name for path in Path("runs/first/figures").iterdir()} >= {"accuracy_by_step.png", "trajectory.png"}
    config = load_config("sudoku-4x4", [*TINY, "name=first", "budget.updates=10"])
    assert load_model(Path("runs/first")).config == config
    assert summary["validation"].keys() == {"puzzles", "exact_accuracy", "solved_rate", "cell_accuracy"}
    assert summary["validation"]["puzzles"] == 15
    milestones = json.loads(Path("runs/first/history.json").read_text())
    assert [(one["updates"], one["split"]) for one in milestones] == [
        (5, "validation"),
        (10, "validation"),
        (10, "test"),
    ]
    screen = capsys.readouterr()
    assert "savings against TRM" in screen.out
    assert "10 updates" in screen.err

    run("name=first", "budget.updates=1")
    assert Path("runs/first-2/summary.json").exists(), "a second run must not overwrite the first"


@quick
def test_without_validation_puzzles_a_run_is_measured_once_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    options = "env.options={size: 4, train: 30, test: 9, validation: 0}"
    run("name=without", "budget.updates=10", "env.id=latent_rl/Sudoku-v0", options)
    assert "sudoku-4x4 has no validation split: it is measured at the end only" in capsys.readouterr().err
    milestones = json.loads(Path("runs/without/history.json").read_text())
    assert [(one["updates"], one["split"]) for one in milestones] == [(10, "test")]
    assert json.loads(Path("runs/without/summary.json").read_text())["validation"] == {}


@quick
def test_a_trained_trm_that_stops_is_the_fair_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    run("name=slow", "scheme=trm", "budget.updates=2")
    stop = json.loads(Path("runs/slow/summary.json").read_text())["own_stop"]
    # As good after its first step as after all: it knows nothing yet.
    assert (stop["way"], stop["passes_per_puzzle"]) == ("after 1 step", 21)
    capsys.readouterr()
    run("name=quick", "budget.updates=2", "baseline_run=runs/slow")
    summary = json.loads(Path("runs/quick/summary.json").read_text())
    assert summary["baseline_stop"] == stop
    # Like with like: both sides stop by their own means.
    assert summary["own_stop"]["passes_per_puzzle"] == 3
    assert summary["savings_vs_stopped_trm"] == pytest.approx(21 / 3)
    assert "7.0x fewer than 21" in capsys.readouterr().out
    tiny = [*TINY, "budget.updates=2"]
    assert "holds no summary.json" in fails(capsys, *tiny, "baseline_run=runs/nowhere")
    other = fails(capsys, *tiny, "baseline_run=runs/slow", "env.options.test=40")
    assert "runs/slow was measured with env.options.test=50, not 40: compare like with like" in other
    assert not Path("runs/backwards").exists() and len(list(Path("runs").iterdir())) == 2
    # What a model was compared with in training need not be there when it is used.
    Path("runs/slow").rename("runs/gone")
    Program(evaluate.main)("runs/quick", "--json", "found.json")
    assert json.loads(Path("found.json").read_text())["savings_vs_stopped_trm"] is None
    Program(evaluate.main)("runs/quick", "--json", "found.json", "baseline_run=runs/gone")
    assert json.loads(Path("found.json").read_text())["savings_vs_stopped_trm"] == pytest.approx(21 / 18)
    Path("runs/gone").rename("runs/slow")
    Path("runs/slow/summary.json").write_text(json.dumps({**summary, "own_stop": None}))
    assert "no stop that was chosen on validation puzzles" in fails(capsys, *tiny, "baseline_run=runs/slow")


def test_learning_changes_what_it_should_and_nothing_else() -> None:
    run = assemble(load_config("sudoku-4x4", [*TINY, "scheme=dis", "budget.updates=3"]))
    before = {name: value.clone() for name, value in run.reasoner.state_dict().items()}
    learn(run)
    after = run.reasoner.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {"initial_y", "initial_z"}


@quick
@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=[pytest.mark.slow] if mode in REPEATED else []) for mode in MODES]
)
def test_a_run_stopped_and_resumed_ends_in_identical_weights(mode: str) -> None:
    straight, halves = "name=straight", "name=halves"
    run(straight, *MODES[mode], "budget.updates=14")
    run(halves, *MODES[mode], "budget.updates=6")
    main(["--resume", "runs/halves", "budget.updates=14"])
    one, other = weights("runs/straight"), weights("runs/halves")
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different
    ours, theirs = (load_training(Path(f"runs/{name}/checkpoint"), "cpu") for name in ("straight", "halves"))
    for key in ("collect", "update"):
        assert ours["ledger"]["forward"].get(key) == theirs["ledger"]["forward"].get(key)
    assert ours["collection"]["finished_puzzles"] == theirs["collection"]["finished_puzzles"]


@quick
def test_a_signal_stops_after_the_update_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    step: Callable = Learner.step

    def step_then_signal(learner: Learner, loss: object) -> object:
        metrics = step(learner, loss)
        if learner.updates == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return metrics

    monkeypatch.setattr(Learner, "step", step_then_signal)
    with pytest.raises(KeyboardInterrupt):
        run("name=stopped", "budget.updates=9")
    assert load_model(Path("runs/stopped")).updates == 4
    assert not Path("runs/stopped/summary.json").exists()
    main(["--resume", "runs/stopped"])
    assert json.loads(Path("runs/stopped/summary.json").read_text())["updates"] == 9

    # A finished run that goes on is not finished any more: what it had come to must not pass for what it comes to.
    monkeypatch.setattr(Learner, "step", lambda *_: os.kill(os.getpid(), signal.SIGINT) or step(*_))
    with pytest.raises(KeyboardInterrupt):
        main(["--resume", "runs/stopped", "budget.updates=20"])
    assert not Path("runs/stopped/summary.json").exists()


def test_what_is_said_of_the_environment_reaches_it() -> None:
    def told(*settings: str) -> object:
        made = assemble(load_config("sudoku-4x4", [*TINY, *settings]))
        return made.collection.environment.vector.dynamics.config

    config = told("env.terminate_on_solved=0.25", "env.max_steps=5")
    assert (config.terminate_on_solved, config.max_steps) == (0.25, 5)
    config = told("scheme=deduce-unique", "env.guided_branches=0.6")
    assert (config.lost_steps, config.guided_branches, config.max_steps) == (20, 0.6, 64)


def test_measuring_costs_no_training_time_and_keeps_its_pace_after_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    now, real = [0.0], train_program.measure

    def later(*arguments: object) -> object:
        now[0] += 100.0
        return real(*arguments)

    monkeypatch.setattr(train_program, "measure", later)
    perf_counter = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: perf_counter() + now[0])
    run("name=paced", "budget.updates=7")
    seconds = load_training(Path("runs/paced/checkpoint"), "cpu")["clock"]["seconds"]
    run("--resume", "runs/paced", "budget.updates=12")
    summary = json.loads(Path("runs/paced/summary.json").read_text())
    assert 0.0 < seconds < summary["train_seconds"] < 100.0
    curve = [one for one in History.read(Path("runs/paced")).milestones if one.split == "validation"]
    assert [one.updates for one in curve] == [5, 10, 12]


def test_a_compiled_network_learns_the_same_and_is_counted_the_same() -> None:
    overrides = [*TINY, "network.mixer=mlp", "network.positions=none", "budget.updates=3"]
    plain, compiled = (assemble(load_config("sudoku-4x4", [*overrides, f"compile={on}"])) for on in ("false", "true"))
    for one in (plain, compiled):
        torch.manual_seed(0)
        learn(one)
    assert compiled.ledger.state_dict() == plain.ledger.state_dict()
    for name, weight in plain.reasoner.named_parameters():
        torch.testing.assert_close(compiled.reasoner.get_parameter(name), weight, rtol=1e-4, atol=1e-5)


@quick
def test_training_learns() -> None:
    run(
        "name=learner", "budget.updates=400", "collector.num_envs=32", "env.terminate_on_solved=0.5",
        "optimizer.lr=1e-2", "optimizer.ema_decay=0.9", "network.mixer=mlp", "network.positions=none",
        "evaluation.every_updates=400",
    )  # fmt: skip
    summary = json.loads(Path("runs/learner/summary.json").read_text())
    assert summary["exact_accuracy"] >= 0.9


def test_mistakes_are_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown config key 'optimizer.lrr'; did you mean" in fails(capsys, "optimizer.lrr=1")
    assert "unknown option --confg; did you mean '--config'" in fails(capsys, "--confg", "x")
    assert "env.max_steps" in fails(capsys, "env.max_steps=many")
    unknown = fails(capsys, *TINY, "loss.terms.policy.targets=terminl")
    assert "unknown target generator 'terminl'; did you mean 'terminal'" in unknown
    assert "device 'cuda:9' is not available" in fails(capsys, *TINY, "device=cuda:9")
    assert "heads" in fails(capsys, *TINY, "network.mixer=attention", "network.heads=3")
    assert "run directory runs/none does not exist" in fails(capsys, "--resume", "runs/none")


def test_an_unwritable_run_directory_is_refused_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").write_text("a file in the way")
    assert "run directory runs/x cannot be written" in fails(capsys, *TINY, "name=x")


@quick
def test_damaged_and_foreign_checkpoints_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    run("name=a", "budget.updates=2")
    assert "does not fit" in fails(capsys, "--resume", "runs/a", "network.width=32", "budget.updates=3")
    assert "env.options.length=3 does not fit runs/a" in fails(
        capsys, "--resume", "runs/a", "env.options={length: 3, train: 300, test: 50}"
    )
    assert "length" not in Path("runs/a/config.yaml").read_text(), "a refused resume must leave the run as it was"
    file = Path("runs/a/checkpoint/training.pt")
    file.write_bytes(file.read_bytes()[:2000])
    assert "training.pt is damaged, truncated or not a checkpoint" in fails(capsys, "--resume", "runs/a")
    file.unlink()
    assert "holds nothing to resume" in fails(capsys, "--resume", "runs/a")


@quick
def test_loading_never_executes_code() -> None:
    run("name=a", "budget.updates=1")
    touched = Path("touched")

    class Bomb:
        def __reduce__(self) -> tuple:
            return (touched.touch, ())

    torch.save({"format": 1, "payload": Bomb()}, "runs/a/checkpoint/model.pt")
    with pytest.raises(Exception, match="damaged, truncated or not a checkpoint"):
        load_model(Path("runs/a"))
    assert not touched.exists()


@quick
def test_a_run_begun_from_other_weights_goes_on_from_their_initial_latents() -> None:
    run("name=teacher", "seed=7", "budget.updates=1")
    start = ["--init", "runs/teacher", "seed=1"]
    main([*TINY, *start, "name=straight", "budget.updates=9"])
    main([*TINY, *start, "name=halves", "budget.updates=4"])
    main(["--resume", "runs/halves", "budget.updates=9"])
    one, other = weights("runs/straight"), weights("runs/halves")
    assert all(torch.equal(one[name], other[name]) for name in one)


@quick
def test_the_puzzles_own_rule_and_the_value_head_are_known_in_training(capsys: pytest.CaptureFixture[str]) -> None:
    run("name=ruled", "halting.rule=rule", "budget.updates=2")
    told = fails(capsys, *TINY, "halting.rule=confident", "loss.terms.solved=null")
    assert "halting.rule=confident: it reads the value head, which was not trained" in told
