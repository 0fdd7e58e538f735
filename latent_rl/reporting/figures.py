"""The figures of a run. Every function returns a `matplotlib.figure.Figure` of its own and touches no global state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from torch import Tensor

from latent_rl.envs import IGNORE, Puzzle
from latent_rl.envs.arc import Arc
from latent_rl.errors import UserError
from latent_rl.reporting import arc_figures
from latent_rl.reporting.boards import box_shape, changes, open_cells
from latent_rl.storage import Evaluation, Milestone

# Okabe and Ito's colours, told apart by colour-blind readers too; every colour here also has a marker or a dash.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, FRAME, STROKE = "#222222", "#9a9a9a", "#8c2d04"

LARGEST_LETTERED_BOARD = 16
"""Rows or columns up to which a board's symbols stay readable; larger boards are drawn in colours alone."""


class Shades(NamedTuple):
    """What fills the cells of a board."""

    given: str
    right: str
    wrong: str
    filled: str


LETTERED_SHADES = Shades(given="#d9d9d9", right="#b9e3d6", wrong="#f6c9a8", filled="#bcdcf0")
BARE_SHADES = Shades(given="#5f5f5f", right=GREEN, wrong=VERMILLION, filled=BLUE)


def accuracy_by_step(evaluation: Evaluation) -> Figure:
    """Exact accuracy, solved rate and cell accuracy after each recursion step, and the network passes they cost."""
    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.subplots()
    steps = range(1, len(evaluation.accuracy_by_step) + 1)
    # The widest line first, so that curves that lie on each other stay visible.
    for values, label, colour, style, width in (
        (evaluation.cells_by_step, "cells right", ORANGE, "^:", 2.0),
        (evaluation.solved_by_step, "solved by the puzzle's rule", GREEN, "s-", 4.0),
        (evaluation.accuracy_by_step, "answer exactly right", BLUE, "o--", 1.8),
    ):
        axes.plot(steps, values, style, color=colour, linewidth=width, markersize=6, label=label)
    _share_axis(axes)
    axes.set_xlabel("recursion steps")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=16))
    axes.set_xlim(0.7, len(steps) + 0.3)
    # What a step costs a puzzle that takes it: all take the first.
    per_step = evaluation.passes_by_step[0]
    passes = axes.secondary_xaxis("top", functions=(lambda step: step * per_step, lambda spent: spent / per_step))
    passes.set_xlabel("network passes per puzzle")
    if len(steps) <= 16:
        passes.set_xticks([step * per_step for step in steps])
    axes.legend(loc="lower right", frameon=False)
    axes.set_title(
        f"{evaluation.exact_accuracy:.1%} exact with {evaluation.passes_per_puzzle:,.0f} network passes a puzzle "
        f"({evaluation.puzzles:,} test puzzles)",
        fontsize=11,
        pad=14,
    )
    return figure


def accuracy_against_passes(history: Sequence[Milestone]) -> Figure:
    """Accuracy of the evaluations during training against what they had cost: network passes, and seconds."""
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    panels = (
        (left, [entry.train_passes for entry in history], "network passes spent on training"),
        (right, [entry.train_seconds for entry in history], "seconds of training"),
    )
    for axes, cost, label in panels:
        axes.plot(cost, [entry.evaluation.cell_accuracy for entry in history], "^:", color=ORANGE, label="cells right")
        axes.plot(
            cost,
            [entry.evaluation.solved_rate for entry in history],
            "s-",
            color=GREEN,
            linewidth=3.5,
            label="solved by the puzzle's rule",
        )
        axes.plot(
            cost,
            [entry.evaluation.exact_accuracy for entry in history],
            "o--",
            color=BLUE,
            label="answer exactly right",
        )
        _share_axis(axes)
        axes.set_xlim(left=0)
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(FuncFormatter(_short_number))
    right.set_ylabel("")
    # Curves rise from left to right: the lower right corner is the one that stays free.
    right.legend(loc="lower right", frameon=False)
    return figure


def trajectory(
    puzzle: Puzzle,
    inputs: Tensor,
    solution: Tensor | None,
    answers: Tensor,
    confidence: Tensor,
    margins: Tensor | None = None,
) -> Figure:
    """One puzzle, and the reasoner's board after each recursion step.

    Args:
        puzzle: gives grid, symbols and, if it has a `box_shape`, the thick lines.
        inputs: int64 `[L]`.
        solution: int64 `[L]`, or None if nobody knows it; cells are then not told right from wrong.
        answers: int64 `[S, L]`, the answer after each step.
        confidence: float `[S]`, what the value head thinks of each answer, in [0, 1].
        margins: float `[S]`, advantage margin of each step, if somebody knows the solution.
    """
    inputs, answers = inputs.cpu(), answers.cpu()
    if isinstance(puzzle, Arc):
        return arc_figures.trajectory(puzzle, inputs, answers, confidence, margins)
    boards = torch.cat((inputs.unsqueeze(0), answers))
    changed = changes(inputs, answers)
    rows, columns = puzzle.grid_shape
    across = min(len(boards), max(2, math.ceil(math.sqrt(1.6 * len(boards)))))
    down = math.ceil(len(boards) / across)
    side = 2.2 if _lettered(puzzle) else 3.0
    room = 0.3 if margins is None else 0.5
    figure = Figure(
        figsize=(max(5.5, side * across), (side * rows / columns + room) * down + 0.35), layout="constrained"
    )
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for axes in panels[len(boards) :]:
        axes.set_axis_off()
    for number, (axes, board) in enumerate(zip(panels, boards, strict=False)):
        if number == 0:
            draw_board(axes, puzzle, inputs, board, None, torch.zeros_like(inputs, dtype=torch.bool))
            axes.set_xlabel("the puzzle", fontsize=10)
        else:
            draw_board(axes, puzzle, inputs, board, solution, changed[number - 1])
            margin = "" if margins is None else f"\nmargin {_signed(margins[number - 1])}"
            axes.set_xlabel(f"step {number}: {float(confidence[number - 1]):.0%} sure{margin}", fontsize=10)
    figure.legend(
        handles=board_legend(puzzle, solution is not None),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    return figure


def draw_board(
    axes: Axes, puzzle: Puzzle, inputs: Tensor, board: Tensor, solution: Tensor | None, changed: Tensor
) -> None:
    """Draw one board into axes of its own; tensors are `[L]`, `changed` bool, the others int64."""
    if isinstance(puzzle, Arc):
        arc_figures.draw_board(axes, board)
        return
    rows, columns = puzzle.grid_shape
    given = ~open_cells(puzzle, inputs) & (board == inputs)
    filled = board != inputs
    wrong = torch.zeros_like(filled)
    if solution is not None:
        key = solution.cpu()
        wrong = (board != key) & (key != IGNORE)
    lettered = _lettered(puzzle)
    shades = LETTERED_SHADES if lettered else BARE_SHADES
    rare = {} if lettered else _rare_symbols(puzzle, inputs)
    # Sizes in points follow from the room that a cell has in its panel.
    point = 2.2 * 72 / max(rows, columns) if lettered else 3.0 * 72 / max(rows, columns)
    for cell, token in enumerate(board.tolist()):
        row, column = divmod(cell, columns)
        colour = "white"
        if wrong[cell]:
            colour = shades.wrong
        elif filled[cell]:
            colour = shades.filled if solution is None else shades.right
        elif given[cell] and cell not in rare:
            colour = shades.given
        axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor=FRAME, linewidth=0.4))
        symbol = puzzle.symbols[token] if lettered else rare.get(cell, "")
        if symbol not in " ._":
            weight = "bold" if given[cell] else "normal"
            axes.text(
                column + 0.5,
                row + 0.52,
                symbol,
                ha="center",
                va="center",
                color=INK,
                fontsize=max(5.0, 0.5 * point if lettered else 1.2 * point),
                fontweight=weight,
                clip_on=False,
            )
        if wrong[cell]:
            # A stroke through the cell: told from the others without colour.
            axes.plot([column + 0.12, column + 0.88], [row + 0.12, row + 0.88], color=STROKE, linewidth=0.05 * point)
        if changed[cell]:
            if lettered:
                axes.plot(column + 0.86, row + 0.14, "o", color=INK, markersize=min(5.0, 0.16 * point))
            else:
                axes.plot(column + 0.5, row + 0.5, "o", color=INK, markersize=0.4 * point, markeredgecolor="white")
    box = box_shape(puzzle)
    if box is not None:
        for row in range(0, rows + 1, box[0]):
            axes.plot([0, columns], [row, row], color=INK, linewidth=1.4, solid_capstyle="projecting")
        for column in range(0, columns + 1, box[1]):
            axes.plot([column, column], [0, rows], color=INK, linewidth=1.4, solid_capstyle="projecting")
    axes.set_xlim(-0.05, columns + 0.05)
    axes.set_ylim(rows + 0.05, -0.05)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if box is None:
        axes.add_patch(Rectangle((0, 0), columns, rows, fill=False, edgecolor=INK, linewidth=1.2))


def _rare_symbols(puzzle: Puzzle, inputs: Tensor) -> dict[int, str]:
    """Cells of a large board whose symbol hardly occurs, such as a maze's start and goal: worth a letter."""
    counts = torch.bincount(inputs, minlength=puzzle.vocab_size)
    return {cell: puzzle.symbols[token] for cell, token in enumerate(inputs.tolist()) if counts[token] <= 2}


def _lettered(puzzle: Puzzle) -> bool:
    return max(puzzle.grid_shape) <= LARGEST_LETTERED_BOARD


def board_legend(puzzle: Puzzle, known: bool) -> list[Patch | Line2D]:
    """What the marks of `draw_board` mean, for a legend; right and wrong only if the solution is known."""
    if isinstance(puzzle, Arc):
        return []  # its colours are the puzzle's own
    shades = LETTERED_SHADES if _lettered(puzzle) else BARE_SHADES
    frame = {"edgecolor": FRAME, "linewidth": 0.6}
    entries: list[Patch | Line2D] = [Patch(facecolor=shades.given, label="given", **frame)]
    if known:
        entries.append(Patch(facecolor=shades.right, label="right", **frame))
        entries.append(
            Patch(facecolor=shades.wrong, label="wrong (struck through)", hatch="\\\\", edgecolor=STROKE, linewidth=0.0)
        )
    else:
        entries.append(Patch(facecolor=shades.filled, label="filled in", **frame))
    dot = Line2D([], [], marker="o", color=INK, linestyle="none", markersize=4, label="changed in this step")
    return [*entries, dot]


def _share_axis(axes: Axes) -> None:
    axes.set_ylim(-0.02, 1.04)
    axes.set_ylabel("share of test puzzles (or cells)")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _signed(value: Tensor) -> str:
    """A margin for people: two digits, and no rounding error of a sum that is nothing."""
    return f"{float(value):+.2g}" if abs(float(value)) >= 0.005 else "0"


def _short_number(value: float, _: int) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's ending.

    Raises:
        UserError: if the file cannot be written or the format is unknown.
    """
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the figure {path}: {error}") from None
