"""Which cells of an answer are right."""

from __future__ import annotations

from torch import Tensor

from latent_rl.agents.targets import IGNORE


def count_right(answer: Tensor, solution: Tensor) -> tuple[Tensor, Tensor]:
    """Right and counted cells of every row, each int64 `[*B]`, of answers and solutions `[*B, L]`.

    Raises:
        ValueError: the shapes differ.
    """
    if answer.shape != solution.shape:
        raise ValueError(f"answer of shape {tuple(answer.shape)} and solution of shape {tuple(solution.shape)} differ")
    counted = solution != IGNORE
    return ((answer == solution) & counted).sum(-1), counted.sum(-1)
