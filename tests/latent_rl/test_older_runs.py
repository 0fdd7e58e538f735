"""A run of version 0.1.0, from before the rooms, still evaluates, solves, is read by comparisons, and goes on.

`tests/data/run-0.1.0` was made by that version: scheme pi-halt on 4x4 Sudoku, 14 updates of a tiny network.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from latent_rl import evaluate, solve, train
from latent_rl.measuring import Run
from latent_rl.storage import load_model, load_training

OLD = Path(__file__).parents[1] / "data" / "run-0.1.0"


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_figures: None) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD, "runs/old")
    return Path("runs/old")


def test_it_loads_with_its_settings_and_its_halting_policy(run_dir) -> None:
    trained = load_model(run_dir)
    assert trained.updates == 14 and trained.halting is not None and trained.halting.hidden == 8
    assert trained.config.halting.rule == "learned"
    assert (trained.config.network.width, trained.config.env.terminate_on_solved) == (16, 0.9)


def test_it_evaluates_and_solves(run_dir, capsys) -> None:
    evaluate.main([str(run_dir), "--json", "found.json"])
    found = json.loads(Path("found.json").read_text())
    recorded = json.loads((run_dir / "summary.json").read_text())
    assert found["halting"] == "learned" and found["eval_puzzles"] == 20
    assert found["cell_accuracy"] == pytest.approx(recorded["cell_accuracy"], abs=1e-3)
    assert found["eval_passes_per_puzzle"] == pytest.approx(recorded["eval_passes_per_puzzle"], abs=0.5)
    solve.main([str(run_dir), "4..2.....4..321."])
    assert "network passes" in capsys.readouterr().out


def test_a_comparison_reads_it(run_dir) -> None:
    run = Run.read("pi-halt", 0, run_dir)
    assert [milestone.updates for milestone in run.history] == [7, 14]
    assert run.accuracy("solved") == run.summary.solved_rate
    assert run.readout("exact")[-1][1] == run.summary.exact_accuracy


def test_it_goes_on(run_dir) -> None:
    before = load_training(run_dir / "checkpoint", "cpu")
    train.main(["--resume", str(run_dir), "budget.updates=94"])
    after = load_training(run_dir / "checkpoint", "cpu")
    assert (before["learner"]["updates"], after["learner"]["updates"]) == (14, 94)
    # Eighty updates of four rows at three passes, booked on top of what was booked.
    passes = [state["ledger"]["forward"]["collect"] for state in (before, after)]
    assert passes[1] - passes[0] == 80 * 4 * 3
    assert after["collection"]["finished_puzzles"] >= before["collection"]["finished_puzzles"] > 0
    assert after["history"]["milestones"][0]["updates"] == 7
    halting = [state["halting"]["learner"]["policy"]["actor.0.weight"] for state in (before, after)]
    assert not torch.equal(*halting), "the halting policy learned on"
