"""Scheme `deduce` through the programs: trained, resumed, measured, solved with, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas
import pytest
import torch
from programs import Program
from small_runs import SMALL, same_weights, small_run, weights

from latent_rl.analyze import main as analyze
from latent_rl.compare import main as compare
from latent_rl.config import load_config
from latent_rl.envs import IGNORE, Instances, possible_symbols
from latent_rl.envs.sudoku import Sudoku
from latent_rl.envs.sudoku.puzzle import BLANK
from latent_rl.errors import UserError
from latent_rl.evaluate import main as evaluate
from latent_rl.halt import main as halt
from latent_rl.reporting.mlflow_model import PuzzleSolver
from latent_rl.solve import main as solve
from latent_rl.storage import History, Summary, load_model, load_training
from latent_rl.train import main as train

DEDUCE = ["scheme=deduce", "network.inner_updates=3", "env.max_steps=5", "evaluation.steps=10"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of 6 updates."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small_run("six", *DEDUCE, updates=6)
    return folder


@pytest.fixture(autouse=True)
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_figures: None) -> Path:
    """The same run, in a folder of the test's own."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "six"


def test_a_run_leaves_what_runs_leave(here):
    summary = Summary.read(here)
    assert (summary.scheme, summary.updates, summary.puzzles_seen >= 8) == ("deduce", 6, True)
    # A fused update of 8 puzzles, 3 passes each, all of them with gradient.
    assert summary.train_passes_total == summary.train_gradient_passes_total == 6 * 8 * 3
    assert summary.eval_passes_per_puzzle <= 30
    assert len(summary.accuracy_by_step) == 10
    assert History.read(here).curve
    assert {path.stem for path in (here / "figures").iterdir()} == {
        "accuracy_by_step",
        "accuracy_against_passes",
        "trajectory",
    }
    reasoner = load_model(here).reasoner
    assert reasoner.config.state == "candidates"
    assert not reasoner.possible.all() and reasoner.possible.any()


def test_a_resumed_run_is_bit_for_bit_the_run_that_never_stopped(here):
    small_run("three", *DEDUCE, updates=3)
    train(["--resume", "runs/three", "budget.updates=6"])
    assert same_weights(weights(here), weights(Path("runs/three")))
    one, other = (load_training(run / "checkpoint", "cpu") for run in (here, Path("runs/three")))
    assert one["ledger"]["forward"]["collect"] == other["ledger"]["forward"]["collect"]
    episodes = [state["collection"]["environment"]["episodes"] for state in (one, other)]
    assert all(torch.equal(value, episodes[1][name]) for name, value in episodes[0].items())


def test_evaluation_does_not_change_what_is_learned(here):
    small_run("unseen", *DEDUCE, "evaluation.every_updates=1000", updates=6)
    assert same_weights(weights(here), weights(Path("runs/unseen")))


def test_evaluate_counts_what_the_run_counted_and_takes_thresholds(here):
    evaluate([str(here), "--json", "plain.json"])
    plain = json.loads(Path("plain.json").read_text())
    summary = Summary.read(here)
    assert plain["eval_passes_per_puzzle"] == summary.eval_passes_per_puzzle
    assert plain["solved_rate"] == summary.solved_rate
    evaluate([str(here), "--json", "less.json", "--steps", "2", "deduction.conflict_threshold=0.9"])
    assert json.loads(Path("less.json").read_text())["eval_passes_per_puzzle"] <= 6


def test_solve_tells_every_step_and_no_answer_that_is_not_confirmed(here, capsys):
    solve([str(here), "abcd", "--steps", "4", "--json", "answer.json", "--png", "steps.png"])
    shown = capsys.readouterr().out
    (result,) = json.loads(Path("answer.json").read_text())["results"]
    assert 3 <= result["passes"] == result["steps"][-1]["passes"] <= 3 * len(result["steps"])
    assert Path("steps.png").stat().st_size > 0
    assert "step 1: " in shown
    if result["solved"]:
        assert result["answer"] == "dcba" and "solved: the puzzle's own rule confirms the answer" in shown
    else:
        assert result["answer"] is None
        assert f"not solved within {result['passes']} network passes" in shown and "dcba" not in shown


@pytest.mark.parametrize(
    ("program", "arguments", "reason"),
    [
        (analyze, [], "analyze.*latents|no latents"),
        (halt, [], "nothing to be taught"),
        (evaluate, ["--halt", "agree"], "--halt: .* deduces"),
        (evaluate, ["--halt-threshold", "0.9"], "--halt-threshold: .* deduces"),
        (evaluate, ["--guidance", "2"], "--guidance: .* deduces"),
        (evaluate, ["--trajectories", "3"], "--trajectories: .* deduces"),
        (evaluate, ["--budget-passes", "30"], "--budget-passes: .* deduces"),
        (solve, ["abcd", "--halt", "never"], "--halt: .* deduces"),
        (solve, ["abcd", "--gif", "a.gif"], "--gif"),
    ],
)
def test_what_deduction_has_not_is_refused(here, capsys, program, arguments, reason):
    import re

    assert re.search(reason, Program(program).mistake(capsys, here, *arguments))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("halting.rule=agree", "halting.rule=agree: with env.state=candidates it can only be never"),
        ("collector.mode=replay", "collector.mode=replay"),
        ("answers.group=4", "answers.group=4: with env.state=candidates it can only be null"),
        ("network.cycles=2", "network.cycles=2"),
        ("network.step_embedding=true", "network.step_embedding"),
        ("loss.terms.policy.weight=1", "loss.terms.policy learns from steps over latents"),
        ("env.state=latents", "loss.terms.keep learns from steps over candidates"),
    ],
)
def test_settings_that_do_not_fit_are_refused(capsys, setting, reason):
    assert reason in Program(train).mistake(capsys, *SMALL, *DEDUCE, setting)


@pytest.mark.parametrize("preset", ["sudoku-4x4", "sudoku-6x6", "sudoku-9x9", "sudoku-hard", "nqueens-8", "maze-10"])
def test_presets_take_the_scheme_without_a_line_changed(preset):
    config = load_config(preset, ["scheme=deduce"])
    weights = {name for name in config.loss.terms if config.loss.weight(name)}
    assert weights == {"keep", "symbol", "conflict"}
    assert config.env.state == "candidates"


UNITS = ["network.mixer=units", "network.width=16", "network.multiple_of=8", "network.expansion=2"]


def test_told_the_units_it_learns_four_by_four_at_once_and_is_solved_with(tmp_path, capsys):
    options = "{size: 4, train: 200, test: 40, validation: 40}"
    small = ["scheme=deduce", *UNITS, f"env.options={options}", "collector.num_envs=32", "name=units", "device=cpu"]
    small += ["budget={updates: 90, seconds: null}", "optimizer.ema_decay=0.9", "optimizer.warmup_updates=5"]
    small += ["tracking.enabled=false", "evaluation.steps=16", "network.inner_updates=4"]
    train(["--config", "sudoku-4x4", *small])
    summary = Summary.read(Path("runs/units"))
    assert summary.solved_rate >= 0.9
    # Counted where the network is called: 90 updates of 32 rows, 4 passes a step.
    assert summary.train_passes_total == summary.train_gradient_passes_total == 90 * 32 * 4
    # What it was told is in the checkpoint, which needs no training data.
    model = load_model(Path("runs/units"))
    assert len(model.reasoner.config.units) == 3 and model.reasoner.config.symbols == (2, 3, 4, 5)
    capsys.readouterr()
    solve(["runs/units", "1.3. .4.2 2.4. .3.1".replace(" ", "")])
    told = capsys.readouterr().out
    assert "solved: the puzzle's own rule confirms the answer" in told and "not solved" not in told


def test_a_network_without_attention_among_peers_can_be_given_it(tmp_path, capsys):
    few = "env.options={size: 4, train: 40, test: 10, validation: 0}"
    small = ["--config", "sudoku-4x4", "scheme=deduce", *UNITS, few, "collector.num_envs=4", "network.inner_updates=2"]
    small += ["tracking.enabled=false", "device=cpu", "budget={updates: 1, seconds: null}", "evaluation.steps=2"]
    train([*small, "name=plain"])
    # At such a rate nothing is learned: what differs would be the start.
    still = ["optimizer.lr=1e-12", "optimizer.warmup_updates=0"]
    train([*small, *still, "name=grown", "network.peer_attention=true", "--init", "runs/plain"])
    plain, grown = (load_model(Path("runs") / name).reasoner for name in ("plain", "grown"))
    board = torch.tensor([[2, 1, 3, 1] + [1] * 12])
    asked = (board, torch.zeros(1, dtype=torch.int64), plain.possible[board])
    for before, after in zip(plain.step(*asked), grown.step(*asked), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    assert sum(w.numel() for w in grown.parameters()) > sum(w.numel() for w in plain.parameters())
    # What has learned to attend cannot do without.
    told = Program(train).mistake(capsys, *small, "name=back", "--init", "runs/grown")
    assert "network.peer_attention is True there and False here" in told


def test_a_puzzle_without_units_is_refused_them(capsys):
    few = "env.options={size: 5, train: 20, test: 5, validation: 0, unique: false}"
    found = Program(train).mistake(capsys, "--config", "maze-10", few, "scheme=deduce", "network.mixer=units")
    assert "mixer=units needs a puzzle that declares its units" in found
    found = Program(train).mistake(capsys, "--config", "sudoku-4x4", "network.mixer=units")
    assert "mixer=units is for state=candidates" in found


@pytest.mark.parametrize(("preset", "lost"), [("sudoku-9x9-units", 0.0), ("sudoku-hard-units", 0.5)])
def test_presets_of_units_deduce(preset, lost):
    config = load_config(preset, [])
    assert config.scheme == ("deduce-unique" if lost else "deduce")
    assert (config.env.state, config.network.mixer) == ("candidates", "units")
    assert config.loss.terms["keep"].model_dump().get("lost", 0.0) == lost


def test_a_puzzle_with_votes_is_refused(capsys):
    assert "votes" in Program(train).mistake(capsys, "--config", "arc-mini", "scheme=deduce", "tracking.enabled=false")


def test_queens_and_mazes_train_and_are_solved_with():
    for preset, options in (
        ("nqueens-8", "{size: 6, train: 20, test: 5, validation: 0}"),
        ("maze-10", "{size: 5, train: 20, test: 5, validation: 0, unique: false}"),
    ):
        small = ["network.width=16", "network.multiple_of=8", "collector.num_envs=4", "tracking.enabled=false"]
        small += ["budget={updates: 2, seconds: null}", "evaluation.steps=4", f"name={preset}", "device=cpu"]
        train(["--config", preset, "scheme=deduce", f"env.options={options}", *small])
        assert Summary.read(Path("runs") / preset).eval_puzzles == 5


def test_the_readmes_puzzle_is_trained_without_a_line_changed(tmp_path, monkeypatch):
    settings = ["env.id=own_puzzle:Takuzu-v0", "scheme=deduce", "budget.updates=2", "tracking.enabled=false"]
    settings += ["evaluation={steps: 3, puzzles: 20}"]
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    train(settings)
    summary = json.loads((tmp_path / "runs/takuzu-deduce-0/summary.json").read_text())
    assert summary["puzzle"] == "takuzu-4x4" and summary["scheme"] == "deduce"


def test_where_to_branch_is_measured(here, capsys, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from branching import RULES, main

    counts = ["--batches", "1", "--rows", "8", "--puzzles", "6", "--steps", "3"]
    main([str(here), *counts, "--json", "branching.json"])
    rows = json.loads(Path("branching.json").read_text())["rows"]
    assert [row["rule"] for row in rows] == list(RULES)
    assert all(len(row["steps"]) == 3 and all(0 < steps <= 3 for steps in row["steps"]) for row in rows)
    assert "six, fewest: solved " in capsys.readouterr().out


def test_how_long_a_wrong_branch_is_followed_is_measured(here, capsys, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from contradictions import main
    from elimination import Elimination

    with pytest.raises(UserError, match="as Sudokus do"):
        main([str(here), "--puzzles", "6"])
    small = ["network.width=16", "network.multiple_of=8", "collector.num_envs=4", "tracking.enabled=false"]
    small += ["budget={updates: 2, seconds: null}", "evaluation.steps=4", "name=four", "device=cpu"]
    train(["--config", "sudoku-4x4", "scheme=deduce", "env.options={size: 4, train: 60, test: 20}", *small])
    main(["runs/four", "--puzzles", "6", "--steps", "40", "--json", "found.json"])
    found = json.loads(Path("found.json").read_text())
    assert found["puzzles"] == 6 and found["tries"] > 0
    assert 1 <= found["steps"]["lost"] <= found["steps"]["ended"] <= 40
    assert found["steps"]["contradiction by hand"] <= found["steps"]["ended"]
    assert f"{found['tries']} tries ended before" in capsys.readouterr().out

    puzzle = Sudoku(size=4, train=50, test=10)
    candidates = possible_symbols(puzzle)[puzzle.instances("test").inputs]
    solution = puzzle.instances("test").solution
    elimination = Elimination(puzzle)
    assert not elimination.contradicts(candidates).any()
    # Its puzzles need nothing but elimination: any wrong symbol contradicts itself.
    cell = (candidates.sum(-1) > 1).long().argmax(-1)
    for row in range(len(candidates)):
        for symbol in puzzle.interchangeable:
            tried = candidates[row : row + 1].clone()
            tried[0, cell[row]] = torch.nn.functional.one_hot(torch.tensor(symbol), puzzle.vocab_size).bool()
            assert bool(elimination.contradicts(tried)) == (symbol != int(solution[row, cell[row]]))


def test_deduction_without_a_network_is_measured(capsys, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    monkeypatch.chdir(tmp_path)
    from elimination import main, solve_by_hand

    options = ["env.options={size: 6, train: 40, validation: 0, test: 40, blanks: [22, 28]}", "evaluation.steps=16"]
    main(["--config", "sudoku-6x6", "scheme=deduce", "--by", "blanks", "--json", "found.json", *options])
    found = json.loads(Path("found.json").read_text())
    by_step = list(found["all"]["solved_by_step"].values())
    assert found["all"]["puzzles"] == 40 and by_step == sorted(by_step) and by_step[-1] == 1.0
    assert sum(kind["puzzles"] for name, kind in found.items() if name not in ("all", "seconds", "steps")) == 40
    assert "all, 40 puzzles, solved within so many steps: 1: " in capsys.readouterr().out

    # Nothing follows on an empty board: whoever draws branches again and again comes to some answer.
    puzzle = Sudoku(size=4, train=40, validation=0, test=10)
    empty = torch.full((20, 16), BLANK)
    boards = Instances(empty, torch.full_like(empty, IGNORE), puzzle.ids_of(empty))
    first, again, other = (solve_by_hand(puzzle, boards, 64, seed) for seed in (0, 0, 1))
    assert bool((first > 2).all()) and torch.equal(first, again) and not torch.equal(first, other)
    assert not solve_by_hand(puzzle, boards, 2).any()


def test_it_is_compared_with_other_schemes(here, capsys):
    shared = [setting for setting in SMALL if not setting.startswith("evaluation=")]
    budget = ["evaluation.points=2", "evaluation.puzzles=10", "budget.updates=3", "network.inner_updates=2"]
    compare(
        ["--schemes", "pi", "deduce", "--seeds", "1", "--out", "both", *shared, *budget, "deduce:evaluation.steps=8"]
    )
    report = json.loads(Path("both/compare.json").read_text())
    assert {run["scheme"] for run in report["runs"]} == {"pi", "deduce"}


def test_the_model_in_mlflow_answers_with_what_is_confirmed_alone(here):
    model = PuzzleSolver()
    model.load_context(SimpleNamespace(artifacts={"checkpoint": str(here / "checkpoint" / "model.pt")}))
    found = model.predict(None, pandas.DataFrame({"puzzle": ["abcd", "eabc"]}), {"steps": 4})
    assert list(found.columns) == ["answer", "solved", "confidence", "passes"]
    for puzzle, row in zip(("abcd", "eabc"), found.itertuples(), strict=True):
        assert row.answer == (puzzle[::-1] if row.solved else "")
        assert row.passes <= 12
