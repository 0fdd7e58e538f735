"""A loss and a target generator as somebody else would write them, in one file of their own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor, nn

from latent_rl.agents import RecursionLoss, RecursiveReasoner, TargetGenerator, count_right


class RightShareLoss(RecursionLoss):
    """Teach a head of its own what share of an answer's cells is right; the network does not feel it."""

    @dataclass
    class _AcceptedKeys:
        next_y: NestedKey = "next_y"
        answer: NestedKey = "answer"
        solution: NestedKey = "solution"

    default_keys = _AcceptedKeys
    out_keys = ["loss_share"]

    def __init__(self, reasoner: RecursiveReasoner, *, hidden: int = 4) -> None:
        super().__init__()
        width = reasoner.config.width
        self.head = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, 1))

    @property
    def heads(self) -> tuple[nn.Module, ...]:
        return (self.head,)

    @property
    def in_keys(self) -> list[NestedKey]:
        return [self.tensor_keys.next_y, self.tensor_keys.answer, self.tensor_keys.solution]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        right, counted = count_right(self.read(tensordict, "answer"), self.read(tensordict, "solution"))
        guess = self.head(self.read(tensordict, "next_y")[..., 0, :].detach()).squeeze(-1)
        return TensorDict({"loss_share": F.mse_loss(guess, right / counted.clamp(min=1))}, batch_size=[])


class LateTargets(TargetGenerator):
    """The puzzle itself until `first` steps were taken, then the solution."""

    in_keys = ("inputs", "solution", "step")

    def __init__(self, *, max_steps: int, first: int = 1) -> None:
        super().__init__(max_steps=max_steps)
        self.first = first

    def __call__(self, tensordict: TensorDictBase) -> Tensor:
        late = (tensordict["step"] >= self.first).unsqueeze(-1)
        return torch.where(late, tensordict["solution"], tensordict["inputs"])
