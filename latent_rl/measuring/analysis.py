"""What every recursion step of a trained reasoner is worth, measured with the network passes of a plain evaluation.

Everything is read off the latents and logits that answering the test puzzles goes through anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from latent_rl.agents import (
    RecursiveReasoner,
    StepOutput,
    advantage_margin,
    guided_logits,
    is_dead,
    likelihood_gain,
    recurse,
)
from latent_rl.envs import Instances, Puzzle
from latent_rl.measuring.batches import batches
from latent_rl.measuring.calibration import expected_calibration_error, reliability
from latent_rl.measuring.ledger import Ledger
from latent_rl.measuring.scores import score

GUIDANCE_WEIGHTS = tuple(quarter / 4 for quarter in range(13))
"""Weights of the guidance sweep, 0 to 3; 0 is the readout before the step, 1 the plain one after it."""

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantiles over puzzles at which margins are reported."""

ENOUGH_WITHIN = 0.005
"""A step is enough if its exact accuracy is at most this far below the last step's."""


@dataclass(frozen=True)
class Analysis:
    """What one analysis found. Lists have one entry a recursion step; accuracies are shares in [0, 1].

    Attributes:
        puzzles: number of puzzles.
        passes_by_step: network passes spent on a puzzle up to and with each step, as the ledger counted them.
        accuracy_by_step, solved_by_step, cells_by_step: as in `Evaluation`, had the reasoner stopped at each step.
        oracle_by_step: share of puzzles whose answer was exactly right at this step or any before. Not an accuracy: to
            know at which step to stop, one would have to know the answer.
        gain_by_step: mean log-likelihood (nats a cell) that the solution gained by the step.
        margin_by_step: mean advantage margin at the reference, w = 0.
        margin_after_by_step: mean advantage margin at the plain readout, w = 1; below 0 the step went too far.
        margin_quantiles_by_step: `QUANTILES` of the margin at w = 0 over puzzles.
        dead_share_by_step: share of puzzles whose margin at w = 0 is not above `NEGLIGIBLE_MARGIN`.
        stuck_share_by_step: the part of them whose answer was still wrong before the step: not done, but stuck.
        no_gain_share_by_step: share of puzzles whose solution became no likelier by the step as it was taken.
        changed_cells_by_step: mean share of cells whose answer the step changed (the first: against the puzzle).
        unchanged_share_by_step: share of puzzles on which the step changed no cell.
        y_distance_by_step, z_distance_by_step: mean over puzzles of `|new - old| / |old|` of the latents.
        guidance_weights: weights w of the sweep.
        guided_accuracy_by_step, guided_cells_by_step: exact and cell accuracy of the guided readout of each step, one
            row a step and one column a weight. Only the readout is guided: the latents go on as they are.
        reliability: the value head's "this answer is right" after every step, against the truth, which is what it was
            taught, the rule or the key: one row a bin of confidence, with the number of answers, their mean confidence,
            the share that was right, and the share that was right after the last step, had one gone on.
        calibration_error_by_step: expected calibration error of the answers after each step.
        continue_reliability: the continue value ("it will be solved in the end") after every step but the last, against
            the truth, rows as in `reliability` with one outcome; empty if the model has not learned it.
    """

    puzzles: int
    passes_by_step: list[float]
    accuracy_by_step: list[float]
    solved_by_step: list[float]
    cells_by_step: list[float]
    oracle_by_step: list[float]
    gain_by_step: list[float]
    margin_by_step: list[float]
    margin_after_by_step: list[float]
    margin_quantiles_by_step: list[list[float]]
    dead_share_by_step: list[float]
    stuck_share_by_step: list[float]
    no_gain_share_by_step: list[float]
    changed_cells_by_step: list[float]
    unchanged_share_by_step: list[float]
    y_distance_by_step: list[float]
    z_distance_by_step: list[float]
    guidance_weights: list[float]
    guided_accuracy_by_step: list[list[float]]
    guided_cells_by_step: list[list[float]]
    reliability: list[list[float]]
    calibration_error_by_step: list[float]
    continue_reliability: list[list[float]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Recursion steps that were taken."""
        return len(self.passes_by_step)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over the answers after all steps."""
        return expected_calibration_error(self.reliability)

    @property
    def continue_calibration_error(self) -> float | None:
        """The same of the continue value, "it will be solved in the end"; None if the model has not learned it."""
        return expected_calibration_error(self.continue_reliability) if self.continue_reliability else None

    @property
    def enough_steps(self) -> int:
        """The first step (from 1) whose exact accuracy is within `ENOUGH_WITHIN` of the last step's."""
        # A little less, so that rounding does not hide a step that lies exactly there.
        least = self.accuracy_by_step[-1] - ENOUGH_WITHIN - 1e-9
        return next(step for step, share in enumerate(self.accuracy_by_step, start=1) if share >= least)

    @property
    def dead_from_step(self) -> int | None:
        """The first step (from 1) from which on every step is dead compute on most puzzles; None if the last is not."""
        first = None
        for step in range(self.steps, 0, -1):
            if self.dead_share_by_step[step - 1] <= 0.5:
                break
            first = step
        return first


@torch.no_grad()
def analyze(
    reasoner: RecursiveReasoner,
    puzzle: Puzzle,
    instances: Instances,
    *,
    max_steps: int,
    batch_size: int,
    ledger: Ledger,
    weights: tuple[float, ...] = GUIDANCE_WEIGHTS,
    judged_by: str = "rule",
    has_continue_value: bool = False,
    on_progress: Callable[[int], object] | None = None,
) -> Analysis:
    """Let the reasoner take `max_steps` recursion steps on every instance and measure what each step did.

    Goes through the instances batch by batch; memory does not grow with their number but for a few floats a puzzle.

    Args:
        reasoner: takes the steps, on its own device.
        puzzle: holds the rule.
        instances: at least one; need not be the puzzle's own.
        max_steps: recursion steps on every instance.
        batch_size: instances in work at the same time.
        ledger: watches the reasoner's network.
        weights: of the guidance sweep.
        judged_by: what the value head was taught to call right, by which it is held to account: `"rule"`, solved, or
            `"key"`, exactly right.
        has_continue_value: whether the second output of the q head was trained (`ContinueValueLoss`).
        on_progress: called after each batch with its number of puzzles.
    """
    passes = torch.zeros(max_steps, dtype=torch.int64)
    parts: list[dict[str, Tensor]] = []
    for batch in batches(instances, batch_size, reasoner, ledger, on_progress):
        y, z = reasoner.initial_latents(len(batch))
        # Before the first step the answer is the puzzle itself, as in the environment.
        before, old_answers = StepOutput(y, z, reasoner.decode(y), reasoner.q_logits(y)), batch.inputs
        steps, spent = [], ledger.forward["eval"]
        for step, after in enumerate(recurse(reasoner, batch.inputs, batch.puzzle_id, max_steps)):
            passes[step] += ledger.forward["eval"] - spent
            answers = after.logits.argmax(-1)
            found = _readout(puzzle, batch, old_answers, answers) | _movement(batch, before, after, weights)
            found["confidence"], found["continue_value"] = after.q.sigmoid().unbind(-1)
            steps.append({name: values.float().cpu() for name, values in found.items()})
            before, old_answers = after, answers
        parts.append({name: torch.stack([one[name] for one in steps]) for name in steps[0]})
    # Each [steps, puzzles], or [steps, puzzles, weights].
    found = {name: torch.cat([part[name] for part in parts], dim=1).double() for name in parts[0]}
    quantiles = found["margin"].quantile(torch.tensor(QUANTILES, dtype=torch.float64), dim=1)

    sure, right = found["confidence"], found["exact" if judged_by == "key" else "solved"]
    in_the_end = right[-1:].expand_as(right)
    dead = is_dead(found["margin"])
    # Before the first step nothing is answered.
    wrong = torch.cat((torch.ones_like(found["exact"][:1]), 1 - found["exact"][:-1])).bool()

    def mean(values: Tensor) -> list:
        return values.double().mean(1).tolist()

    return Analysis(
        puzzles=len(instances),
        passes_by_step=(passes / len(instances)).tolist(),
        accuracy_by_step=mean(found["exact"]),
        solved_by_step=mean(found["solved"]),
        cells_by_step=mean(found["cells"]),
        oracle_by_step=mean(found["exact"].cummax(0).values),
        gain_by_step=mean(found["gain"]),
        margin_by_step=mean(found["margin"]),
        margin_after_by_step=mean(found["margin_after"]),
        margin_quantiles_by_step=quantiles.T.tolist(),
        dead_share_by_step=mean(dead),
        stuck_share_by_step=mean(dead & wrong),
        no_gain_share_by_step=mean(found["gain"] <= 0),
        changed_cells_by_step=mean(found["changed"]),
        unchanged_share_by_step=mean(found["changed"] == 0),
        y_distance_by_step=mean(found["y_distance"]),
        z_distance_by_step=mean(found["z_distance"]),
        guidance_weights=list(weights),
        guided_accuracy_by_step=mean(found["guided_exact"]),
        guided_cells_by_step=mean(found["guided_cells"]),
        reliability=reliability(sure.flatten(), right.flatten(), in_the_end.flatten()),
        calibration_error_by_step=[
            expected_calibration_error(reliability(*pair)) for pair in zip(sure, right, strict=True)
        ],
        continue_reliability=reliability(found["continue_value"][:-1].flatten(), in_the_end[:-1].flatten())
        if has_continue_value and max_steps > 1
        else [],
    )


def _readout(puzzle: Puzzle, batch: Instances, old_answers: Tensor, answers: Tensor) -> dict[str, Tensor]:
    """How good the answers `[B, L]` of a step are, and how many cells it changed: each `[B]`."""
    exact, cells = score(answers, batch.solution)
    solved = puzzle.judge(batch.inputs, answers, batch.solution)
    return {"exact": exact, "solved": solved, "cells": cells, "changed": (answers != old_answers).float().mean(-1)}


def _movement(batch: Instances, before: StepOutput, after: StepOutput, weights: tuple[float, ...]) -> dict[str, Tensor]:
    """How a step moved logits and latents: each `[B]`, the guidance sweep `[B, weights]`."""
    logits, key = (before.logits, after.logits), batch.solution
    guided = [score(guided_logits(*logits, weight).argmax(-1), key) for weight in weights]
    return {
        "gain": likelihood_gain(*logits, key),
        "margin": advantage_margin(*logits, key),
        "margin_after": advantage_margin(*logits, key, weight=1.0),
        "y_distance": relative_distance(before.y, after.y),
        "z_distance": relative_distance(before.z, after.z),
        "guided_exact": torch.stack([one.exact for one in guided], dim=-1),
        "guided_cells": torch.stack([one.cells for one in guided], dim=-1),
    }


def relative_distance(old: Tensor, new: Tensor) -> Tensor:
    """`|new - old| / |old|`, Euclidean over all but the first dimension: float `[B]` of tensors `[B, ...]`."""
    return (new - old).flatten(1).norm(dim=1) / old.flatten(1).norm(dim=1).clamp(min=1e-12)
