"""Measuring a reasoner on held-out puzzles, after every recursion step, with its network passes counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from latent_rl.agents import RecursiveReasoner, advantage_margin, is_dead, recurse
from latent_rl.envs import IGNORE, Instances, Puzzle
from latent_rl.ledger import Ledger


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found. Lists have one entry a recursion step; accuracies are shares in [0, 1].

    Attributes:
        puzzles: number of puzzles.
        accuracy_by_step: share of answers equal to the key.
        solved_by_step: share of answers that satisfy the puzzle's rule.
        cells_by_step: mean share of counted cells that equal the key.
        passes_per_puzzle: network passes spent on a puzzle, as the ledger counted them.
        seconds: wall-clock time.
        margin_by_step: mean advantage margin of the step, in logits (`latent_rl.agents.improvement`); the reference of
            the first step is decoded from the initial latent, which costs no network pass.
        dead_share_by_step: share of puzzles on which the step was dead compute: its margin is negligible, so that
            going its way, however far, makes the answer key no likelier.
    """

    puzzles: int
    accuracy_by_step: list[float]
    solved_by_step: list[float]
    cells_by_step: list[float]
    passes_per_puzzle: float
    seconds: float
    margin_by_step: list[float] = field(default_factory=list)
    dead_share_by_step: list[float] = field(default_factory=list)

    @property
    def exact_accuracy(self) -> float:
        return self.accuracy_by_step[-1]

    @property
    def solved_rate(self) -> float:
        return self.solved_by_step[-1]

    @property
    def cell_accuracy(self) -> float:
        return self.cells_by_step[-1]


class Score(NamedTuple):
    """How good answers `[B, L]` are, row by row.

    Attributes:
        exact: bool `[B]`, equal to the key in every counted cell.
        cells: float32 `[B]`, share of counted cells that equal the key.
    """

    exact: Tensor
    cells: Tensor


def score(answers: Tensor, solutions: Tensor) -> Score:
    """Answers int64 `[B, L]` held against the key, int64 `[B, L]`."""
    counted = solutions != IGNORE
    right = (answers == solutions) & counted
    return Score((right | ~counted).all(-1), right.sum(-1) / counted.sum(-1).clamp(min=1))


@torch.no_grad()
def evaluate(
    reasoner: RecursiveReasoner,
    puzzle: Puzzle,
    instances: Instances,
    *,
    max_steps: int,
    batch_size: int,
    ledger: Ledger,
    on_progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Let the reasoner take `max_steps` recursion steps on every instance and score each step's answers.

    The answer key scores, it never stops: an evaluation that ended an episode when the key says so would count
    every puzzle that was right at any step.

    Args:
        reasoner: takes the steps, on its own device.
        puzzle: holds the rule.
        instances: at least one; need not be the puzzle's own. Those whose solution is `IGNORE` in every cell are
            answered but count neither as right nor as wrong.
        max_steps: recursion steps on every instance.
        batch_size: instances in work at the same time.
        ledger: watches the reasoner's network.
        on_progress: called after each batch with its number of puzzles.
    """
    device = reasoner.initial_y.device
    # One row a step: puzzles exactly right, puzzles solved, sums of cell accuracies and margins, dead steps.
    totals = torch.zeros(max_steps, 5, dtype=torch.float64)
    counted = 0
    passes_before = ledger.forward["eval"]
    started = time.perf_counter()
    with ledger.phase("eval"):
        for first in range(0, len(instances), batch_size):
            batch = instances[first : first + batch_size].to(device)
            reference = reasoner.decode(reasoner.initial_latents(len(batch))[0])
            known = (batch.solutions != IGNORE).any(-1)
            counted += int(known.sum())
            for step, output in enumerate(recurse(reasoner, batch.inputs, batch.puzzle_ids, max_steps)):
                answers = output.logits.argmax(-1)
                exact, cells = score(answers, batch.solutions)
                solved = puzzle.judge(batch.inputs, answers, batch.solutions)
                margin = advantage_margin(reference, output.logits, batch.solutions)
                found = (exact, solved, cells, margin, is_dead(margin))
                totals[step] += torch.stack([values[known].float().sum() for values in found]).cpu().double()
                reference = output.logits
            if on_progress is not None:
                on_progress(len(batch))
    shares = (totals / max(counted, 1)).T.tolist()
    return Evaluation(
        puzzles=counted,
        accuracy_by_step=shares[0],
        solved_by_step=shares[1],
        cells_by_step=shares[2],
        passes_per_puzzle=(ledger.forward["eval"] - passes_before) / len(instances),
        seconds=time.perf_counter() - started,
        margin_by_step=shares[3],
        dead_share_by_step=shares[4],
    )
