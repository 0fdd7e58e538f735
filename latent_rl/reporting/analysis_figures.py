"""The figures of an analysis, and the one of margins that a training run shows as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, NullLocator, PercentFormatter, StrMethodFormatter

from latent_rl.reporting.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    VERMILLION,
    percent_axis,
    step_axis,
    styled,
)

if TYPE_CHECKING:
    from latent_rl.measuring import Analysis


@styled
def stopping(found: Analysis) -> Figure:
    """Accuracy had the reasoner stopped after each step, against the network passes spent by then; and the oracle."""
    figure = Figure(figsize=(7.4, 4.6))
    axes = figure.subplots()
    passes, enough = found.passes_by_step, found.enough_steps - 1
    axes.plot(
        passes,
        found.oracle_by_step,
        "x:",
        color=GREY,
        markersize=7,
        label="right at this step or any before\n(no accuracy: only the key knows when to stop)",
    )
    axes.plot(passes, found.solved_by_step, "s-", color=GREEN, linewidth=4.0, label="solved by the puzzle's rule")
    axes.plot(passes, found.accuracy_by_step, "o--", color=BLUE, linewidth=1.8, label="answer exactly right")
    axes.plot(
        passes[enough],
        found.accuracy_by_step[enough],
        "o",
        color=VERMILLION,
        fillstyle="none",
        markersize=15,
        markeredgewidth=1.8,
        linestyle="none",
        label=f"{passes[enough]:g} passes: at most 0.5 points below the last step",
    )
    # Where everything happens above one half, the upper part alone shows more.
    lowest = min(found.accuracy_by_step)
    bottom = max(0.0, lowest - 0.25 * (1.0 - lowest) - 0.02) if lowest > 0.5 else -0.02
    axes.set_ylim(bottom, 1.0 + 0.03 * (1.0 - bottom))
    percent_axis(axes, "share of test puzzles")
    axes.set_xlabel("network passes per puzzle")
    axes.set_xlim(0, passes[-1] * 1.04)
    if found.steps <= 20:
        axes.set_xticks([0, *passes], [f"{spent:g}" for spent in (0, *passes)])
    axes.legend(loc="lower right")
    axes.set_title(f"What if we had stopped here? ({found.puzzles:,} test puzzles)")
    return figure


@styled
def improvement(
    margins: Sequence[float],
    dead_shares: Sequence[float],
    *,
    quantiles: Sequence[Sequence[float]] | None = None,
    stuck_shares: Sequence[float] | None = None,
) -> Figure:
    """How much each step improves the policy, and on how many puzzles it is dead compute.

    Args:
        margins: mean advantage margin of each step.
        dead_shares: share of puzzles on which the step was dead compute.
        quantiles: five quantiles over puzzles of each step's margin, ascending; drawn as bands.
        stuck_shares: the part of the dead shares that was not solved yet.
    """
    figure = Figure(figsize=(10.4, 4.2))
    left, right = figure.subplots(1, 2)
    steps = range(1, len(margins) + 1)
    if quantiles is not None:
        low, lower, middle, upper, high = zip(*quantiles, strict=True)
        left.fill_between(steps, low, high, color=BLUE, alpha=0.15, linewidth=0, label="10% to 90% of puzzles")
        left.fill_between(steps, lower, upper, color=BLUE, alpha=0.3, linewidth=0, label="25% to 75%")
        left.plot(steps, middle, "s-", color=BLUE, markersize=5, label="median")
    left.plot(steps, margins, "o--", color=ORANGE, markersize=6, label="mean")
    left.axhline(0, color=INK, linewidth=0.9)
    # Margins of later steps are a thousandth of the first one's, and may be negative.
    left.set_yscale("symlog", linthresh=0.01, linscale=0.6)
    shown = [*margins, *(value for row in quantiles or () for value in row)]
    left.set_ylim(min(-0.02, 2 * min(shown)), max(0.1, 2.5 * max(shown)))
    left.yaxis.set_major_locator(SparseSymLog())
    left.yaxis.set_minor_locator(NullLocator())
    left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left.set_ylabel("advantage margin (logits; symmetric log scale)")
    left.set_title("How far the step moves the policy to the answer")
    left.legend(loc="upper right")

    if stuck_shares is None:
        right.bar(steps, dead_shares, color=PALE, edgecolor=INK, linewidth=0.6, label="dead compute")
    else:
        done = [dead - stuck for dead, stuck in zip(dead_shares, stuck_shares, strict=True)]
        right.bar(steps, done, color=PALE, edgecolor=INK, linewidth=0.6, label="dead: was right already")
        right.bar(
            steps,
            stuck_shares,
            bottom=done,
            color=VERMILLION,
            edgecolor=INK,
            linewidth=0.6,
            hatch="///",
            label="dead: still wrong, and stuck",
        )
    for step, share in zip(steps, dead_shares, strict=True):
        if len(dead_shares) <= 16:
            right.text(step, share + 0.015, f"{share:.0%}", ha="center", fontsize=8, color=INK)
    right.set_ylim(0, 1.28)
    right.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    percent_axis(right, "share of test puzzles")
    right.set_title("Steps that improve nothing (no margin)")
    right.legend(loc="upper left", ncols=2)
    for axes in (left, right):
        step_axis(axes, len(margins))
    return figure


@styled
def movement(found: Analysis) -> Figure:
    """How far each step moves the latents, and how many cells of the answer it changes."""
    figure = Figure(figsize=(10.4, 4.0))
    left, right = figure.subplots(1, 2)
    steps = range(1, found.steps + 1)
    left.plot(steps, found.y_distance_by_step, "o-", color=BLUE, label="answer latent y")
    left.plot(steps, found.z_distance_by_step, "^--", color=ORANGE, label="scratchpad z")
    left.set_ylabel("relative distance |new − old| / |old|")
    left.set_title("How far the step moves the latents")
    right.plot(steps, found.changed_cells_by_step, "o-", color=BLUE, label="cells that changed")
    changed = [1 - share for share in found.unchanged_share_by_step]
    right.plot(steps, changed, "s--", color=GREEN, label="puzzles with a changed cell")
    right.set_ylabel("share of cells or puzzles")
    right.set_title("How much of the answer the step changes")
    if any(value > 0 for value in (*found.y_distance_by_step, *found.z_distance_by_step)):
        # Nothing at all has no place on a logarithmic scale: such points are left out.
        left.set_yscale("log", nonpositive="mask")
        left.yaxis.set_minor_locator(NullLocator())
        left.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    # Here nothing at all is the message: linear up to one in a thousand, logarithmic above.
    right.set_yscale("symlog", linthresh=1e-3)
    right.set_yticks([0.0, 0.001, 0.01, 0.1, 1.0])
    right.yaxis.set_minor_locator(NullLocator())
    for axes in (left, right):
        axes.legend()
        step_axis(axes, found.steps)
    left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    return figure


@styled
def guidance(found: Analysis) -> Figure:
    """Exact accuracy of the guided readout: of the last step, and how many points it wins at every step."""
    weights, steps = found.guidance_weights, found.steps
    figure = Figure(figsize=(11.0, max(3.8, 1.8 + 0.28 * steps)))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
    last = found.guided_accuracy_by_step[-1]
    left.plot(weights, found.guided_cells_by_step[-1], "^:", color=ORANGE, label="cells right")
    left.plot(weights, last, "o--", color=BLUE, label="answer exactly right")
    left.axvline(1.0, color=INK, linewidth=0.9, linestyle="-.", label="w = 1, the plain readout")
    shown = [*last, *found.guided_cells_by_step[-1]]
    room = 0.25 * max(max(shown) - min(shown), 0.02)
    left.set_ylim(min(shown) - 3 * room, max(shown) + room / 2)
    percent_axis(left, "share of test puzzles (or cells)", decimals=1)
    left.set_xlabel("guidance weight w")
    left.set_title(f"Guided readout of the last step ({steps})")
    left.legend(loc="lower right")

    points = [
        [100 * (value - plain) for value in row]
        for row, plain in zip(found.guided_accuracy_by_step, found.accuracy_by_step, strict=True)
    ]
    # Colour for what is near the plain readout; the first columns, before or hardly into a step, may lie far below.
    largest = max(0.5, *(abs(value) for row in points for value in row if abs(value) < 10))
    colours = LinearSegmentedColormap.from_list("points", [VERMILLION, "white", BLUE])
    right.imshow(points, aspect="auto", cmap=colours, norm=TwoSlopeNorm(0, -largest, largest))
    if steps <= 20:
        for row, values in enumerate(points):
            for column, value in enumerate(values):
                text = f"{value:+.1f}" if abs(value) >= 0.05 else "0"
                text = f"{value:.0f}" if value <= -10 else text
                colour = "white" if abs(value) > 0.7 * largest else INK
                right.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
    right.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights], fontsize=8.5)
    right.set_yticks(range(0, steps, 1 if steps <= 20 else 5))
    right.yaxis.set_major_formatter(FuncFormatter(lambda row, _: f"{row + 1:g}"))
    right.set_xlabel("guidance weight w")
    right.set_ylabel("recursion step")
    right.set_title("Points of exact accuracy won against w = 1")
    right.grid(False)
    return figure


@styled
def calibration(found: Analysis) -> Figure:
    """Reliability of the value head: how often answers are, or come, right, by how sure it is of them."""
    figure = Figure(figsize=(5.6, 5.2))
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    cases, sure, right, later = zip(*(row for row in found.reliability if row[0]), strict=True)
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=1.2, label="perfectly calibrated")
    axes.plot(sure, right, "o-", color=BLUE, label='"right now": right now')
    title = f"expected calibration error {found.calibration_error:.1%}"
    if found.continue_reliability:
        _, expects, comes = zip(*(row for row in found.continue_reliability if row[0]), strict=True)
        axes.plot(expects, comes, "D-", color=GREEN, markersize=5, label="continue value: right in the end")
        title += f" now, {found.continue_calibration_error:.1%} of the continue value"
    axes.plot(sure, later, "s--", color=ORANGE, label='"right now": right in the end')
    percent_axis(axes, "share of answers that are right")
    axes.set_title(title)
    axes.legend(loc="best", fontsize=8)
    counts.bar(sure, cases, width=0.04, color=GREY)
    counts.set_yscale("log")
    counts.set_ylabel("answers")
    counts.set_xlabel("probability that the value head gives the answer")
    counts.xaxis.set_major_formatter(PercentFormatter(1.0))
    counts.set_xlim(-0.03, 1.03)
    return figure


class SparseSymLog(Locator):
    """Ticks at powers of ten from 0.01 on, in both directions, and at 0."""

    def __call__(self) -> list[float]:
        """Where ticks stand for the axis as it is seen now."""
        low, high = self.axis.get_view_interval()
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Where ticks stand between two values."""
        powers = [10.0**exponent for exponent in range(-2, 7)]
        return [tick for tick in (*(-power for power in reversed(powers)), 0.0, *powers) if vmin <= tick <= vmax]
