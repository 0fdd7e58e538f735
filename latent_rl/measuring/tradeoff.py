"""Accuracy against network passes: halting policies of several prices beside the simple stopping rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from latent_rl.agents import HaltingPolicy, HaltingRule, LearnedHalt
from latent_rl.config import Config
from latent_rl.envs import Instances, Puzzle
from latent_rl.measuring.choosing import cheapest
from latent_rl.measuring.evaluation import Evaluation, evaluate
from latent_rl.measuring.intervals import Estimate, mean_interval, share_interval
from latent_rl.measuring.ledger import Ledger
from latent_rl.measuring.stopping import stopping_rule, value_head_is_trained
from latent_rl.storage import EarlyStop, TrainedModel


@dataclass(frozen=True)
class Point:
    """One way to stop, measured on the puzzles of a split.

    Attributes:
        rule: a name of `latent_rl.agents.RULES`.
        label: the rule with its setting.
        setting: price of a pass, number of steps, or threshold; None for rules without one.
        puzzles: number of puzzles.
        exact_accuracy, solved_rate: shares in [0, 1].
        steps: mean recursion steps a puzzle.
        passes_per_puzzle: network passes, as the ledger counted them.
    """

    rule: str
    label: str
    setting: float | None
    puzzles: int
    exact_accuracy: float
    solved_rate: float
    steps: float
    passes_per_puzzle: float

    @classmethod
    def of(cls, rule: str, label: str, setting: float | None, found: Evaluation, steps: int | None = None) -> Point:
        """What an evaluation says, had it ended after the first `steps` steps; by default as it ended."""
        last = -1 if steps is None else steps - 1
        return cls(
            rule=rule,
            label=label,
            setting=setting,
            puzzles=found.puzzles,
            exact_accuracy=found.accuracy_by_step[last],
            solved_rate=found.solved_by_step[last],
            steps=sum(found.active_by_step) if steps is None else steps,
            passes_per_puzzle=found.passes_by_step[last],
        )

    @classmethod
    def confident(cls, stop: EarlyStop, puzzles: int) -> Point:
        """The q head's stop at a threshold, as an evaluation of all steps tells it."""
        values = asdict(stop)
        threshold = values.pop("threshold")
        return cls("confident", f"confident > {threshold:g}", threshold, puzzles, **values)


@dataclass(frozen=True)
class Averaged:
    """The same way to stop, over models that differ in the seed of their training; `models` says how many."""

    rule: str
    label: str
    setting: float | None
    puzzles: int
    models: int
    exact_accuracy: Estimate
    solved_rate: Estimate
    steps: Estimate
    passes_per_puzzle: Estimate

    @classmethod
    def of(cls, points: Sequence[Point]) -> Averaged:
        """The mean of one point a model.

        Raises:
            ValueError: if the points are not of one way to stop, or not of the same number of puzzles.
        """
        first = points[0]
        if any((point.label, point.puzzles) != (first.label, first.puzzles) for point in points):
            raise ValueError(f"cannot average {', '.join(f'{point.label} on {point.puzzles}' for point in points)}")

        def costs(name: str) -> Estimate:
            return mean_interval([getattr(point, name) for point in points], within=(0.0, math.inf))

        def shares(name: str) -> Estimate:
            return share_interval([getattr(point, name) for point in points], first.puzzles)

        return cls(
            rule=first.rule,
            label=first.label,
            setting=first.setting,
            puzzles=first.puzzles,
            models=len(points),
            exact_accuracy=shares("exact_accuracy"),
            solved_rate=shares("solved_rate"),
            steps=costs("steps"),
            passes_per_puzzle=costs("passes_per_puzzle"),
        )


def average(by_model: Sequence[Sequence[Point]]) -> list[Averaged]:
    """The points of several models, which were measured in the same ways and order, averaged over the models."""
    return [Averaged.of(points) for points in zip(*by_model, strict=True)]


@dataclass(frozen=True)
class Choice:
    """What one would choose on validation puzzles, and what that comes to on test puzzles.

    Attributes:
        policy: numbers of the chosen halting policy in both lists of points; None if no price is good enough.
        best: the same of the cheapest way to stop of all.
        full: of all steps.
        validation, test: the points, in the same order.
    """

    policy: int | None
    best: int
    full: int
    validation: list[Averaged]
    test: list[Averaged]

    @classmethod
    def of(cls, validation: Sequence[Averaged], test: Sequence[Averaged]) -> Choice:
        """The cheapest policy, and the cheapest of all, about as good on validation puzzles as all steps.

        "About" is `choosing.OWN_ACCURACY_TOLERANCE` of the solved rate. Test puzzles have no say.
        """
        full = max(number for number, point in enumerate(validation) if point.rule == "never")
        enough = validation[full].solved_rate.mean
        policies = [number for number, point in enumerate(validation) if point.rule == "learned"]
        chosen = []
        for numbers in (policies, range(len(validation))):
            passes = [validation[number].passes_per_puzzle.mean for number in numbers]
            solved = [validation[number].solved_rate.mean for number in numbers]
            found = cheapest(passes, solved, enough)
            chosen.append(None if found is None else numbers[found])
        return cls(*chosen, full, list(validation), list(test))


def measure_policy(
    trained: TrainedModel,
    policy: HaltingPolicy,
    cost: float,
    puzzle: Puzzle,
    instances: Instances,
    config: Config,
    ledger: Ledger,
) -> Point:
    """A halting policy that was trained at a price `cost` of a pass."""
    found = _evaluate(trained, LearnedHalt(policy), puzzle, instances, config, ledger)
    return Point.of("learned", f"learned, cost {cost:g}", cost, found)


def measure_rules(
    trained: TrainedModel, puzzle: Puzzle, instances: Instances, config: Config, ledger: Ledger
) -> list[Point]:
    """Every fixed number of steps, agreement, the puzzle's rule if it has one, and the q head if it was trained."""
    fixed = _evaluate(trained, None, puzzle, instances, config, ledger)
    points = [
        Point.of("never", f"fixed, {steps} steps", steps, fixed, steps)
        for steps in range(1, len(fixed.accuracy_by_step) + 1)
    ]
    for name in ("agree", "rule") if puzzle.has_rule else ("agree",):
        rule = stopping_rule(name, trained, puzzle)
        points.append(Point.of(name, name, None, _evaluate(trained, rule, puzzle, instances, config, ledger)))
    if value_head_is_trained(trained):
        points += [Point.confident(stop, fixed.puzzles) for stop in fixed.early_stops]
    return points


def _evaluate(
    trained: TrainedModel,
    rule: HaltingRule | None,
    puzzle: Puzzle,
    instances: Instances,
    config: Config,
    ledger: Ledger,
) -> Evaluation:
    return evaluate(
        trained.reasoner,
        puzzle,
        instances,
        max_steps=config.env.max_steps,
        batch_size=config.evaluation.batch_size,
        ledger=ledger,
        halting=rule,
    )
