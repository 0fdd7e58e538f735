"""Means over seeds and ratios of means, with their 95% intervals.

Over seeds they are Student's t intervals of the mean; one seed alone, or seeds that all agree, have the Wilson interval
of the test puzzles for a share (which knows nothing of how runs differ) and none for costs. A ratio's interval is
Welch's t on the logarithm (delta method), so that it needs two seeds a side.
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
    """Mean share of puzzles over seeds with its t interval.

    One seed alone has Wilson's binomial interval instead, and so have seeds that agree, such as all at 100%: a t
    interval of no width would claim that a million puzzles were tried.
    """
    if len(set(shares)) > 1:
        return mean_interval(shares, within=(0.0, 1.0))
    found = scipy.stats.binomtest(round(shares[0] * puzzles), puzzles).proportion_ci(CONFIDENCE, method="wilson")
    whose = "of one seed" if len(shares) == 1 else f"because all {len(shares)} seeds agree"
    method = f"binomial (Wilson) over {puzzles} puzzles {whose}"
    return Estimate(list(shares), shares[0], float(found.low), float(found.high), method)


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
