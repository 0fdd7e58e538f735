"""Answers to many puzzles at once, each stopped for itself: what a model that is asked by others gives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from latent_rl.agents import CandidateReasoner, Deduction, HaltingRule, RecursiveReasoner, think
from latent_rl.envs import IGNORE, Instances, Puzzle
from latent_rl.measuring.batches import batches
from latent_rl.measuring.deducing import deduce
from latent_rl.measuring.ledger import Ledger


class Answers(NamedTuple):
    """Answers to `B` puzzles; tensors on the CPU.

    Attributes:
        answers: int64 `[B, L]`.
        solved: bool `[B]`, whether the puzzle's own rule confirms the answer.
        confidence: float32 `[B]`, the value head's probability that the answer is right. Of a deduction, 1 for what the
            rule has confirmed, 0 for what it has not, and NaN where there is no rule.
        passes: int64 `[B]`, network passes spent on each, as the ledger counted them.
        full: bool `[B]`, whether the answer is more than a part; always, but for a deduction that came to none.
    """

    answers: Tensor
    solved: Tensor
    confidence: Tensor
    passes: Tensor
    full: Tensor


def answer(
    reasoner: RecursiveReasoner,
    puzzle: Puzzle,
    inputs: Tensor,
    steps: int,
    *,
    batch_size: int,
    halting: HaltingRule | None = None,
) -> Answers:
    """Answer puzzles int64 `[B, L]` with up to `steps` recursion steps each, `batch_size` at a time.

    A puzzle is left alone when the halting rule says so, whatever the others do; without a rule it takes all steps.
    """
    answers = inputs.clone()
    confidence, passes = torch.zeros(len(inputs)), torch.zeros(len(inputs), dtype=torch.long)
    ledger, first = Ledger(), 0
    watch = ledger.watch(reasoner.network)
    try:
        for batch in batches(inputs, batch_size, reasoner, ledger):
            before = ledger.forward["eval"]
            for taken in think(reasoner, batch, puzzle.ids_of(batch), steps, halting):
                rows = first + taken.rows.cpu()
                answers[rows] = taken.answer.cpu()
                confidence[rows] = taken.output.q[:, 0].sigmoid().cpu()
                passes[rows] += (ledger.forward["eval"] - before) // len(rows)
                before = ledger.forward["eval"]
            first += len(batch)
    finally:
        watch.remove()
    full = torch.ones(len(inputs), dtype=torch.bool)
    return Answers(answers, puzzle.is_solved(inputs, answers), confidence, passes, full)


def answer_by_deduction(
    reasoner: CandidateReasoner,
    puzzle: Puzzle,
    inputs: Tensor,
    deduction: Deduction,
    steps: int,
    *,
    batch_size: int,
) -> Answers:
    """Answer puzzles int64 `[B, L]` with up to `steps` deduction steps over all restarts, `batch_size` at a time."""
    answers = inputs.clone()
    solved, full = torch.zeros(2, len(inputs), dtype=torch.bool)
    passes = torch.zeros(len(inputs), dtype=torch.long)
    ledger, first = Ledger(), 0
    watch = ledger.watch(reasoner.network)
    try:
        for batch in batches(inputs, batch_size, reasoner, ledger):
            # Nobody knows the answer; where only a key could tell whether it is right, nothing is called solved.
            instances = Instances(batch, torch.full_like(batch, IGNORE), puzzle.ids_of(batch))
            before = ledger.forward["eval"]
            for taken in deduce(reasoner, puzzle, instances, deduction, steps):
                rows = first + taken.rows.cpu()
                answers[rows] = taken.after.answer.cpu()
                solved[rows], full[rows] = taken.after.solved.cpu(), taken.ended.cpu()
                # All that were asked took as many; of the others the state was known.
                passes[rows[taken.asked]] += (ledger.forward["eval"] - before) // max(1, int(taken.asked.sum()))
                before = ledger.forward["eval"]
            first += len(batch)
    finally:
        watch.remove()
    confidence = solved.float() if puzzle.has_rule else torch.full((len(inputs),), torch.nan)
    return Answers(answers, solved, confidence, passes, full)
