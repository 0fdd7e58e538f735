"""The curves of a run. Every function returns a `matplotlib.figure.Figure` of its own and touches no global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from latent_rl.envs.renderer import BLUE, GREEN, ORANGE
from latent_rl.errors import UserError
from latent_rl.storage import Evaluation, Milestone


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


def _share_axis(axes: Axes) -> None:
    axes.set_ylim(-0.02, 1.04)
    axes.set_ylabel("share of test puzzles (or cells)")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


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
