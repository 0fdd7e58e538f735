"""What a comparison of schemes says: means over seeds, costs of a target accuracy, ratios of costs.

How the intervals are made: `latent_rl.measuring.intervals`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from latent_rl.measuring.choosing import own_stop
from latent_rl.measuring.intervals import Estimate, Ratio, mean_interval, ratio_of_means, share_interval
from latent_rl.storage import PENDING_FILE, SUMMARY_FILE, Evaluation, History, Milestone, Summary

Metric = Literal["solved", "exact"]
"""What a comparison compares by."""
METRICS: tuple[Metric, ...] = ("solved", "exact")
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
        return cls(scheme, seed, run_dir, Summary.read(run_dir), History.read(run_dir).milestones)

    @staticmethod
    def finished(run_dir: Path) -> bool:
        """Whether a run directory holds the numbers of a finished run: its summary is the last to be written."""
        return (run_dir / SUMMARY_FILE).is_file()

    @staticmethod
    def complete(run_dir: Path) -> bool:
        """Whether a finished run has left all that belongs to its result: figures too, and its last checkpoint."""
        return Run.finished(run_dir) and not (run_dir / PENDING_FILE).exists()

    def accuracy(self, metric: Metric) -> float:
        """Final accuracy on all test puzzles."""
        return _accuracy(self.reported, metric)

    @property
    def reported(self) -> Evaluation:
        """The evaluation that counts: of the finished model, on all test puzzles."""
        return self.history[-1].evaluation

    @property
    def curve(self) -> list[Milestone]:
        """The evaluations on validation puzzles; see `chosen_on_test`."""
        return History(self.history).curve

    @property
    def chosen_on_test(self) -> bool:
        """Whether there are no validation puzzles to choose on: a run of an older version."""
        return self.curve[-1].split == "test"

    def readout(self, metric: Metric, found: Evaluation | None = None) -> list[tuple[float, float]]:
        """(evaluation passes a puzzle, accuracy) if the answer were read after each recursion step; on test puzzles."""
        last = self.reported if found is None else found
        accuracies = last.solved_by_step if metric == "solved" else last.accuracy_by_step
        # Older runs did not record it: they took all steps, at the same cost each.
        each = self.summary.eval_passes_per_puzzle / len(accuracies)
        passes = last.passes_by_step or [each * step for step in range(1, len(accuracies) + 1)]
        return list(zip(passes, accuracies, strict=True))

    def stopped_early(self, metric: Metric) -> tuple[float, float]:
        """(evaluation passes a puzzle, accuracy) on test puzzles of the cheapest stop that validation puzzles allow.

        A model stops by its own means: all puzzles after the first `n` steps, or each once the q head believes in its
        answer. Accuracy is within `choosing.OWN_ACCURACY_TOLERANCE` of the final one.
        """
        name = "solved_rate" if metric == "solved" else "exact_accuracy"
        stop = own_stop(self.curve[-1].evaluation, self.reported, name, self.summary.eval_passes_per_puzzle)
        return stop.passes_per_puzzle, getattr(stop, name)

    def first_reaching(self, target: float, metric: Metric) -> tuple[Milestone | None, Milestone] | None:
        """The first evaluation on validation puzzles whose accuracy is at least the target, after the one before it.

        None if there is no such evaluation; the first of all has none before it.
        """
        before: list[Milestone | None] = [None, *self.curve]
        pairs = zip(before, self.curve, strict=False)
        return next((pair for pair in pairs if _accuracy(pair[1].evaluation, metric) >= target), None)

    def evaluation_speed(self) -> float:
        """Puzzles a second in evaluation: the median over the run's evaluations."""
        return statistics.median(found.puzzles / found.seconds for found in (one.evaluation for one in self.history))


@dataclass(frozen=True)
class TargetCost:
    """What reaching the target accuracy cost, for each seed, None where it was not reached.

    `estimate` is None unless every seed reached the target: a mean over the lucky ones would flatter the scheme.
    `spacing` is what lies between that evaluation and the one before, on average over seeds: the target was reached
    somewhere in between, so that the estimate's interval begins that much lower. None if no seed reached it.
    """

    by_seed: list[float | None]
    estimate: Estimate | None
    spacing: float | None

    @property
    def missing(self) -> int:
        """Number of seeds that did not reach the target."""
        return self.by_seed.count(None)


@dataclass(frozen=True)
class SchemeResult:
    """One scheme over its seeds. Passes are network passes; evaluation passes are those of one puzzle.

    Compute is forward passes and twice the backward passes; None with runs of a version that did not count these.
    What is stopped early, is stopped by the model's own means, chosen on validation puzzles: `Run.stopped_early`.
    """

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
    accuracy_stopped_early: Estimate
    train_passes_to_target: TargetCost
    train_seconds_to_target: TargetCost
    train_compute_to_target: TargetCost | None
    train_passes: Estimate
    train_gradient_passes: Estimate | None
    train_seconds: Estimate
    train_puzzles_per_second: Estimate
    eval_puzzles_per_second: Estimate


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
    train_compute_to_target: Ratio | None


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
                    "summary": run.summary.model_dump(),
                    "chosen_on": "test" if run.chosen_on_test else "validation",
                    "curve": [
                        {
                            "train_passes": milestone.train_passes,
                            "train_seconds": milestone.train_seconds,
                            "accuracy": _accuracy(milestone.evaluation, self.metric),
                        }
                        for milestone in run.curve
                    ],
                    "readout": [
                        {"eval_passes": passes, "accuracy": accuracy} for passes, accuracy in run.readout(self.metric)
                    ],
                }
                for run in self.runs
            ],
        }


def _accuracy(found: Evaluation, metric: Metric) -> float:
    return found.solved_rate if metric == "solved" else found.exact_accuracy


def _target_cost(
    reached: Sequence[tuple[Milestone | None, Milestone] | None], of: Callable[[Milestone], float | None]
) -> TargetCost:
    """What `of` says that the first evaluations that reached the target had cost."""
    values = [None if pair is None else of(pair[1]) for pair in reached]
    known = [value for value in values if value is not None]
    gaps = [of(pair[1]) - (0 if pair[0] is None else of(pair[0])) for pair in reached if pair is not None]
    spacing = statistics.fmean(gaps) if gaps else None
    estimate = _cost(known) if len(known) == len(values) else None
    if estimate is not None and estimate.low is not None:
        estimate = replace(estimate, low=max(0.0, estimate.low - spacing), method=f"{estimate.method}, and the spacing")
    return TargetCost(values, estimate, spacing)


def _cost(values: Sequence[float]) -> Estimate:
    return mean_interval(values, within=(0.0, math.inf))


def _result(scheme: str, runs: Sequence[Run], metric: Metric, target: float) -> SchemeResult:
    summaries = [run.summary for run in runs]
    puzzles = summaries[0].eval_puzzles
    reached = [run.first_reaching(target, metric) for run in runs]
    early = [run.stopped_early(metric) for run in runs]
    counted = all(found.train_compute is not None for run in runs for found in run.curve)
    with_gradient = [summary.train_gradient_passes_total for summary in summaries]
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
        eval_passes_to_own_accuracy=_cost([passes for passes, _ in early]),
        accuracy_stopped_early=share_interval([accuracy for _, accuracy in early], puzzles),
        train_passes_to_target=_target_cost(reached, lambda found: float(found.train_passes)),
        train_seconds_to_target=_target_cost(reached, lambda found: found.train_seconds),
        train_compute_to_target=_target_cost(reached, lambda found: float(found.train_compute)) if counted else None,
        train_passes=_cost([float(summary.train_passes_total) for summary in summaries]),
        train_gradient_passes=None if None in with_gradient else _cost([float(passes) for passes in with_gradient]),
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
        train_compute_to_target=None
        if baseline.train_compute_to_target is None or other.train_compute_to_target is None
        else _target_ratio(names, baseline.train_compute_to_target, other.train_compute_to_target),
    )


def _ratio(above: Estimate, below: Estimate) -> Ratio:
    return ratio_of_means(above.by_seed, below.by_seed)


def _target_ratio(names: tuple[str, str], above: TargetCost, below: TargetCost) -> Ratio:
    if above.estimate is not None and below.estimate is not None:
        ratio = _ratio(above.estimate, below.estimate)
        if ratio.low is None or ratio.high is None:
            return ratio
        # Either side may have been there a whole spacing before it was looked at.
        least, most = (_earliest_share(cost) for cost in (above, below))
        if most == 0.0:
            return Ratio(ratio.value, None, None, f"{names[1]} had reached it by the first evaluation: no interval")
        return replace(ratio, low=ratio.low * least, high=ratio.high / most, note=f"{ratio.note}, and the spacing")
    notes = [f"{name}: {not_reached(cost)}" for name, cost in zip(names, (above, below), strict=True) if cost.missing]
    return Ratio(None, None, None, "; ".join(notes))


def _earliest_share(cost: TargetCost) -> float:
    """What remains of a mean cost if the target was reached right after the evaluation before, as a share of it."""
    return max(0.0, 1.0 - cost.spacing / cost.estimate.mean)


def not_reached(cost: TargetCost) -> str:
    """`not reached in 2 of 3 seeds`."""
    return f"not reached in {cost.missing} of {len(cost.by_seed)} seed{'s' if len(cost.by_seed) > 1 else ''}"
