"""What deduction steps learn from: which candidates to keep, what the cells hold, whether the answer is lost already.

Losses of the Lattice Deduction Transformer (arXiv 2605.08605), each the mean over all inner updates of a step. The
states are those that the policy itself has come to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor

from latent_rl.agents.losses.base import RecursionLoss
from latent_rl.agents.targets import IGNORE
from latent_rl.agents.team import shared_count


def parts_of_answer(solution: Tensor, symbols: int) -> Tensor:
    """Which candidates are part of the answer, bool `[*B, L, V]`; none of a cell that does not count.

    Args:
        solution: int64 `[*B, L]`, `IGNORE` where a cell does not count.
        symbols: V.
    """
    counted = solution != IGNORE
    return F.one_hot(solution.where(counted, 0), symbols).bool() & counted.unsqueeze(-1)


def answer_lost(candidates: Tensor, solution: Tensor) -> Tensor:
    """Which states have lost the answer, bool `[*B]`: the symbol of a counted cell is no candidate any more."""
    kept = (candidates & parts_of_answer(solution, candidates.shape[-1])).any(-1)
    return ((solution != IGNORE) & ~kept).any(-1)


def _check_logits(name: str, logits: Tensor, other: Tensor) -> None:
    if logits.ndim != other.ndim + 1 or logits.shape[0] != other.shape[0] or logits.shape[2:] != other.shape[1:]:
        raise ValueError(
            f"{name} of shape {tuple(logits.shape)} and candidates of shape {tuple(other.shape)} do not fit: logits "
            "have the inner updates in the second dimension, and else the shape of the candidates"
        )


class KeepLoss(RecursionLoss):
    """Binary cross-entropy of "this candidate is part of the answer", over the candidates that are still possible.

    Losing a right candidate ends in a conflict, keeping a wrong one costs a step: an error on the former counts `right`
    times, on the latter `wrong` times, 8 to 1 by default. Cells that were given do not count.

    In a state that has lost the answer nothing is part of one: `lost` is the weight of its candidates, which all are to
    go, so that a wrong branch is soon seen to contradict itself. At 0 such states teach nothing, which is for puzzles
    whose key is one of several answers. They never teach what is left of the key: who learns that a branch may have
    been wrong deduces nothing from any branch.

    Returns `loss_keep`, and without gradient, of states that had the answer and steps that did not give up, `removed`,
    the mean number of candidates that a step removed, and `removed_wrongly`, the share of them that is part of the
    answer.

    Keyword Args:
        right: weight of candidates that are part of the answer.
        wrong: weight of the others.
        lost: weight of those in states that have lost the answer.
    """

    state = "candidates"

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            keep_logits: float32 `[B, n, L, V]`. Default `"keep_logits"`.
            candidates: bool `[B, L, V]`. Default `"candidates"`.
            given: bool `[B, L]`. Default `"given"`.
            keep: bool `[B, L, V]`, what the step did, for the metrics. Default `"keep"`.
            solution: int64 `[B, L]`. Default `"solution"`.
        """

        keep_logits: NestedKey = "keep_logits"
        candidates: NestedKey = "candidates"
        given: NestedKey = "given"
        keep: NestedKey = "keep"
        solution: NestedKey = "solution"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    out_keys = ["loss_keep", "removed", "removed_wrongly"]

    def __init__(
        self,
        *,
        right: Annotated[float, Field(ge=0.0)] = 4.0,
        wrong: Annotated[float, Field(ge=0.0)] = 0.5,
        lost: Annotated[float, Field(ge=0.0)] = 0.0,
    ) -> None:
        super().__init__()
        self.right, self.wrong, self.lost = right, wrong, lost

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch must hold."""
        keys = self.tensor_keys
        return [keys.keep_logits, keys.candidates, keys.given, keys.keep, keys.solution]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metrics, scalars, of a batch `[B]`.

        Raises:
            KeyError: the batch lacks a key; the message says who writes it.
            ValueError: logits and candidates do not fit each other; the message names both shapes.
        """
        logits, candidates = self.read(tensordict, "keep_logits"), self.read(tensordict, "candidates")
        _check_logits("keep logits", logits, candidates)
        solution = self.read(tensordict, "solution")
        open_cells = ~self.read(tensordict, "given") & (solution != IGNORE)
        lost = answer_lost(candidates, solution)
        counted = candidates & open_cells.unsqueeze(-1)
        alive = counted & ~lost.view(-1, 1, 1)
        if not self.lost:
            counted = alive
        right = alive & parts_of_answer(solution, candidates.shape[-1])
        weights = torch.where(right, self.right, torch.where(alive, self.wrong, self.lost)) * counted
        targets = right.to(logits.dtype).unsqueeze(1).expand_as(logits)
        total = F.binary_cross_entropy_with_logits(
            logits, targets, weight=weights.unsqueeze(1).expand_as(logits), reduction="sum"
        )
        keep = self.read(tensordict, "keep")
        going_on = keep.flatten(1).any(-1) & ~lost
        removed = alive & ~keep & going_on.view(-1, 1, 1)
        count = removed.sum()
        return TensorDict(
            {
                "loss_keep": total / (shared_count(counted.sum()) * logits.shape[1]),
                "removed": count / going_on.sum().clamp(min=1),
                "removed_wrongly": (removed & right).sum() / count.clamp(min=1),
            },
            batch_size=[],
        )


class SymbolLoss(RecursionLoss):
    """Cross-entropy of the symbol that every cell holds in the answer, over cells that were not given.

    States that have lost the answer do not count, as in `KeepLoss`.

    Returns `loss_symbol`, and without gradient `symbol_accuracy` (of cells) and `board_accuracy` of the likeliest
    symbols after the last update, whatever the candidates say.
    """

    state = "candidates"

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            symbol_logits: float32 `[B, n, L, V]`. Default `"symbol_logits"`.
            candidates: bool `[B, L, V]`. Default `"candidates"`.
            given: bool `[B, L]`. Default `"given"`.
            solution: int64 `[B, L]`. Default `"solution"`.
        """

        symbol_logits: NestedKey = "symbol_logits"
        candidates: NestedKey = "candidates"
        given: NestedKey = "given"
        solution: NestedKey = "solution"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    out_keys = ["loss_symbol", "symbol_accuracy", "board_accuracy"]

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch must hold."""
        keys = self.tensor_keys
        return [keys.symbol_logits, keys.candidates, keys.given, keys.solution]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metrics, scalars, of a batch `[B]`.

        Raises:
            KeyError: the batch lacks a key; the message says who writes it.
            ValueError: logits and candidates do not fit each other; the message names both shapes.
        """
        logits, solution = self.read(tensordict, "symbol_logits"), self.read(tensordict, "solution")
        candidates = self.read(tensordict, "candidates")
        _check_logits("symbol logits", logits, candidates)
        lost = answer_lost(candidates, solution).unsqueeze(-1)
        targets = solution.masked_fill(self.read(tensordict, "given") | lost, IGNORE)
        counted = targets != IGNORE
        every = targets.unsqueeze(1).expand(logits.shape[:-1])
        total = F.cross_entropy(logits.flatten(0, -2), every.flatten(), ignore_index=IGNORE, reduction="sum")
        wrong = (logits.detach()[:, -1].argmax(-1) != solution) & counted
        boards = counted.any(-1)
        return TensorDict(
            {
                "loss_symbol": total / (shared_count(counted.sum()) * logits.shape[1]),
                "symbol_accuracy": 1.0 - wrong.sum() / counted.sum().clamp(min=1),
                "board_accuracy": (boards & ~wrong.any(-1)).sum() / boards.sum().clamp(min=1),
            },
            batch_size=[],
        )


class ConflictLoss(RecursionLoss):
    """Binary cross-entropy of "this state has lost the answer": some cell's right symbol is no candidate any more.

    Returns `loss_conflict`, and without gradient `conflict_share`, how many of the states have lost it, and
    `conflict_accuracy`, how often the last update's logit is on the right side of 0.
    """

    state = "candidates"

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            conflict_logits: float32 `[B, n]`. Default `"conflict_logits"`.
            candidates: bool `[B, L, V]`. Default `"candidates"`.
            solution: int64 `[B, L]`. Default `"solution"`.
        """

        conflict_logits: NestedKey = "conflict_logits"
        candidates: NestedKey = "candidates"
        solution: NestedKey = "solution"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    out_keys = ["loss_conflict", "conflict_share", "conflict_accuracy"]

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch must hold."""
        keys = self.tensor_keys
        return [keys.conflict_logits, keys.candidates, keys.solution]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metrics, scalars, of a batch `[B]`.

        Raises:
            KeyError: the batch lacks a key; the message says who writes it.
            ValueError: logits and candidates do not fit each other; the message names both shapes.
        """
        logits, candidates = self.read(tensordict, "conflict_logits"), self.read(tensordict, "candidates")
        if logits.ndim != 2 or len(logits) != len(candidates):
            raise ValueError(
                f"conflict logits of shape {tuple(logits.shape)} and candidates of shape {tuple(candidates.shape)} do "
                "not fit: logits must be [B, n]"
            )
        lost = answer_lost(candidates, self.read(tensordict, "solution"))
        targets = lost.to(logits.dtype).unsqueeze(1).expand_as(logits)
        return TensorDict(
            {
                "loss_conflict": F.binary_cross_entropy_with_logits(logits, targets),
                "conflict_share": lost.float().mean(),
                "conflict_accuracy": ((logits.detach()[:, -1] >= 0) == lost).float().mean(),
            },
            batch_size=[],
        )
