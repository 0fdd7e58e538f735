"""The curves of a run. Every function returns a `matplotlib.figure.Figure` of its own and touches no global state."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from latent_rl.reporting.style import BLUE, GREEN, ORANGE, share_axis, step_axis, styled, training_cost_axis
from latent_rl.storage import Evaluation, Milestone


@styled
def accuracy_by_step(evaluation: Evaluation) -> Figure:
    """Exact accuracy, solved rate and cell accuracy after each recursion step, and the network passes they cost."""
    figure = Figure(figsize=(7.0, 4.6))
    axes = figure.subplots()
    steps = range(1, len(evaluation.accuracy_by_step) + 1)
    # The widest line first, so that curves that lie on each other stay visible.
    for values, label, colour, style, width in (
        (evaluation.cells_by_step, "cells right", ORANGE, "^:", 2.0),
        (evaluation.solved_by_step, "solved by the puzzle's rule", GREEN, "s-", 4.0),
        (evaluation.accuracy_by_step, "answer exactly right", BLUE, "o--", 1.8),
    ):
        axes.plot(steps, values, style, color=colour, linewidth=width, markersize=6, label=label)
    share_axis(axes)
    step_axis(axes, len(steps))
    # What a step costs a puzzle that takes it: all take the first.
    per_step = evaluation.passes_by_step[0]
    passes = axes.secondary_xaxis("top", functions=(lambda step: step * per_step, lambda spent: spent / per_step))
    passes.spines.top.set_visible(True)
    # A step of deduction in a state that is known costs nothing.
    most = per_step * sum(evaluation.active_by_step)
    at_most = evaluation.passes_by_step[-1] < most - 1e-6 * most
    passes.set_xlabel(f"network passes per puzzle{', at most' if at_most else ''}")
    if len(steps) <= 16:
        passes.set_xticks([step * per_step for step in steps])
    axes.legend(loc="lower right")
    axes.set_title(
        f"{evaluation.exact_accuracy:.1%} exact with {evaluation.passes_per_puzzle:,.0f} network passes a puzzle "
        f"({evaluation.puzzles:,} test puzzles)",
        pad=14,
    )
    return figure


@styled
def accuracy_against_passes(history: Sequence[Milestone]) -> Figure:
    """Accuracy of the evaluations during training against what they had cost: network passes, and seconds."""
    figure = Figure(figsize=(10.0, 4.2))
    left, right = figure.subplots(1, 2, sharey=True)
    found = [milestone.evaluation for milestone in history]
    split = history[0].split if history else "validation"
    for axes, cost in ((left, "train_passes"), (right, "train_seconds")):
        spent = [getattr(milestone, cost) for milestone in history]
        axes.plot(spent, [one.cell_accuracy for one in found], "^:", color=ORANGE, label="cells right")
        solved = [one.solved_rate for one in found]
        axes.plot(spent, solved, "s-", color=GREEN, linewidth=3.5, label="solved by the puzzle's rule")
        axes.plot(spent, [one.exact_accuracy for one in found], "o--", color=BLUE, label="answer exactly right")
        share_axis(axes, f"share of {split} puzzles (or cells)")
        training_cost_axis(axes, cost)
    right.set_ylabel("")
    # Curves rise from left to right: the lower right corner is the one that stays free.
    right.legend(loc="lower right")
    return figure
