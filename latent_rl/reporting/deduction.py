"""How a puzzle was solved by deduction, in words, for machines and as a figure."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from latent_rl.envs import Puzzle
from latent_rl.measuring import DeductionStep, DeductionTrace
from latent_rl.reporting.boards import as_line

MOST_PANELS = 11
"""Boards that a figure shows beside the puzzle; of a longer trace as many, spread evenly, the last among them."""


def in_words(puzzle: Puzzle, step: DeductionStep) -> str:
    """What a step did, in one line."""
    parts = []
    if step.removed:
        parts.append(f"{step.removed} {'candidate' if step.removed == 1 else 'candidates'} removed")
    if step.branch is not None:
        cell, symbol = step.branch
        row, column = divmod(cell, puzzle.grid_shape[1])
        parts.append(f"tries {puzzle.symbols[symbol]} in row {row + 1}, column {column + 1}")
    if step.conflict:
        parts.append("a conflict: begins anew")
    return f"{', '.join(parts) or 'nothing removed'}; {step.candidates} candidates left, {step.passes} passes so far"


def verdict(puzzle: Puzzle, trace: DeductionTrace) -> str:
    """What came of it, in the words of `solve`."""
    spent = f"{trace.passes} network passes"
    if trace.solved:
        return f"[bold green]solved[/]: the puzzle's own rule confirms the answer, after {spent}"
    if trace.full:
        return f"answered: whether it is right, this puzzle does not tell without its key, after {spent}"
    return f"[bold red]not solved[/] within {spent}"


def as_dict(puzzle: Puzzle, inputs: Tensor, trace: DeductionTrace) -> dict[str, Any]:
    """The trace for machines; an answer is only told if the board was filled and its rule, if any, confirmed it."""
    return {
        "puzzle": as_line(puzzle, inputs),
        "answer": as_line(puzzle, trace.answer) if trace.full else None,
        "solved": trace.solved,
        "passes": trace.passes,
        "restarts": trace.restarts,
        "steps": [
            {
                "removed": step.removed,
                "branch": None if step.branch is None else {"cell": step.branch[0], "symbol": _symbol(puzzle, step)},
                "conflict": step.conflict,
                "candidates": step.candidates,
                "passes": step.passes,
            }
            for step in trace.steps
        ],
    }


def trajectory(puzzle: Puzzle, inputs: Tensor, solution: Tensor | None, trace: DeductionTrace) -> Figure:
    """The puzzle, and what is decided of it after each step, see `MOST_PANELS`."""
    count = len(trace.steps)
    shown = torch.linspace(0, count - 1, min(count, MOST_PANELS)).round().long().unique().tolist()
    captions = [f"step {number + 1}: {trace.steps[number].candidates} candidates" for number in shown]
    answers = torch.stack([trace.steps[number].answer for number in shown])
    return puzzle.renderer.trajectory(inputs, solution, answers, captions=captions)


def _symbol(puzzle: Puzzle, step: DeductionStep) -> str:
    return puzzle.symbols[step.branch[1]]
