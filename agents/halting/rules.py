"""Rules that say when a puzzle has been thought about enough; none costs a network pass or sees an answer key."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchrl.envs.utils import ExplorationType, exploration_type


@dataclass(frozen=True)
class Thought:
    """What a rule may read after a recursion step, of `B` rows.

    Attributes:
        inputs: int64 `[B, L]`, the puzzle.
        previous: int64 `[B, L]`, the answer before the step; before the first step, the puzzle itself.
        answer: int64 `[B, L]`, the answer after it.
        logits: float32 `[B, L, V]`, that `answer` was read from.
        q: float32 `[B, 2]`, logits (halt, continue) after the step.
        y: float32 `[B, P + L, D]`, the answer latent after the step.
        steps_taken: int64 `[B]`, steps of the episode, this one included.
    """

    inputs: Tensor
    previous: Tensor
    answer: Tensor
    logits: Tensor
    q: Tensor
    y: Tensor
    steps_taken: Tensor


class HaltingRule(ABC):
    """Decides which rows of a batch end their episode after the step just taken."""

    @abstractmethod
    def __call__(self, thought: Thought) -> Tensor:
        """Decide for every row: int64 `[B]`, 1 to halt, 0 to go on."""


class NeverHalt(HaltingRule):
    """Episodes of fixed length: the environment truncates them (DIS, and every official evaluation)."""

    def __call__(self, thought: Thought) -> Tensor:
        return torch.zeros_like(thought.steps_taken)


class AgreeHalt(HaltingRule):
    """Halt once a step leaves the answer as it was: two successive answers agree in every cell."""

    def __call__(self, thought: Thought) -> Tensor:
        return (thought.answer == thought.previous).all(-1).long()


class CheckedHalt(HaltingRule):
    """Halt once the puzzle's own rule confirms the answer. Not for puzzles whose rule cannot be checked from inside.

    Args:
        is_solved: `(inputs, answers) -> bool [B]`, both int64 `[B, L]`; may not know the answer key.
    """

    def __init__(self, is_solved: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.is_solved = is_solved

    def __call__(self, thought: Thought) -> Tensor:
        return self.is_solved(thought.inputs, thought.answer).long()


class ConfidentHalt(HaltingRule):
    """Halt once the network believes that its answer is right (TRM's training rule, `q_halt > 0`).

    With probability `exploration` a row may not halt before a number of steps drawn uniformly from `2 .. max_steps`;
    both are drawn anew at every step, as in the official code. There is no exploration under TorchRL's deterministic
    exploration types, so that an evaluation need not swap the rule.

    Args:
        max_steps: longest episode, at least 2.
        exploration: probability of a minimum, in [0, 1].
        threshold: halt above this probability of being right, in (0, 1); 0.5 is `q_halt > 0`.
    """

    def __init__(self, *, max_steps: int, exploration: float = 0.1, threshold: float = 0.5) -> None:
        if max_steps < 2:
            raise ValueError(f"max_steps must be at least 2 for a learned stop, got {max_steps}")
        if not 0.0 <= exploration <= 1.0:
            raise ValueError(f"exploration must lie in [0, 1], got {exploration}")
        if not 0.0 < threshold < 1.0:
            raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
        self.max_steps = max_steps
        self.exploration = exploration
        self.least = math.log(threshold / (1 - threshold))

    def __call__(self, thought: Thought) -> Tensor:
        steps_taken = thought.steps_taken
        halt = thought.q[:, 0] > self.least
        if self.exploration and exploration_type() in (None, ExplorationType.RANDOM):
            minimum = torch.randint_like(steps_taken, 2, self.max_steps + 1)
            explores = torch.rand(steps_taken.shape, device=steps_taken.device) < self.exploration
            halt = halt & (~explores | (steps_taken >= minimum))
        return halt.long()
