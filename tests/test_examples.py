"""Every example runs as its first lines say; losses, targets and halting rules: `latent_rl/test_extending.py`."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from latent_rl import solve, train
from latent_rl.envs import check_puzzle

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

GOLDEN = '''
"""The puzzle of the golden checkpoints of the official code, with puzzles to choose by."""

from official_puzzle import Golden

from latent_rl.envs import register_puzzle


class Chosen(Golden):
    has_validation = True

    def is_solved(self, inputs, answers):
        return answers[:, 0] >= 0


register_puzzle("Chosen-v0", Chosen)
'''


@pytest.fixture
def run(tmp_path: Path):
    """Runs Python in a folder of its own, with the examples on its path; returns what it says."""

    def python(*arguments: object) -> str:
        paths = map(str, (EXAMPLES, tmp_path, ROOT / "tests" / "latent_rl"))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *map(str, arguments)]
        found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert found.returncode == 0, found.stderr
        return found.stdout

    return python


def test_examples_are_short() -> None:
    files = sorted(EXAMPLES.glob("*.py"))
    assert len(files) == 8
    assert all(len(file.read_text().splitlines()) < 60 for file in files)


@pytest.mark.slow
def test_a_loop_of_ones_own_learns(run) -> None:
    *_, passes, result = run(EXAMPLES / "own_loop.py", 60).splitlines()
    assert passes == f"{60 * 64 * 3:,} passes of training, {60 * 64 * 3:,} with gradient"
    assert result.endswith("of 1,000 test puzzles solved, 18 passes each")


def test_plain_gymnasium(run) -> None:
    said = run(EXAMPLES / "gymnasium_random_agent.py")
    assert "step 1: reward " in said and "return " in said


@pytest.mark.slow
def test_an_official_checkpoint(run, tmp_path: Path) -> None:
    (tmp_path / "chosen.py").write_text(GOLDEN)
    settings = ["env.id=chosen:Chosen-v0", "env.options.file=trm_att", "network.heads=4"]
    said = run(EXAMPLES / "official_checkpoint.py", ROOT / "tests/golden/trm_att.pt", "sudoku-4x4", *settings)
    lines = said.splitlines()
    assert "336 network passes each: 100.0% solved" in lines[0]
    assert sum(line.startswith("step ") for line in lines) == 16
    assert lines[-1] == "it could stop after 1 step: 21.0 passes, 100.0% solved"


def test_a_puzzle_of_ones_own(tmp_path: Path, monkeypatch, without_figures, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    check_puzzle(importlib.import_module("own_puzzle").Takuzu())
    tiny = ["budget.updates=3", "tracking.enabled=false", "device=cpu"]
    train.main(["env.id=own_puzzle:Takuzu-v0", *tiny])
    summary = json.loads((tmp_path / "runs/takuzu-pi-0/summary.json").read_text())
    assert (summary["puzzle"], summary["eval_puzzles"]) == ("takuzu-4x4", 1000)
    solve.main(["runs/takuzu-pi-0", ".1..0..1....1...", "env.id=own_puzzle:Takuzu-v0"])
    assert "takuzu-4x4, the puzzle" in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep(run) -> None:
    *trials, best = run(EXAMPLES / "sweep.py", 0.01).splitlines()
    assert len(trials) == 4 and best.startswith("best: optimizer.lr=")
