"""The figures of a comparison: accuracy against what it cost, one curve a scheme, with the spread over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

from latent_rl.measuring import Comparison, Metric, Run
from latent_rl.reporting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
    share_axis,
    styled,
    training_cost_axis,
)

Points = list[tuple[float, float]]


class Style(NamedTuple):
    """A colour with a dash and a marker, so that no curve is told by its colour alone."""

    colour: str
    dash: str | tuple[int, tuple[int, ...]]
    marker: str


STYLES = (
    Style(VERMILLION, "--", "s"),
    Style(BLUE, "-.", "^"),
    Style(GREEN, "-", "o"),
    Style(PURPLE, ":", "D"),
    Style(ORANGE, (0, (5, 1)), "v"),
    Style(BLACK, (0, (1, 1)), "x"),
)

METRIC_NAMES = {"solved": "solved by the puzzle's rule", "exact": "exactly right"}

CAPTIONS = {
    "train_passes": "Accuracy on validation puzzles against network passes spent on training",
    "train_seconds": "Accuracy on validation puzzles against seconds of training",
    "eval_passes": "Accuracy against network passes spent on one test puzzle, the answer read after every step",
}
"""The figures by name, in the order in which a report shows them."""


def figures(comparison: Comparison, schemes: Sequence[str]) -> dict[str, Figure]:
    """All figures, by the names of `CAPTIONS`; a scheme keeps its style whether or not the others have runs yet."""
    styles = dict(zip(schemes, cycle(STYLES), strict=False))
    return {
        "train_passes": _training(comparison, styles, "train_passes"),
        "train_seconds": _training(comparison, styles, "train_seconds"),
        "eval_passes": _readout(comparison, styles),
    }


@styled
def _training(comparison: Comparison, styles: Mapping[str, Style], cost: str) -> Figure:
    figure = _figure(comparison, styles, lambda run: _curve(run, comparison.metric, cost), _split(comparison))
    (axes,) = figure.axes
    training_cost_axis(axes, cost)
    axes.axhline(comparison.target_accuracy, color=GREY, linewidth=1.0, zorder=1)
    axes.annotate(
        f"target {comparison.target_accuracy:.1%}",
        (1.0, comparison.target_accuracy),
        xycoords=("axes fraction", "data"),
        xytext=(-2, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=9,
        color="#555555",
    )
    return figure


@styled
def _readout(comparison: Comparison, styles: Mapping[str, Style]) -> Figure:
    metric = comparison.metric
    figure = _figure(comparison, styles, lambda run: run.readout(metric), "test")
    (axes,) = figure.axes
    axes.set_xscale("log")
    axes.set_xlabel("network passes spent on one test puzzle (logarithmic)")
    costs = [[passes for passes, _ in run.readout(metric)] for run in comparison.runs]
    # What a scheme's whole answer costs is labelled before what the way there costs.
    axes.set_xticks(_apart([*(cost[-1] for cost in costs), *(place for cost in costs for place in cost)]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    return figure


def spread(curves: Sequence[Points]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places, mean, minimum and maximum of several curves, each float `[K]`.

    The curves need not have the same places; they are taken linearly between their points, at all places of any of
    them that all of them cover.
    """
    start, end = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    places = np.unique([place for curve in curves for place, _ in curve if start <= place <= end])
    values = np.stack([np.interp(places, *zip(*curve, strict=True)) for curve in curves])
    return places, values.mean(0), values.min(0), values.max(0)


def _figure(comparison: Comparison, styles: Mapping[str, Style], curve: Callable[[Run], Points], split: str) -> Figure:
    # No wider, because it is shown at 800 px or less: text of 10 points stays readable.
    figure = Figure(figsize=(6.8, 4.6), layout="constrained")
    axes = figure.subplots()
    for scheme, style in styles.items():
        curves = [curve(run) for run in comparison.runs if run.scheme == scheme]
        if curves:
            _draw(axes, scheme, style, curves)
    share_axis(axes, f"{split} puzzles {METRIC_NAMES[comparison.metric]}")
    seeds = max((len({run.seed for run in comparison.runs if run.scheme == scheme}) for scheme in styles), default=0)
    # Outside: what learns nothing runs along the bottom, what is solved at once along the top.
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(4, len(styles)),
        frameon=False,
        fontsize=10,
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
        label=scheme,
    )
    if len(curves) > 1:
        axes.fill_between(places, low, high, color=style.colour, alpha=0.18, linewidth=0)


def _split(comparison: Comparison) -> str:
    """What the learning curves are of; of runs of an older version, test puzzles."""
    return "test" if any(run.chosen_on_test for run in comparison.runs) else "validation"


def _curve(run: Run, metric: Metric, cost: str) -> Points:
    accuracy = "solved_rate" if metric == "solved" else "exact_accuracy"
    # Of two evaluations at one moment (a run stopped on its last update evaluates again) the later one counts.
    return sorted({getattr(point, cost): getattr(point.evaluation, accuracy) for point in run.curve}.items())


def _apart(places: Sequence[float], factor: float = 1.35) -> list[float]:
    """Those places, the first ones first, that leave room for a label each on a logarithmic axis."""
    kept: list[float] = []
    for place in places:
        if all(max(place / other, other / place) >= factor for other in kept):
            kept.append(place)
    return sorted(kept)
