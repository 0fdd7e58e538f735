"""How good answers are, row by row: the one place of this room where right cells are counted."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from latent_rl.envs import IGNORE


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


def is_known(solutions: Tensor) -> Tensor:
    """Which keys int64 `[B, L]` say anything: bool `[B]`. The others are `IGNORE` in every cell and score nothing."""
    return (solutions != IGNORE).any(-1)
