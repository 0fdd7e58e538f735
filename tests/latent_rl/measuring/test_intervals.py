"""The interval of a share: nested as the seeds spread, inside [0, 1], and as often right as it says."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_rl.measuring import Estimate
from latent_rl.measuring.intervals import mean_interval, share_interval
from latent_rl.reporting.text import number, share

SHARES = st.lists(st.floats(0.0, 1.0, allow_subnormal=False), min_size=2, max_size=8)


@settings(max_examples=300, deadline=None)
@given(SHARES, st.floats(0.0, 1.0), st.integers(1, 10_000))
def test_seeds_closer_together_never_have_the_wider_interval(shares, closer, puzzles) -> None:
    mean = statistics.fmean(shares)
    near = [mean + closer * (one - mean) for one in shares]
    wide, narrow, agreeing = (share_interval(one, puzzles) for one in (shares, near, [mean] * len(shares)))
    assert 0.0 <= wide.low <= narrow.low + 1e-6 and narrow.low <= agreeing.low + 1e-6
    assert 1.0 >= wide.high >= narrow.high - 1e-6 and narrow.high >= agreeing.high - 1e-6
    assert agreeing.low - 1e-9 <= mean <= agreeing.high + 1e-9


@pytest.mark.parametrize("right", [0, 1, 37, 99, 100])
@pytest.mark.parametrize("seeds", [1, 3])
def test_seeds_that_agree_have_wilsons_interval(right, seeds) -> None:
    found = share_interval([right / 100] * seeds, 100)
    wilson = scipy.stats.binomtest(right, 100).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=1e-9)


def test_of_countless_puzzles_it_is_students_interval() -> None:
    shares = [0.4, 0.5, 0.55, 0.45]
    one, other = share_interval(shares, 10**9), mean_interval(shares)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-4)


@pytest.mark.parametrize(("mean", "spread"), [(0.99, 0.004), (0.9, 0.0), (0.9, 0.02), (0.5, 0.1)])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_coverage(mean: float, spread: float, seeds: int) -> None:
    """True shares of seeds around a mean; all meet the same puzzles, some of which are hard for every seed."""
    rng, tries, puzzles = np.random.default_rng(0), 600, 200
    covered = 0
    for _ in range(tries):
        truth = np.clip(rng.normal(mean, spread, size=(seeds, 1)), 0.0, 1.0)
        # A puzzle's difficulty counts half for all seeds, the rest is each seed's own luck.
        common, own = rng.normal(size=(1, puzzles)), rng.normal(size=(seeds, puzzles))
        difficulty = scipy.stats.norm.cdf((common + own) / np.sqrt(2))
        found = share_interval((difficulty < truth).mean(1).tolist(), puzzles)
        covered += found.low <= mean <= found.high
    assert covered / tries >= 0.93


def test_few_seeds_are_listed() -> None:
    assert share(share_interval([0.0, 0.5, 1.0], 100)) == "50.0% (0.0, 50.0, 100.0)"
    assert share(share_interval([1.0, 1.0, 1.0], 100)) == "100.0% [96.3, 100.0]"
    assert share(share_interval([0.9], 100)) == "90.0% [82.6, 94.5]"
    assert share(share_interval([0.9, 0.91, 0.9, 0.91], 1000)).startswith("90.5% [")
    assert number(mean_interval([1.0, 2.0, 3.0])) == "2 (1, 2, 3)"
    assert number(mean_interval([18.0, 18.0, 18.0])) == "18"
    assert number(mean_interval([1.0, 2.0, 3.0, 4.0])).startswith("2.5 [")
    assert number(Estimate([5.0], 5.0, None, None, "one seed")) == "5"
