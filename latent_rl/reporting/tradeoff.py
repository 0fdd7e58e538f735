"""A trade-off as people see it: puzzles not solved against network passes, as a figure and as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, StrMethodFormatter
from rich.box import SIMPLE
from rich.table import Table

from latent_rl.measuring import OWN_ACCURACY_TOLERANCE, Averaged, Choice
from latent_rl.reporting.style import BLUE, GREEN, GREY, ORANGE, VERMILLION, styled
from latent_rl.reporting.text import number, share

STYLES = {
    "learned": ("o-", BLUE, "halting policy, one point a price"),
    "never": ("s--", GREY, "fixed number of steps"),
    "confident": ("^:", ORANGE, "q head sure, one point a threshold"),
    "agree": ("D", VERMILLION, "two successive answers agree"),
    "rule": ("*", GREEN, "puzzle's own rule confirms the answer"),
}
"""Marker and line, colour and label of every rule."""


@styled
def tradeoff(puzzle: str, points: Sequence[Averaged]) -> Figure:
    """Failures against network passes a puzzle, both on logarithmic axes, one curve a rule; bars are 95% intervals."""
    figure = Figure(figsize=(7.5, 5.0))
    axes = figure.subplots()
    # A solved rate of 100% has no place on a logarithmic axis: half a failure stands for none.
    least = 0.5 / points[0].puzzles
    for rule, (style, colour, label) in STYLES.items():
        curve = sorted((point for point in points if point.rule == rule), key=lambda one: one.passes_per_puzzle.mean)
        if not curve:
            continue
        solved = [point.solved_rate for point in curve]
        failed = [max(1 - share.mean, least) for share in solved]
        bars = [
            [here - max(1 - share.high, least) for here, share in zip(failed, solved, strict=True)],
            [max(1 - share.low, least) - here for here, share in zip(failed, solved, strict=True)],
        ]
        axes.errorbar(
            [point.passes_per_puzzle.mean for point in curve],
            failed,
            yerr=np.clip(bars, 0.0, None),
            fmt=style,
            color=colour,
            label=label,
            alpha=0.9,
            markersize=9 if rule == "rule" else 6,
            elinewidth=0.8,
            capsize=2,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    # Where a whole number of steps ends.
    axes.set_xticks([point.passes_per_puzzle.mean for point in points if point.rule == "never"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatted(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    axes.set_xlabel("network passes a puzzle")
    axes.set_ylabel("share of puzzles that are not solved")
    models = "" if points[0].models == 1 else f", mean of {points[0].models} models"
    axes.set_title(f"{puzzle}, {points[0].puzzles:,} test puzzles{models} (lower left is better)")
    axes.grid(True, which="both", axis="both")
    axes.legend()
    return figure


def choice_in_words(choice: Choice) -> list[str]:
    """Which price one would choose on validation puzzles and why, what is best of all, and what both come to."""
    validation, full = choice.validation, choice.full
    enough = f"within {100 * OWN_ACCURACY_TOLERANCE:g} points of all steps"

    def found(points: Sequence[Averaged], place: int) -> str:
        return f"{points[place].solved_rate.mean:.1%} solved, {points[place].passes_per_puzzle.mean:.3g} passes"

    where = f"on {validation[full].puzzles:,} validation puzzles"
    lines = []
    if choice.policy is None:
        lines.append(f"price: {where} no policy is {enough} ({found(validation, full)}): try lower ones")
    for what, chosen in (("price", choice.policy), ("of all", choice.best)):
        if chosen is not None:
            lines.append(
                f"{what}: {validation[chosen].label}, {where} the cheapest {enough} there "
                f"({found(validation, chosen)}; all steps: {found(validation, full)}); "
                f"on test puzzles {found(choice.test, chosen)} (all steps: {found(choice.test, full)})"
            )
    return lines


def table(puzzle: str, points: Sequence[Averaged], baseline: int) -> Table:
    """One row a rule; the last column is the part of the baseline's passes that it takes."""
    first = points[0]
    models = "" if first.models == 1 else f", {first.models} models"
    rows = Table(title=f"{puzzle}, {first.puzzles:,} test puzzles{models} ([95% interval] or (each model))", box=SIMPLE)
    rows.add_column("stopping rule", no_wrap=True)
    for name in ("exact", "solved", "passes", f"of {baseline}"):
        rows.add_column(name, justify="right", no_wrap=True)
    for point in points:
        rows.add_row(
            point.label,
            f"{point.exact_accuracy.mean:.1%}",
            share(point.solved_rate),
            number(point.passes_per_puzzle),
            f"1/{baseline / point.passes_per_puzzle.mean:.0f}",
        )
    return rows
