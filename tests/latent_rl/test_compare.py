"""Comparing schemes: what the program leaves behind, going on after a stop, and the statistics by hand."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from programs import Program

from latent_rl.compare import as_settled, main
from latent_rl.config import load_config
from latent_rl.envs import register_puzzle, registered_ids
from latent_rl.measuring import Question, make_plans
from latent_rl.measuring.comparison import Comparison, Run
from latent_rl.measuring.intervals import mean_interval, ratio_of_means, share_interval
from latent_rl.reporting import mlflow_run
from latent_rl.reporting.comparison import grids, markdown, notes
from latent_rl.reporting.comparison_figures import spread
from latent_rl.reporting.mlflow_run import Tracker
from latent_rl.storage import EarlyStop, Evaluation, History, Milestone, Summary, hold
from latent_rl.train import train
from latent_rl.training.learner import Learner

TINY = [
    "env.id=tests/Backwards-v0",
    "env.options={train: 60, test: 12}",
    "network={width: 8, layers: 1, heads: 2, multiple_of: 8}",
    "collector.num_envs=4",
    "evaluation.points=4",
    "optimizer.warmup_updates=3",
    "tracking.enabled=false",
]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_figures: None) -> None:
    monkeypatch.chdir(tmp_path)
    if "tests/Backwards-v0" not in registered_ids():
        register_puzzle("tests/Backwards-v0", "toy_puzzle:Backwards")


def run(*arguments: str) -> None:
    main([*TINY, *arguments])


def report(folder: str) -> dict[str, Any]:
    return json.loads((Path(folder) / "compare.json").read_text())


def timeless(value: Any) -> Any:
    """A report without what no two runs share: times, and where the files lie."""
    if isinstance(value, dict):
        other = ("run_dir", "checkpoint", "command")
        return {key: timeless(leaf) for key, leaf in value.items() if "second" not in key and key not in other}
    return [timeless(leaf) for leaf in value] if isinstance(value, list) else value


def test_schemes_meet_the_same_budget_and_leave_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--schemes", "trm", "pi", "trm:optimizer.lr=5e-4", "--seeds", "2", "--budget-passes", "1000")
    run(*arguments, "--out", "c", "--json", "again.json", "--target-accuracy", "0.999")
    found = report("c")
    assert found == json.loads(Path("again.json").read_text())
    assert found["complete"] and found["schemes"] == ["trm", "pi"] and found["seeds"] == [0, 1]
    assert [(entry["scheme"], entry["seed"]) for entry in found["runs"]] == [
        ("trm", 0),
        ("pi", 0),
        ("trm", 1),
        ("pi", 1),
    ]
    for entry, passes in zip(found["runs"], (4 * 21, 4 * 3, 4 * 21, 4 * 3), strict=True):
        # The first update that reaches the budget is the last one.
        assert entry["summary"]["train_passes_total"] == -(-1000 // passes) * passes
        assert len(entry["curve"]) == 4
        assert entry["curve"][-1]["train_passes"] == entry["summary"]["train_passes_total"]
        assert [point["eval_passes"] for point in entry["readout"]][-1] == entry["summary"]["eval_passes_per_puzzle"]
    assert found["differing_settings"]["optimizer.lr"]["trm"] == 5e-4
    assert found["differing_settings"]["network.cycles"] == {"trm": 3, "pi": 1}
    assert not {"network.width", "optimizer.name", "collector.num_envs"} & found["differing_settings"].keys()
    ratios = found["ratios"][0]
    assert (ratios["baseline"], ratios["scheme"]) == ("trm", "pi")
    assert ratios["eval_passes_per_puzzle"]["value"] == pytest.approx(336 / 18)
    assert ratios["train_passes_to_target"]["value"] is None

    table = Path("c/compare.md").read_text()
    assert "| optimizer.lr | 0.0005 (given) |" in table
    assert "not reached in 2 of 2 seeds" in table
    for name in ("train_passes", "train_seconds", "eval_passes"):
        assert f"(figures/{name}.png)" in table
        assert Path(f"c/figures/{name}.png").read_bytes().startswith(b"\x89PNG")
    screen = capsys.readouterr()
    assert "run 4 of 4: scheme pi, seed 1" in screen.err
    assert "How many times as much" in screen.out

    # Asking another question of the same runs trains nothing.
    before = Path("c/pi-0/checkpoint/training.pt").stat().st_mtime_ns
    run(*arguments, "--out", "c", "--metric", "exact", "--target-accuracy", "0.01", "--json", "-")
    assert json.loads(capsys.readouterr().out)["metric"] == "exact"
    assert Path("c/pi-0/checkpoint/training.pt").stat().st_mtime_ns == before


def test_a_stopped_comparison_goes_on_to_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--schemes", "dis", "pi", "--seeds", "1", "--target-accuracy", "0.001", "--metric", "exact")
    run(*arguments, "budget={seconds: null, updates: 30}", "--out", "straight")
    step: Callable = Learner.step

    def step_then_signal(learner: Learner, loss: object) -> object:
        metrics = step(learner, loss)
        if Path("stopped/pi-0").exists() and learner.updates == 17:
            os.kill(os.getpid(), signal.SIGINT)
        return metrics

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "step", step_then_signal)
        run(*arguments, "budget={seconds: null, updates: 30}", "--out", "stopped")
    assert not report("stopped")["complete"]
    assert [entry["scheme"] for entry in report("stopped")["runs"]] == ["dis"]
    capsys.readouterr()
    finished = Path("stopped/dis-0/checkpoint/training.pt").stat().st_mtime_ns
    run(*arguments, "budget={seconds: null, updates: 30}", "--out", "stopped")
    assert "run 1 of 2: scheme dis, seed 0: finished before" in capsys.readouterr().err
    assert Path("stopped/dis-0/checkpoint/training.pt").stat().st_mtime_ns == finished
    assert timeless(report("stopped")) == timeless(report("straight"))
    history = History.read(Path("stopped/pi-0"))
    assert [point.updates for point in history.curve] == [8, 15, 23, 30]
    # Test puzzles are met once, at the end.
    assert [point.split for point in history.milestones] == ["validation"] * 4 + ["test"]
    assert [point.evaluation.puzzles for point in history.milestones] == [15] * 4 + [12]


def test_runs_are_children_of_one_mlflow_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a model looks like in MLflow has tests of its own, and takes seconds.
    monkeypatch.setattr(Tracker, "model", lambda *_: None)
    store = [*TINY[:-1], "tracking.uri=sqlite:///children.db"]
    arguments = ["--schemes", "pi", "--budget-passes", "100", "--out", "c"]
    main([*store, *arguments, "--seeds", "1"])
    main([*store, *arguments, "--seeds", "2"])
    assert mlflow.active_run() is None
    mlflow.set_tracking_uri(None)
    client = MlflowClient("sqlite:///children.db")
    runs = client.search_runs([client.get_experiment_by_name("latent_rl").experiment_id])
    by_name = {entry.info.run_name: entry for entry in runs}
    assert by_name.keys() == {"compare-sudoku-4x4", "pi-0", "pi-1"}, "going on must not make a second parent"
    parent = by_name["compare-sudoku-4x4"]
    assert parent.info.run_id == report("c")["mlflow_run_id"]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["compare.schemes"] == '["pi"]'
    assert "pi/accuracy" in parent.data.metrics
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        "compare.json",
        "compare.md",
        "figures",
    }
    for name in ("pi-0", "pi-1"):
        assert by_name[name].data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert "eval/exact_accuracy" in by_name[name].data.metrics


fails = Program(lambda arguments: run(*arguments)).mistake


def test_mistakes_are_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown scheme 'diss'; did you mean 'dis'" in fails(capsys, "--schemes", "diss")
    assert "'tmr' is none of the schemes compared; did you mean 'trm'" in fails(capsys, "tmr:optimizer.lr=1")
    assert "names a scheme twice" in fails(capsys, "--schemes", "pi", "pi")
    assert "at least 1, got 0" in fails(capsys, "--seeds", "0")
    assert "invalid int value: 'many'" in fails(capsys, "--seeds", "many")
    assert "not allowed with" in fails(capsys, "--budget-seconds", "3", "--budget-passes", "3")
    assert "budget.seconds" in fails(capsys, "--budget-seconds", "-1")
    assert "such as 0.9, got 90" in fails(capsys, "--target-accuracy", "90")
    assert "seed= cannot be set here" in fails(capsys, "seed=3")
    assert "unknown config key 'optimizer.lrr'" in fails(capsys, "pi:optimizer.lrr=3")
    assert "cannot be set beside --data-seeds" in fails(capsys, "--data-seeds", "env.options.seed=3")
    assert "env.options.test differs between the schemes (12, 12, 5)" in fails(capsys, "pi:env.options.test=5")
    assert not Path("runs").exists()


def test_every_seed_has_puzzles_of_its_own_on_request() -> None:
    """The same for all schemes of one seed; asked of a puzzle that is never drawn by a seed, a mistake of one line."""

    def seeds(data_seeds: bool) -> dict[str, int | None]:
        question = Question(
            "sudoku-4x4", ["dis", "pi"], 2, data_seeds, "solved", 0.9, [], {"dis": [], "pi": []}, Path("c"), ""
        )
        return {plan.run_dir.name: plan.config.env.options.get("seed") for plan in make_plans(question, [])}

    assert seeds(True) == {"dis-0": 0, "pi-0": 0, "dis-1": 1, "pi-1": 1}
    assert set(seeds(False).values()) == {None}


def test_how_one_scheme_is_measured_says_nothing_of_the_others() -> None:
    own = {"dis": ["evaluation.every_updates=7"], "pi": []}
    question = Question("sudoku-4x4", ["dis", "pi"], 1, False, "solved", 0.9, [], own, Path("c"), "")
    dis, pi = (plan.config.evaluation for plan in make_plans(question, []))
    assert (dis.points, dis.every_updates) == (None, 7) and pi.points == 30


def test_a_folder_of_other_settings_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--schemes", "pi", "--seeds", "1", "--budget-passes", "50", "--out", "c")
    run(*arguments)
    assert "c/pi-0 was made with optimizer.lr=" in fails(capsys, *arguments, "optimizer.lr=0.123")
    assert "c/pi-0 was made with budget.passes=50, not 60" in fails(capsys, *arguments, "budget.passes=60")
    run(*arguments, "tracking.every_updates=7")
    # What was `auto` is settled in the run, and goes on as it was settled.
    run(*arguments, "precision=auto")
    Path("c/dis-0").write_text("in the way")
    assert "c/dis-0 is no folder" in fails(capsys, "--schemes", "pi", "dis", *arguments[2:])
    Path("c/compare.json").write_text("{")
    assert "c/compare.json is no report of a comparison" in fails(capsys, *arguments)


def test_a_run_that_was_begun_goes_on_as_it_was_settled() -> None:
    question = Question(
        "sudoku-4x4", ["pi"], 1, False, "solved", 0.9, [*TINY, "precision=auto"], {"pi": []}, Path("c"), ""
    )
    (plan,) = make_plans(question, ["budget.passes=50", "budget.seconds=null"])
    train(plan.config.model_copy(update={"precision": "bfloat16"}), plan.run_dir)
    assert (plan.config.precision, as_settled(plan).precision) == ("auto", "bfloat16")
    assert as_settled(plan).compile is plan.config.compile is False


def test_a_folder_in_use_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--schemes", "pi", "--seeds", "1", "--budget-passes", "50", "--out", "c")
    with hold(Path("c")):
        assert "c is in use by another program" in fails(capsys, *arguments)
        assert [path.name for path in Path("c").iterdir()] == [".lock"]
    assert not Path("c").exists()
    with hold(Path("c/pi-0")):
        with pytest.raises(SystemExit):
            Program(main)(*TINY, *arguments)
        assert "c/pi-0 is in use by another program" in capsys.readouterr().err
    run(*arguments)
    assert report("c")["complete"]


def test_a_figure_that_does_not_fit_is_made_by_the_next_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--schemes", "pi", "dis", "--seeds", "1", "--budget-passes", "50", "--out", "c")

    def full(figures: object, run_dir: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(run_dir / "figures"))

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("latent_rl.reporting.run_results.save_figures", full)
        Program(main)(*TINY, *arguments)
    said = capsys.readouterr().err.splitlines()[-1]
    assert "c/pi-0: trained and measured, but cannot write c/pi-0/figures: No space left" in said
    assert "the same command writes it" in said
    assert [entry["scheme"] for entry in report("c")["runs"]] == ["pi"]
    before = report("c")["runs"][0]
    run(*arguments)
    said = capsys.readouterr().err
    assert "run 1 of 2: scheme pi, seed 0: finished before, but not all of it was written" in said
    assert Path("c/pi-0/figures").is_dir() and report("c")["complete"]
    assert timeless(report("c")["runs"][0]) == timeless(before)
    run(*arguments)
    assert "scheme pi, seed 0: finished before\n" in capsys.readouterr().err


def made(scheme: str, seed: int, curve: list[float], readout: list[float], passes_per_step: int) -> Run:
    """A finished run whose k-th evaluation came after k thousand passes and k seconds."""
    history = []
    for k, accuracy in enumerate(curve, start=1):
        by_step = [*readout[:-1], accuracy]
        found = Evaluation(100, by_step, by_step, by_step, float(passes_per_step * len(readout)), seconds=2.0)
        history.append(Milestone(k, float(k), 1000 * k, found))
    summary = Summary(
        puzzle="toy", scheme=scheme, seed=seed, device="cpu", parameters=7, updates=len(curve), puzzles_seen=500,
        train_seconds=float(len(curve)), eval_puzzles=100, exact_accuracy=curve[-1], solved_rate=curve[-1],
        cell_accuracy=curve[-1], accuracy_by_step=readout, eval_passes_per_puzzle=passes_per_step * len(readout),
        train_passes_total=1000 * len(curve), train_passes_per_puzzle=2.0, baseline_passes_per_puzzle=336,
        savings_vs_trm=1.0, checkpoint="model.pt", mlflow_run_id=None,
    )  # fmt: skip
    return Run(scheme, seed, Path("c"), summary, history)


SLOW = [
    made("trm", 0, [0.1, 0.5, 0.7, 0.8], [0.2, 0.6, 0.7, 0.8], 21),
    made("trm", 1, [0.2, 0.6, 0.8, 0.9], [0.2, 0.6, 0.896, 0.9], 21),
]
QUICK = [made("pi", 0, [0.7, 0.9], [0.5, 0.9], 3), made("pi", 1, [0.5, 0.75, 0.9], [0.5, 0.9], 3)]


def test_the_readout_of_a_scheme_that_stops_early_costs_what_the_steps_cost() -> None:
    run = made("pi-halt", 0, [0.9], [0.5, 0.895, 0.9], 3)
    assert run.readout("solved") == [(3, 0.5), (6, 0.895), (9, 0.9)]
    last = run.history[-1]
    run.history[-1] = replace(last, evaluation=replace(last.evaluation, passes_by_step=[3.0, 4.5, 4.75]))
    assert run.readout("solved") == [(3.0, 0.5), (4.5, 0.895), (4.75, 0.9)]
    assert run.stopped_early("solved") == (4.5, 0.895)


def test_costs_and_ratios() -> None:
    found = Comparison.of([*SLOW, *QUICK], ["trm", "pi"], "solved", 0.7)
    trm, pi = found.results
    assert trm.accuracy.by_seed == [0.8, 0.9] and trm.accuracy.mean == pytest.approx(0.85)
    assert trm.eval_passes_per_puzzle.mean == 84
    assert trm.eval_passes_to_own_accuracy.by_seed == [84, 63]
    assert trm.train_passes_to_target.by_seed == [3000, 3000]
    assert pi.train_passes_to_target.by_seed == [1000, 2000]
    assert pi.train_seconds_to_target.by_seed == [1, 2]
    assert pi.eval_puzzles_per_second.mean == 50
    assert pi.train_puzzles_per_second.by_seed == [250, pytest.approx(500 / 3)]
    (ratios,) = found.ratios
    assert ratios.baseline_accuracy == trm.accuracy and ratios.accuracy == pi.accuracy
    assert ratios.eval_passes_per_puzzle.value == 84 / 6
    assert ratios.eval_passes_per_puzzle.note == "the same in every seed"
    assert ratios.train_passes_to_target.value == 3000 / 1500
    assert ratios.train_passes_to_target.low < 2 < ratios.train_passes_to_target.high


def test_a_target_may_have_been_reached_a_whole_spacing_before_it_was_seen() -> None:
    """Seeds that all cross at the same evaluation agree by the grid's grace alone."""
    same = [replace(one, seed=seed) for seed in (0, 1) for one in [QUICK[1]]]
    slow = [replace(one, seed=seed) for seed in (0, 1) for one in [SLOW[1]]]
    found = Comparison.of([*slow, *same], ["trm", "pi"], "solved", 0.7)
    trm, pi = (result.train_passes_to_target for result in found.results)
    assert (pi.estimate.low, pi.estimate.mean, pi.estimate.high) == (1000, 2000, 2000) and pi.spacing == 1000
    (ratios,) = found.ratios
    ratio = ratios.train_passes_to_target
    assert ratio.low == pytest.approx(ratio.value * (1 - trm.spacing / trm.estimate.mean))
    assert ratio.high == pytest.approx(2 * ratio.value)


def test_a_target_that_was_not_reached_has_no_number() -> None:
    found = Comparison.of([*SLOW, *QUICK], ["trm", "pi"], "solved", 0.85)
    trm, pi = found.results
    assert trm.train_passes_to_target.by_seed == [None, 4000]
    assert trm.train_passes_to_target.estimate is None
    assert pi.train_passes_to_target.estimate.mean == 2500
    (ratios,) = found.ratios
    assert ratios.train_passes_to_target.value is None
    assert ratios.train_passes_to_target.note == "trm: not reached in 1 of 2 seeds"
    table = markdown("t", grids(found, {}), notes(found), {})
    assert (
        "| training passes to 85.0% | not reached in 1 of 2 seeds | 2,500 (2,000, 3,000), in steps of 1,000 |" in table
    )
    assert pi.train_passes_to_target.spacing == 1000 and pi.train_seconds_to_target.spacing == 1
    assert "| training passes to 85.0% | trm: not reached in 1 of 2 seeds |" in table


def test_choices_are_made_on_validation_puzzles_and_reported_on_test_puzzles() -> None:
    run = made("pi", 0, [0.6], [0.5, 0.55, 0.6], 3)
    test = run.history[-1]
    there = replace(test.evaluation, accuracy_by_step=[0.5, 0.9, 0.9], solved_by_step=[0.5, 0.9, 0.9])
    run.history.insert(0, replace(test, evaluation=there, split="validation", train_passes=500))
    found = Comparison.of([run], ["pi"], "solved", 0.8)
    (pi,) = found.results
    assert pi.accuracy.mean == 0.6, "the reported accuracy is that of the test puzzles"
    # On validation puzzles two steps are as good as three; on test puzzles three would have been asked for.
    assert pi.eval_passes_to_own_accuracy.mean == 6 and pi.accuracy_stopped_early.mean == 0.55
    assert pi.train_passes_to_target.by_seed == [500]
    assert [point["accuracy"] for point in found.as_dict()["runs"][0]["curve"]] == [0.9]
    assert not any("chosen on test" in line for line in notes(found))
    # A stop by the q head counts beside the first steps, if it is cheaper and good enough on validation puzzles.
    stops = [EarlyStop(0.5, 0.2, 0.2, 1.0, 3.0), EarlyStop(0.9, 0.9, 0.9, 1.5, 4.5)]
    there = replace(there, early_stops=stops)
    here = replace(test.evaluation, early_stops=[stops[0], EarlyStop(0.9, 0.58, 0.58, 1.6, 4.8)])
    run.history[:] = [replace(run.history[0], evaluation=there), replace(test, evaluation=here)]
    assert run.stopped_early("solved") == (4.8, 0.58)
    # Of a run from before there were validation puzzles it is said.
    assert any(
        "chosen on test puzzles, and flatter" in line for line in notes(Comparison.of(SLOW, ["trm"], "solved", 1))
    )


def test_a_puzzle_without_validation_puzzles_is_not_compared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toy_puzzle.Backwards.has_validation", False)
    message = fails(capsys, "--schemes", "pi")
    assert "backwards-4 has no validation split here, and nothing is chosen on test puzzles" in message
    assert not Path("runs").exists()


def test_without_trm_the_first_scheme_is_the_baseline() -> None:
    found = Comparison.of(QUICK + [made("dis", 0, [0.5], [0.5], 3)], ["dis", "pi"], "exact", 0.7)
    assert [(ratios.baseline, ratios.scheme) for ratios in found.ratios] == [("dis", "pi")]
    assert Comparison.of([], ["dis", "pi"], "exact", 0.7).results == []


def test_intervals_by_hand() -> None:
    # Mean 2, standard deviation 1, t(2; 97.5%) = 4.302653: half width 4.302653 / sqrt(3).
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, -0.484138, 4.484138), abs=1e-6)
    assert mean_interval([1.0, 2.0, 3.0], within=(0.0, 4.0)).low == 0.0
    assert mean_interval([5.0]).low is None
    # Wilson's interval of 8 in 10, as in the tables.
    found = share_interval([0.8], 10)
    assert (found.low, found.high) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert "of one seed" in found.method
    found = share_interval([1.0, 1.0, 1.0], 100)
    assert (found.low, found.high) == pytest.approx((0.963007, 1.0), abs=1e-6)
    assert "100 puzzles and 3 seeds" in found.method
    # Both means have the relative variance (1/11)^2, so 2 degrees of freedom: exp(4.302653 * sqrt(2) / 11) = 1.738771.
    ratio = ratio_of_means([10.0, 12.0], [1.0, 1.2])
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((10.0, 5.751188, 17.38771), rel=1e-5)
    assert ratio_of_means([10.0], [1.0, 1.2]).low is None


def test_a_band_covers_what_all_seeds_cover() -> None:
    places, mean, low, high = spread([[(0.0, 0.0), (4.0, 0.8)], [(1.0, 0.4), (3.0, 1.0), (5.0, 1.0)]])
    assert places.tolist() == [1.0, 3.0, 4.0]
    assert mean.tolist() == pytest.approx([0.3, 0.8, 0.9])
    assert low.tolist() == pytest.approx([0.2, 0.6, 0.8])
    assert high.tolist() == pytest.approx([0.4, 1.0, 1.0])


@pytest.mark.slow
def test_runs_side_by_side_leave_the_same_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # Other processes know a puzzle by where its code is.
    tiny = ["env.id=toy_registered:toys/Elsewhere-v0", *TINY[1:], "--schemes", "pi", "dis", "--seeds", "1"]
    main([*tiny, "--budget-passes", "100", "--out", "together", "--jobs", "2"])
    main([*tiny, "--budget-passes", "100", "--out", "one-by-one"])
    assert timeless(report("together")) == timeless(report("one-by-one"))


def test_a_run_in_a_process_of_its_own_is_a_child_in_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_run, "_parent", None)
    config = load_config("sudoku-4x4", ["tracking.uri=sqlite:///store.db"])
    with mlflow_run.start_tracking(config) as parent:
        pass
    mlflow_run.belong_to(parent.run_id)
    with mlflow_run.start_tracking(config.model_copy(update={"name": "child"})) as child:
        pass
    mlflow.set_tracking_uri(None)
    found = MlflowClient("sqlite:///store.db").get_run(child.run_id)
    assert found.data.tags["mlflow.parentRunId"] == parent.run_id
