"""What a comparison of schemes says: means and intervals over seeds, costs of a target accuracy, ratios of costs.

Intervals are 95%. Over seeds they are Student's t intervals of the mean; one seed alone, or seeds that all agree, have
the Wilson interval of the test puzzles for accuracy (which knows nothing of how runs differ) and none for costs. A
ratio is the ratio of the means that stand in the table; its interval is Welch's t on the logarithm (delta method), so
that it needs two seeds a side.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from scipy.special import stdtrit

from latent_rl.history import Milestone, read_history
from latent_rl.summary import SUMMARY_FILE, Summary

Metric = Literal["solved", "exact"]
METRICS: tuple[Metric, ...] = ("solved", "exact")
CONFIDENCE = 0.95
OWN_ACCURACY_TOLERANCE = 0.005
"""How far below its final accuracy an earlier readout may lie to count as the same accuracy."""

BASELINE = "trm"


@dataclass(frozen=True)
class Run:
    """A finished training run, as its run directory tells it."""

    scheme: str
    seed: int
    run_dir: Path
    summary: Summary
    history: list[Milestone]

    @classmethod
    def read(cls, scheme: str, seed: int, run_dir: Path) -> Run:
        """The run in a run directory; UserError if it is not finished."""
        return cls(scheme, seed, run_dir, Summary.read(run_dir), read_history(run_dir))

    @staticmethod
    def finished(run_dir: Path) -> bool:
        """Whether a run directory holds a finished run: its summary is the last of the numbers to be written."""
        return (run_dir / SUMMARY_FILE).is_file()

    def accuracy(self, metric: Metric) -> float:
        """Final accuracy on all test puzzles."""
        return _accuracy(self.history[-1], metric)

    def readout(self, metric: Metric) -> list[tuple[float, float]]:
        """(evaluation passes a puzzle, accuracy) if the answer were read after each recursion step."""
        last = self.history[-1]
        accuracies = last.solved_by_step if metric == "solved" else last.accuracy_by_step
        passes = self.summary.eval_passes_per_puzzle / len(accuracies)
        return [(passes * step, accuracy) for step, accuracy in enumerate(accuracies, start=1)]

    def passes_to_own_accuracy(self, metric: Metric) -> float:
        """Fewest evaluation passes after which accuracy is within `OWN_ACCURACY_TOLERANCE` of the final one."""
        enough = self.accuracy(metric) - OWN_ACCURACY_TOLERANCE
        # Rounding must not decide whether exactly 0.5 points below counts.
        return next(passes for passes, accuracy in self.readout(metric) if accuracy >= enough - 1e-9)

    def first_reaching(self, target: float, metric: Metric) -> Milestone | None:
        """The first evaluation whose accuracy is at least the target, or None."""
        return next((milestone for milestone in self.history if _accuracy(milestone, metric) >= target), None)

    def evaluation_speed(self) -> float:
        """Puzzles a second in evaluation: the median over the run's evaluations."""
        return statistics.median(milestone.puzzles / milestone.seconds for milestone in self.history)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95% interval; `low` and `high` are None if there is none, `method` says why or how."""

    by_seed: list[float]
    mean: float
    low: float | None
    high: float | None
    method: str


@dataclass(frozen=True)
class TargetCost:
    """What reaching the target accuracy cost, for each seed, None where it was not reached.

    `estimate` is None unless every seed reached the target: a mean over the lucky ones would flatter the scheme.
    """

    by_seed: list[float | None]
    estimate: Estimate | None

    @property
    def missing(self) -> int:
        """Number of seeds that did not reach the target."""
        return self.by_seed.count(None)


@dataclass(frozen=True)
class SchemeResult:
    """One scheme over its seeds. Passes are network passes; evaluation passes are those of one puzzle."""

    scheme: str
    seeds: list[int]
    parameters: int
    eval_puzzles: int
    accuracy: Estimate
    exact_accuracy: Estimate
    solved_rate: Estimate
    cell_accuracy: Estimate
    eval_passes_per_puzzle: Estimate
    eval_passes_to_own_accuracy: Estimate
    train_passes_to_target: TargetCost
    train_seconds_to_target: TargetCost
    train_passes: Estimate
    train_seconds: Estimate
    train_puzzles_per_second: Estimate
    eval_puzzles_per_second: Estimate


@dataclass(frozen=True)
class Ratio:
    """Cost of the baseline divided by the cost of another scheme; `value` is None where `note` says why."""

    value: float | None
    low: float | None
    high: float | None
    note: str


@dataclass(frozen=True)
class SchemeRatios:
    """What one scheme saves against the baseline, beside the accuracies of both."""

    baseline: str
    scheme: str
    baseline_accuracy: Estimate
    accuracy: Estimate
    eval_passes_per_puzzle: Ratio
    eval_passes_to_own_accuracy: Ratio
    train_passes_to_target: Ratio
    train_seconds_to_target: Ratio


@dataclass(frozen=True)
class Comparison:
    """Everything that `compare.json` and the tables say of the finished runs."""

    metric: Metric
    target_accuracy: float
    results: list[SchemeResult]
    ratios: list[SchemeRatios]
    runs: list[Run]

    @classmethod
    def of(cls, runs: Sequence[Run], schemes: Sequence[str], metric: Metric, target: float) -> Comparison:
        """Compare finished runs; schemes without one are left out. The baseline is `trm`, or else the first scheme."""
        by_scheme = {scheme: [run for run in runs if run.scheme == scheme] for scheme in schemes}
        results = [_result(scheme, group, metric, target) for scheme, group in by_scheme.items() if group]
        baseline = BASELINE if BASELINE in schemes else schemes[0]
        ours = next((result for result in results if result.scheme == baseline), None)
        ratios = [] if ours is None else [_ratios(ours, other) for other in results if other is not ours]
        return cls(metric, target, results, ratios, list(runs))

    def as_dict(self) -> dict[str, Any]:
        """The numbers in plain types; every run with its learning curve and its readout after each step."""
        return {
            "metric": self.metric,
            "target_accuracy": self.target_accuracy,
            "results": [asdict(result) for result in self.results],
            "ratios": [asdict(ratios) for ratios in self.ratios],
            "runs": [
                {
                    "scheme": run.scheme,
                    "seed": run.seed,
                    "run_dir": str(run.run_dir),
                    "summary": run.summary.as_dict(),
                    "curve": [
                        {
                            "train_passes": milestone.train_passes,
                            "train_seconds": milestone.train_seconds,
                            "accuracy": _accuracy(milestone, self.metric),
                        }
                        for milestone in run.history
                    ],
                    "readout": [
                        {"eval_passes": passes, "accuracy": accuracy} for passes, accuracy in run.readout(self.metric)
                    ],
                }
                for run in self.runs
            ],
        }


def mean_interval(values: Sequence[float], *, within: tuple[float, float] = (-math.inf, math.inf)) -> Estimate:
    """Mean and t interval over seeds, cut to the range that the quantity can have."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Estimate(list(values), mean, None, None, "one seed: no interval")
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
    share, z = shares[0], statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    centre = (share + z * z / (2 * puzzles)) / (1 + z * z / puzzles)
    half = z / (1 + z * z / puzzles) * math.sqrt(share * (1 - share) / puzzles + z * z / (4 * puzzles**2))
    # Rounding may put an end of the interval just beyond a share of 0 or 1.
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    whose = "of one seed" if len(shares) == 1 else f"because all {len(shares)} seeds agree"
    return Estimate(list(shares), share, low, high, f"binomial (Wilson) over {puzzles} puzzles {whose}")


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


def _accuracy(milestone: Milestone, metric: Metric) -> float:
    return milestone.solved_rate if metric == "solved" else milestone.exact_accuracy


def _t(freedom: float) -> float:
    """Quantile of Student's t for a two-sided interval."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _target_cost(values: list[float | None]) -> TargetCost:
    known = [value for value in values if value is not None]
    return TargetCost(values, _cost(known) if len(known) == len(values) else None)


def _cost(values: Sequence[float]) -> Estimate:
    return mean_interval(values, within=(0.0, math.inf))


def _result(scheme: str, runs: Sequence[Run], metric: Metric, target: float) -> SchemeResult:
    summaries = [run.summary for run in runs]
    puzzles = summaries[0].eval_puzzles
    reached = [run.first_reaching(target, metric) for run in runs]
    exact = share_interval([summary.exact_accuracy for summary in summaries], puzzles)
    solved = share_interval([summary.solved_rate for summary in summaries], puzzles)
    return SchemeResult(
        scheme=scheme,
        seeds=[run.seed for run in runs],
        parameters=summaries[0].parameters,
        eval_puzzles=puzzles,
        accuracy=solved if metric == "solved" else exact,
        exact_accuracy=exact,
        solved_rate=solved,
        # A mean over cells, not a share of puzzles: one seed has no binomial interval.
        cell_accuracy=mean_interval([summary.cell_accuracy for summary in summaries], within=(0.0, 1.0)),
        eval_passes_per_puzzle=_cost([summary.eval_passes_per_puzzle for summary in summaries]),
        eval_passes_to_own_accuracy=_cost([run.passes_to_own_accuracy(metric) for run in runs]),
        train_passes_to_target=_target_cost(
            [None if found is None else float(found.train_passes) for found in reached]
        ),
        train_seconds_to_target=_target_cost([None if found is None else found.train_seconds for found in reached]),
        train_passes=_cost([float(summary.train_passes_total) for summary in summaries]),
        train_seconds=_cost([summary.train_seconds for summary in summaries]),
        train_puzzles_per_second=_cost([summary.puzzles_seen / summary.train_seconds for summary in summaries]),
        eval_puzzles_per_second=_cost([run.evaluation_speed() for run in runs]),
    )


def _ratios(baseline: SchemeResult, other: SchemeResult) -> SchemeRatios:
    names = (baseline.scheme, other.scheme)
    return SchemeRatios(
        baseline=baseline.scheme,
        scheme=other.scheme,
        baseline_accuracy=baseline.accuracy,
        accuracy=other.accuracy,
        eval_passes_per_puzzle=_ratio(baseline.eval_passes_per_puzzle, other.eval_passes_per_puzzle),
        eval_passes_to_own_accuracy=_ratio(baseline.eval_passes_to_own_accuracy, other.eval_passes_to_own_accuracy),
        train_passes_to_target=_target_ratio(names, baseline.train_passes_to_target, other.train_passes_to_target),
        train_seconds_to_target=_target_ratio(names, baseline.train_seconds_to_target, other.train_seconds_to_target),
    )


def _ratio(above: Estimate, below: Estimate) -> Ratio:
    return ratio_of_means(above.by_seed, below.by_seed)


def _target_ratio(names: tuple[str, str], above: TargetCost, below: TargetCost) -> Ratio:
    if above.estimate is not None and below.estimate is not None:
        return _ratio(above.estimate, below.estimate)
    notes = [f"{name}: {not_reached(cost)}" for name, cost in zip(names, (above, below), strict=True) if cost.missing]
    return Ratio(None, None, None, "; ".join(notes))


def not_reached(cost: TargetCost) -> str:
    """`not reached in 2 of 3 seeds`."""
    return f"not reached in {cost.missing} of {len(cost.by_seed)} seed{'s' if len(cost.by_seed) > 1 else ''}"
