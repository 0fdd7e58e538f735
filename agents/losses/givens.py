"""What a player is given stays: learned from the puzzle itself, without an answer key."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey

from latent_rl.agents.losses.base import RecursionLoss
from latent_rl.agents.losses.policy_improvement import cell_cross_entropy
from latent_rl.agents.stablemax import Kind
from latent_rl.agents.targets import IGNORE


class GivensLoss(RecursionLoss):
    """Cross-entropy of the cells that are not free toward what is given there.

    Answers that are learned from reward keep their givens by construction; at evaluation every cell is read from the
    logits, which have to know them too.

    Keyword Args:
        cross_entropy: `"stablemax"` or `"softmax"`.
    """

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            logits: float32 `[*B, L, V]`. Default `"logits"`.
            inputs: int64 `[*B, L]`. Default `"inputs"`.
            free: bool `[*B, L]`, cells that are no givens. Default `"free"`.
        """

        logits: NestedKey = "logits"
        inputs: NestedKey = "inputs"
        free: NestedKey = "free"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    out_keys = ["loss_givens"]

    def __init__(self, *, cross_entropy: Kind = "softmax") -> None:
        super().__init__()
        self.cross_entropy = cross_entropy

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch must hold."""
        return [self.tensor_keys.logits, self.tensor_keys.inputs, self.tensor_keys.free]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss, a scalar, of a batch of any shape."""
        targets = torch.where(self.read(tensordict, "free"), IGNORE, self.read(tensordict, "inputs"))
        per_cell = cell_cross_entropy(self.read(tensordict, "logits"), targets, self.cross_entropy)
        per_row = per_cell.sum(-1) / (targets != IGNORE).sum(-1).clamp(min=1)
        return TensorDict({"loss_givens": per_row.mean()}, batch_size=[])
