"""Answers to single puzzles, step by step, with what they cost and how sure the value head is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latent_rl.agents import HaltingRule, RecursiveReasoner, advantage_margin, think
from latent_rl.envs import Puzzle
from latent_rl.measuring.ledger import Ledger


@dataclass(frozen=True)
class Solutions:
    """Answers to `B` puzzles after each of `S` recursion steps; tensors on the CPU.

    Attributes:
        answers: int64 `[S, B, L]`.
        confidence: float32 `[S, B]`, the value head's probability that the answer is right.
        continue_value: float32 `[S, B]`, the same that it will be right after the last step; noise unless trained.
        solved: bool `[S, B]`, whether the puzzle's own rule confirms the answer.
        passes: network passes spent on one puzzle up to each step, as the ledger counted them.
        margins: float32 `[S, B]`, advantage margin of each step, or None if the solutions were not given.
    """

    answers: Tensor
    confidence: Tensor
    continue_value: Tensor
    solved: Tensor
    passes: list[int]
    margins: Tensor | None = None


def solve(
    reasoner: RecursiveReasoner,
    puzzle: Puzzle,
    inputs: Tensor,
    steps: int,
    solutions: Tensor | None = None,
    *,
    halting: HaltingRule | None = None,
    guidance: float = 1.0,
) -> Solutions:
    """Take up to `steps` recursion steps on puzzles int64 `[B, L]`; only margins need `solutions` `[B, L]`.

    With a halting rule, one puzzle at a time: others would stop elsewhere, and have no steps in common.

    Raises:
        ValueError: a halting rule and more than one puzzle.
    """
    if halting is not None and len(inputs) != 1:
        raise ValueError(f"with a halting rule one puzzle is solved at a time, got {len(inputs)}")
    inputs = inputs.to(reasoner.initial_y.device)
    puzzle_ids = puzzle.ids_of(inputs)
    answers, confidence, continue_value, solved, passes, margins = [], [], [], [], [], []
    ledger = Ledger()
    watch = ledger.watch(reasoner.network)
    try:
        with torch.no_grad(), ledger.phase("eval"):
            for taken in think(reasoner, inputs, puzzle_ids, steps, halting, guidance=guidance):
                logits = taken.output.logits
                answers.append(taken.answer.cpu())
                now, later = taken.output.q.sigmoid().cpu().unbind(-1)
                confidence.append(now)
                continue_value.append(later)
                solved.append(puzzle.is_solved(inputs, taken.answer).cpu())
                passes.append(ledger.forward["eval"] // len(inputs))
                if solutions is not None:
                    margins.append(advantage_margin(taken.reference, logits, solutions.to(inputs.device)).cpu())
    finally:
        watch.remove()
    return Solutions(
        torch.stack(answers),
        torch.stack(confidence),
        torch.stack(continue_value),
        torch.stack(solved),
        passes,
        torch.stack(margins) if margins else None,
    )
