"""ARC in its ten colours: a task being solved step by step, and an evaluation at one glance."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from latent_rl.envs.arc import Arc, decode
from latent_rl.envs.arc.renderer import ARC_PALETTE
from latent_rl.measuring import Election

CELL_EDGE, INK = "#555555", "#222222"
MOST_DEMONSTRATIONS = 6
MOST_ON_SHEET = 60

Verdict = Literal["right", "wrong", "undecided"]
VERDICT_COLOURS: dict[Verdict, str] = {"right": "#009E73", "wrong": "#D55E00", "undecided": "#0072B2"}


def draw_grid(axes: Axes, grid: np.ndarray | None, label: str, colour: str = INK) -> None:
    """Draw a grid, uint8 `[rows, columns]`, with a line of text under it; None or no cells leave the place empty."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(label, fontsize=8, color=colour)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if grid is None or not grid.size:
        axes.text(0.5, 0.5, "?" if grid is None else "no grid", ha="center", va="center", transform=axes.transAxes)
        return
    rows, columns = grid.shape
    axes.imshow(grid, cmap=ListedColormap(ARC_PALETTE), vmin=0, vmax=len(ARC_PALETTE) - 1, interpolation="nearest")
    axes.set_xticks(np.arange(-0.5, columns), minor=True)
    axes.set_yticks(np.arange(-0.5, rows), minor=True)
    axes.grid(which="minor", color=CELL_EDGE, linewidth=0.4)
    axes.tick_params(which="both", length=0)


def draw_board(axes: Axes, board: Tensor) -> None:
    """Draw the grid on a canvas int64 `[L]`."""
    (grid,) = decode(board.unsqueeze(0))
    draw_grid(axes, grid, "")


def trajectory(
    puzzle: Arc, inputs: Tensor, answers: Tensor, confidence: Tensor, margins: Tensor | None = None
) -> Figure:
    """A task's demonstrations, inputs above outputs, and beside them the test input with the answer after each step.

    Args:
        puzzle: knows the task, and its answer if anybody does.
        inputs: int64 `[L]`, a test input.
        answers: int64 `[S, L]`.
        confidence: float `[S]`, in [0, 1].
        margins: float `[S]`, advantage margin of each step, if somebody knows the solution.
    """
    question = puzzle.question_of(inputs)
    shown = puzzle.tasks[question.task].demonstrations[:MOST_DEMONSTRATIONS]
    upper = [(decode(inputs.unsqueeze(0))[0], "test input"), (question.answer, "the answer")]
    lower = []
    for step, grid in enumerate(decode(answers)):
        right = "" if question.answer is None else ", right" if np.array_equal(grid, question.answer) else ", wrong"
        margin = "" if margins is None else f"\nmargin {float(margins[step]):+.2g}"
        lower.append((grid, f"step {step + 1}: {float(confidence[step]):.0%} sure{right}{margin}"))
    across = max(2, math.ceil(len(lower) / 2))
    figure = Figure(figsize=(1.5 * (len(shown) + across), 4.6), layout="constrained")
    figure.suptitle(f"{question.task}, test input {question.number + 1}", fontsize=10)
    left, right_part = figure.subfigures(1, 2, width_ratios=(len(shown), across))
    for number, (pair, column) in enumerate(zip(shown, left.subplots(2, len(shown), squeeze=False).T, strict=True), 1):
        draw_grid(column[0], pair.input, f"demonstration {number}")
        draw_grid(column[1], pair.output, "its output")
    left.set_facecolor("#f2f2f2")
    panels = right_part.subplots(3, across, squeeze=False)
    for axes, (grid, label) in zip(panels[0], upper, strict=False):
        draw_grid(axes, grid, label)
    for axes in panels[0, len(upper) :]:
        axes.set_axis_off()
    rest = panels[1:].flatten()
    for axes, (grid, label) in zip(rest, lower, strict=False):
        draw_grid(axes, grid, label)
    for axes in rest[len(lower) :]:
        axes.set_axis_off()
    return figure


def verdict(election: Election, number: int) -> Verdict:
    """Whether a test input was answered right in two attempts; if not, undecided if nobody knows the answer or the
    leading grid got less than half of the votes, else wrong."""
    ballot, answer = election.ballots[number], election.questions[number].answer
    leader = ballot.attempts[0]
    if answer is not None and any(np.array_equal(attempt, answer) for attempt in ballot.attempts):
        return "right"
    return "undecided" if answer is None or ballot.share(leader) < 0.5 else "wrong"


def contact_sheet(puzzle: Arc, election: Election) -> Figure:
    """Test input, the attempt that is right, or else the first, and answer of the first test inputs, with verdicts."""
    count = min(len(election.questions), MOST_ON_SHEET)
    across = 4 if count > 4 else 2
    down = math.ceil(count / across)
    figure = Figure(figsize=(4.0 * across, 1.75 * down + 0.5), layout="constrained")
    verdicts = [verdict(election, number) for number in range(len(election.questions))]
    totals = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in VERDICT_COLOURS)
    figure.suptitle(f"{totals}, two attempts voted by {election.views} views", fontsize=11)
    inputs = decode(puzzle.instances("test").inputs[:count])
    panels = figure.subplots(down, 3 * across, squeeze=False).reshape(-1, 3)
    for number, (axes, given) in enumerate(zip(panels, inputs, strict=False)):
        question, ballot, kind = election.questions[number], election.ballots[number], verdicts[number]
        # What is called right is shown, also where it was the second attempt.
        shown = question.answer if kind == "right" else ballot.attempts[0]
        second = kind == "right" and not np.array_equal(shown, ballot.attempts[0])
        label = f"{kind}{' (second)' if second else ''}, {ballot.share(shown):.0%} of votes"
        draw_grid(axes[0], given, f"{question.task}:{question.number + 1}")
        draw_grid(axes[1], shown, label, VERDICT_COLOURS[kind])
        draw_grid(axes[2], question.answer, "answer" if question.answer is not None else "nobody knows")
    for axes in panels[count:].flatten():
        axes.set_axis_off()
    return figure
