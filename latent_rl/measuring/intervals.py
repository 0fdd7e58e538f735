"""Means over seeds and ratios of means, with their 95% intervals.

A share of puzzles has one method, see `share_interval`, that holds both how seeds differ and how few puzzles there are.
A cost has Student's t interval of the mean over seeds, and none from one seed. A ratio's interval is Welch's t on the
logarithm (delta method), so that it needs two seeds a side.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import scipy  # its `stats` takes a second to load, and does so when it is first used

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95% interval; `low` and `high` are None if there is none, `method` says why or how."""

    by_seed: list[float]
    mean: float
    low: float | None
    high: float | None
    method: str


@dataclass(frozen=True)
class Ratio:
    """One cost divided by another; `value` is None where `note` says why."""

    value: float | None
    low: float | None
    high: float | None
    note: str


def mean_interval(values: Sequence[float], *, within: tuple[float, float] = (-math.inf, math.inf)) -> Estimate:
    """Mean and t interval over seeds, cut to the range that the quantity can have."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Estimate(list(values), mean, None, None, "one seed: no interval")
    # Not `t.interval`: of seeds that all agree it makes nan, where the interval is a point.
    half = _t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    low, high = max(within[0], mean - half), min(within[1], mean + half)
    return Estimate(list(values), mean, low, high, f"t over {len(values)} seeds")


def share_interval(shares: Sequence[float], puzzles: int) -> Estimate:
    """Mean share of puzzles over seeds, with an interval for how seeds differ and for how few puzzles there are.

    The interval holds all true shares `x` with

        (mean - x)^2  <=  z^2 x (1 - x) / N  +  t^2 s^2 / K

    with `N` puzzles, `K` seeds, `s` their standard deviation, and the two-sided quantiles `z` of the normal and `t` of
    Student's distribution with `K - 1` degrees of freedom. The first term is Wilson's (score interval, 1927): how far
    the test set, which all seeds share, may be from all puzzles. The second is Student's: how far these seeds may be
    from all seeds. They are independent, so their variances add up. Seeds that agree leave Wilson's interval, countless
    puzzles Student's; of seeds with the same mean, those closer together never have the wider interval. The inequality
    is quadratic in `x`. The spread of the seeds holds some of the puzzles' chance already, so that the
    interval is rather too wide. One seed alone says nothing of how runs differ, and has the first term only.

    Args:
        shares: of each seed, in [0, 1].
        puzzles: of the one test set that all of them met.
    """
    mean, seeds = statistics.fmean(shares), len(shares)
    wilson = scipy.stats.norm.ppf((1 + CONFIDENCE) / 2) ** 2 / puzzles
    student = 0.0 if seeds == 1 else _t(seeds - 1) ** 2 * statistics.variance(shares) / seeds
    middle = (mean + wilson / 2) / (1 + wilson)
    half = math.sqrt(max(0.0, middle**2 - (mean**2 - student) / (1 + wilson)))
    low, high = max(0.0, float(middle - half)), min(1.0, float(middle + half))
    of_seeds = f"and {seeds} seeds" if seeds > 1 else "of one seed"
    return Estimate(list(shares), mean, low, high, f"score interval over {puzzles} puzzles {of_seeds}")


def ratio_of_means(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Ratio of two means of positive numbers, with Welch's t interval on its logarithm (delta method)."""
    value = statistics.fmean(above) / statistics.fmean(below)
    if min(len(above), len(below)) < 2:
        return Ratio(value, None, None, "one seed: no interval")
    # Squared relative standard errors of both means, which are the variances of the logarithms.
    parts = [statistics.variance(side) / len(side) / statistics.fmean(side) ** 2 for side in (above, below)]
    total = sum(parts)
    if total == 0.0:
        return Ratio(value, value, value, "the same in every seed")
    freedom = total**2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (above, below), strict=True))
    factor = math.exp(_t(freedom) * math.sqrt(total))
    return Ratio(value, value / factor, value * factor, f"log-t over {len(above)} and {len(below)} seeds")


def _t(freedom: float) -> float:
    """Quantile of Student's t for a two-sided interval."""
    return float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
