"""The figures of a comparison: accuracy against what it cost, one curve a scheme, with the spread over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter

from latent_rl.measuring import Comparison, Metric, Run
from latent_rl.reporting.comparison_tables import METRIC_NAMES

Points = list[tuple[float, float]]


class Style(NamedTuple):
    """Okabe and Ito's colours with a dash and a marker each, so that no curve is told by its colour alone."""

    colour: str
    dash: str
    marker: str


STYLES = (
    Style("#D55E00", "--", "s"),
    Style("#0072B2", "-.", "^"),
    Style("#009E73", "-", "o"),
    Style("#CC79A7", ":", "D"),
    Style("#E69F00", (0, (5, 1)), "v"),
    Style("#000000", (0, (1, 1)), "x"),
)

CAPTIONS = {
    "train_passes": "Accuracy against network passes spent on training",
    "train_seconds": "Accuracy against seconds of training",
    "eval_passes": "Accuracy against network passes spent on one test puzzle, the answer read after every step",
}
"""The figures by name, in the order in which a report shows them."""


def figures(comparison: Comparison, schemes: Sequence[str]) -> dict[str, Figure]:
    """All figures, by the names of `CAPTIONS`; a scheme keeps its style whether or not the others have runs yet."""
    metric = comparison.metric
    styles = dict(zip(schemes, cycle(STYLES), strict=False))
    passes = _figure(comparison, styles, lambda run: _curve(run, metric, "train_passes"), target=True)
    passes.axes[0].set_xlabel("network passes spent on training")
    seconds = _figure(comparison, styles, lambda run: _curve(run, metric, "train_seconds"), target=True)
    seconds.axes[0].set_xlabel("seconds of training")
    for figure in (passes, seconds):
        figure.axes[0].set_xlim(left=0)
        figure.axes[0].xaxis.set_major_formatter(FuncFormatter(_short_number))
    readout = _figure(comparison, styles, lambda run: run.readout(metric), target=False)
    axes = readout.axes[0]
    axes.set_xscale("log")
    axes.set_xlabel("network passes spent on one test puzzle (logarithmic)")
    costs = [[passes for passes, _ in run.readout(metric)] for run in comparison.runs]
    # What a scheme's whole answer costs is labelled before what the way there costs.
    axes.set_xticks(_apart([*(cost[-1] for cost in costs), *(place for cost in costs for place in cost)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    return {"train_passes": passes, "train_seconds": seconds, "eval_passes": readout}


def spread(curves: Sequence[Points]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places, mean, minimum and maximum of several curves, each float `[K]`.

    The curves need not have the same places; they are taken linearly between their points, at all places of any of
    them that all of them cover.
    """
    start, end = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    places = np.unique([place for curve in curves for place, _ in curve if start <= place <= end])
    values = np.stack([np.interp(places, *zip(*curve, strict=True)) for curve in curves])
    return places, values.mean(0), values.min(0), values.max(0)


def _figure(
    comparison: Comparison, styles: dict[str, Style], curve: Callable[[Run], Points], *, target: bool
) -> Figure:
    # 8 inches at 150 dots an inch are shown at 800 px or less: text of 12 points stays readable.
    figure = Figure(figsize=(8.0, 4.8), layout="constrained")
    axes = figure.subplots()
    for scheme, style in styles.items():
        curves = [curve(run) for run in comparison.runs if run.scheme == scheme]
        if curves:
            _draw(axes, scheme, style, curves)
    if target:
        axes.axhline(comparison.target_accuracy, color="#777777", linewidth=1.0, zorder=1)
        axes.annotate(
            f"target {comparison.target_accuracy:.1%}",
            (1.0, comparison.target_accuracy),
            xycoords=("axes fraction", "data"),
            xytext=(-2, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=10,
            color="#555555",
        )
    axes.set_ylim(-0.02, 1.04)
    axes.set_ylabel(f"test puzzles {METRIC_NAMES[comparison.metric]}", fontsize=12)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=11)
    axes.xaxis.label.set_size(12)
    seeds = max((len({run.seed for run in comparison.runs if run.scheme == scheme}) for scheme in styles), default=0)
    axes.legend(
        loc="lower right",
        frameon=False,
        fontsize=12,
        title=f"mean, lowest and highest of {seeds} seeds" if seeds > 1 else "one seed",
    )
    return figure


def _draw(axes: Axes, scheme: str, style: Style, curves: Sequence[Points]) -> None:
    places, mean, low, high = spread(curves)
    # About ten markers: enough to tell the curves apart, too few to hide them.
    between = max(1, len(places) // 10)
    axes.plot(
        places,
        mean,
        linestyle=style.dash,
        marker=style.marker,
        markevery=between,
        color=style.colour,
        linewidth=2.2,
        markersize=6,
        label=scheme,
    )
    if len(curves) > 1:
        axes.fill_between(places, low, high, color=style.colour, alpha=0.18, linewidth=0)


def _curve(run: Run, metric: Metric, cost: str) -> Points:
    accuracy = "solved_rate" if metric == "solved" else "exact_accuracy"
    # Of two evaluations at one moment (a run stopped on its last update evaluates again) the later one counts.
    return sorted({getattr(point, cost): getattr(point.evaluation, accuracy) for point in run.history}.items())


def _apart(places: Sequence[float], factor: float = 1.35) -> list[float]:
    """Those places, the first ones first, that leave room for a label each on a logarithmic axis."""
    kept: list[float] = []
    for place in places:
        if all(max(place / other, other / place) >= factor for other in kept):
            kept.append(place)
    return sorted(kept)


def _short_number(value: float, _: int) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"
