"""What the tries of a puzzle that failed had branched on: a puzzle that begins anew had better try something else."""

from __future__ import annotations

from collections import Counter, defaultdict

import torch
from torch import Tensor

Branch = tuple[int, int]
"""The cell and the symbol that it was pinned to."""


class FailedTries:
    """Remembers of every row the branches of its tries that failed, and divides the odds of taking them again.

    A try is what lies between two restarts. Its branches are a way through a tree, from the puzzle as it was given; a
    symbol with which `n` failed tries went on from the same place has its odds divided by `1 + n`. A network that is
    sure of a wrong symbol would otherwise draw it again in every try.

    What failed need not be wrong, only something after it: so nothing is ruled out. No answer key is read, and no
    network pass is spent.

    Args:
        rows: puzzles in work (B).
    """

    def __init__(self, rows: int) -> None:
        # By the branches that lead to a place: how often each branch from there failed.
        self._failed: list[dict[tuple[Branch, ...], Counter[Branch]]] = [defaultdict(Counter) for _ in range(rows)]
        self._taken: list[tuple[Branch, ...]] = [() for _ in range(rows)]
        self._restarts = [0] * rows

    def begin(self, restarts: Tensor) -> None:
        """Learn, before a step, how often each puzzle was begun anew, int64 `[B]`: once more, and a try has failed."""
        for row, now in enumerate(restarts.tolist()):
            if now == self._restarts[row]:
                continue
            self._restarts[row], taken = now, self._taken[row]
            for depth, branch in enumerate(taken):
                self._failed[row][taken[:depth]][branch] += 1
            self._taken[row] = ()

    def discounted(self, odds: Tensor, cell: Tensor) -> Tensor:
        """The odds of each symbol, float `[B, V]`, in a cell, int64 `[B]`: those of what failed there are less."""
        discount = torch.ones(odds.shape, dtype=odds.dtype)
        for row, here in enumerate(cell.tolist()):
            for (pinned, symbol), times in self._failed[row].get(self._taken[row], {}).items():
                if pinned == here:
                    discount[row, symbol] += times
        return odds / discount.to(odds.device)

    def take(self, branches: Tensor, cell: Tensor, symbol: Tensor) -> None:
        """Note the branches of a step: which rows have one, bool `[B]`, and what they pin, int64 `[B]` each."""
        # Lists at once: an accelerator would be waited for at every single number.
        for row, (has, *branch) in enumerate(zip(branches.tolist(), cell.tolist(), symbol.tolist(), strict=True)):
            if has:
                self._taken[row] += (tuple(branch),)

    def of_rows(self, keep: Tensor) -> None:
        """Forget all rows but those that are kept, bool `[B]`."""
        for kept in (self._failed, self._taken, self._restarts):
            kept[:] = [one for one, stays in zip(kept, keep.tolist(), strict=True) if stays]
