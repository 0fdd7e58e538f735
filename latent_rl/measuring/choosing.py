"""How a way to stop is chosen, always on validation puzzles: the cheapest that is about as good as not stopping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from latent_rl.config import CACHES, Config, load_resolved, named_code
from latent_rl.errors import UserError
from latent_rl.storage import Evaluation, OwnStop, Summary

OWN_ACCURACY_TOLERANCE = 0.005
"""How far below the accuracy of all steps an earlier stop may lie to count as the same accuracy."""


def cheapest(passes: Sequence[float], accuracies: Sequence[float], full: float) -> int | None:
    """Number of the cheapest of several ways to stop whose accuracy is within the tolerance of `full`; None if none is.

    Args:
        passes: network passes a puzzle of each way.
        accuracies: of each way, shares in [0, 1].
        full: accuracy of all steps.
    """
    # Rounding must not decide whether exactly 0.5 points below counts.
    enough = full - OWN_ACCURACY_TOLERANCE - 1e-9
    good = [number for number, accuracy in enumerate(accuracies) if accuracy >= enough]
    return min(good, key=lambda number: passes[number], default=None)


def ways_to_stop(found: Evaluation, passes_per_puzzle: float | None = None) -> list[OwnStop]:
    """What the model evaluated can do by itself: read the answer after the first `n` steps, or ask its q head.

    Args:
        found: an evaluation of all steps.
        passes_per_puzzle: of all steps, where an older version did not record them step by step.
    """
    total = found.passes_per_puzzle if passes_per_puzzle is None else passes_per_puzzle
    count = len(found.accuracy_by_step)
    passes = found.passes_by_step or [total * steps / count for steps in range(1, count + 1)]
    names = ["after 1 step", *(f"after {steps} steps" for steps in range(2, count + 1))]
    first = zip(names, found.accuracy_by_step, found.solved_by_step, passes, strict=True)
    by_q_head = [
        OwnStop(f"q head > {stop.threshold:g}", stop.exact_accuracy, stop.solved_rate, stop.passes_per_puzzle)
        for stop in found.early_stops
    ]
    return [OwnStop(*way) for way in first] + by_q_head


def own_stop(
    validation: Evaluation, test: Evaluation, metric: str = "solved_rate", passes_per_puzzle: float | None = None
) -> OwnStop:
    """The cheapest of the ways to stop that is good enough on validation puzzles, as it is on test puzzles.

    Args:
        validation, test: evaluations of the same model and its steps.
        metric: `solved_rate` or `exact_accuracy`.
        passes_per_puzzle: see `ways_to_stop`.
    """
    # A halting rule that hardly ever stops may have stopped somebody in one of the two: then only one has the q head's.
    there = {way.way: way for way in ways_to_stop(test, passes_per_puzzle)}
    ways = [way for way in ways_to_stop(validation, passes_per_puzzle) if way.way in there]
    passes = [way.passes_per_puzzle for way in ways]
    number = cheapest(passes, [getattr(way, metric) for way in ways], getattr(validation, metric))
    return there[ways[number].way]


def baseline_stop(config: Config) -> OwnStop | None:
    """The cheapest stop of the run that `baseline_run` names; None if it names none.

    Raises:
        UserError: if it is no finished run, has no such stop, or was measured on other puzzles.
    """
    if config.baseline_run is None:
        return None
    run_dir = Path(config.baseline_run)
    stop = Summary.read(run_dir).own_stop
    if stop is None:
        raise UserError(
            f"baseline_run={run_dir} has no stop that was chosen on validation puzzles: train it again, or leave it out"
        )
    there = load_resolved(run_dir / "config.yaml", named=named_code(config.model_dump(mode="json"))).env
    for name in ("id", *sorted({*there.options, *config.env.options} - {*CACHES})):
        theirs, ours = ((env.id if name == "id" else env.options.get(name)) for env in (there, config.env))
        if theirs != ours:
            key = "env.id" if name == "id" else f"env.options.{name}"
            raise UserError(
                f"baseline_run={run_dir} was measured with {key}={theirs}, not {ours}: compare like with like"
            )
    return stop
