"""Puzzles that others made, through the programs: from a file, and of the package reasoning-gym."""

from __future__ import annotations

import json
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from programs import Program

from latent_rl.evaluate import main as evaluate
from latent_rl.solve import main as solve
from latent_rl.train import main as train

TINY = [
    "network.width=16",
    "network.layers=1",
    "budget.updates=3",
    "collector.num_envs=8",
    "evaluation.every_updates=3",
    "tracking.enabled=false",
    "threads=1",
]
FEW = ["env.options.train=24", "env.options.test=6", "env.options.validation=6"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def proposed(output: str) -> list[str]:
    """The arguments of the command that `train` proposes for solving a puzzle."""
    (line,) = [line for line in output.splitlines() if line.startswith("solve one")]
    return shlex.split(line.partition("latent_rl.solve ")[2])


def test_the_command_that_is_proposed_reads_the_file_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": f"{number:04b}", "answer": f"{15 - number:04b}"} for number in range(16)]
    Path("my puzzles.json").write_text(json.dumps(rows))
    options = ["env.options.file=my puzzles.json", "env.options.test=2", "env.options.validation=2"]
    Program(train)("env.id=latent_rl/Grid-v0", *options, *TINY)
    arguments = proposed(capsys.readouterr().out)
    assert arguments[1:] == ["PUZZLE", "env.options.file=my puzzles.json"]
    Program(solve)(arguments[0], "0110", *arguments[2:])
    assert "grid-2x2, the puzzle\n0 1 \n1 0 \n" in capsys.readouterr().out
    assert "add 'env.options.file=my puzzles.json'" in Program(solve).mistake(capsys, arguments[0], "0110")


@pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="reasoning-gym is not installed")
@pytest.mark.parametrize("scheme", ["pi", "deduce", pytest.param("exit", marks=pytest.mark.slow)])
def test_a_task_of_reasoning_gym_is_trained_measured_and_solved(
    scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Program(train)("env.id=reasoning_gym:kakurasu", f"scheme={scheme}", *FEW, *TINY)
    model, *rest = proposed(capsys.readouterr().out)
    assert model.startswith(f"runs/kakurasu-{scheme}-0") and rest == ["PUZZLE"]
    Program(evaluate)(model)
    assert "reasoning_gym-kakurasu-5x5, 6 test puzzles" in capsys.readouterr().out
    Program(solve)(model, "." * 5 + "05" + ("." * 5 + "03") * 4 + "00110++" + "31229++", "--png", "steps.png")
    assert "reasoning_gym-kakurasu-5x5, the puzzle" in capsys.readouterr().out
    assert Path("steps.png").stat().st_size > 1000
    assert "row 1, column 6 holds '.'" in Program(solve).mistake(capsys, model, "." * 49)


def test_an_unknown_task_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    told = Program(train).mistake(capsys, "env.id=reasoning_gym:sudoko", *TINY)
    assert "reasoning_gym:sudoko: no such puzzle; did you mean 'sudoku'?" in told
