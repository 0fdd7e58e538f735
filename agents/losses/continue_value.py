"""The continue value: will the answer be right in the end if the agent goes on thinking."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey

from latent_rl.agents.losses.base import RecursionLoss
from latent_rl.agents.losses.right_cells import count_right
from latent_rl.agents.network import RecursiveReasoner


class ContinueValueLoss(RecursionLoss):
    """Teach the second output of the q head whether the answer will be right at the end of the episode.

    TD(0) on a collected step: what `q[..., 1]` says of the latents before the step should be what it says after it,
    or, if the step was the episode's last, whether the answer is right. The continue logit of HRM (arXiv 2506.21734),
    without the maximum over stopping: it values the policy that goes on. Only the head learns, no network pass is
    spent. Before the first step there are no thoughts to judge: such rows do not count, nor do those without an answer.

    Args:
        reasoner: the network that has the head.

    Examples:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from latent_rl.agents import ContinueValueLoss, ReasonerConfig, RecursiveReasoner
        >>> reasoner = RecursiveReasoner(ReasonerConfig(vocab_size=5, seq_len=16, width=32, heads=2))
        >>> answer, done = torch.randint(1, 5, (8, 16)), torch.ones(8, 1, dtype=torch.bool)
        >>> batch = TensorDict({"y": torch.randn(8, 17, 32), "next_y": torch.randn(8, 17, 32), "answer": answer,
        ...     "solution": answer, "step": torch.ones(8, dtype=torch.int64), "next": {"done": done}}, [8])
        >>> ContinueValueLoss(reasoner)(batch)["loss_continue"].backward()
    """

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            y: float32 `[*B, P + L, D]`, before the step. Default `"y"`.
            next_y: float32 `[*B, P + L, D]`, after it. Default `"next_y"`.
            step: int64 `[*B]`, steps taken before this one. Default `"step"`.
            answer, solution: int64 `[*B, L]`. Defaults of the same name.
            done: bool `[*B, 1]`, under `"next"`. Default `"done"`.
        """

        y: NestedKey = "y"
        next_y: NestedKey = "next_y"
        step: NestedKey = "step"
        answer: NestedKey = "answer"
        solution: NestedKey = "solution"
        done: NestedKey = "done"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    out_keys = ["loss_continue"]

    def __init__(self, reasoner: RecursiveReasoner) -> None:
        super().__init__()
        self.reasoner = reasoner

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch must hold."""
        keys = self.tensor_keys
        return [keys.y, keys.next_y, keys.step, keys.answer, keys.solution, ("next", keys.done)]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss, a scalar, of a batch of any shape.

        Raises:
            KeyError: the batch lacks a key.
        """
        right, counted = count_right(self.read(tensordict, "answer"), self.read(tensordict, "solution"))
        logit = self._logit(self.read(tensordict, "y"))
        with torch.no_grad():
            over = tensordict["next", self.tensor_keys.done].squeeze(-1)
            later = self._logit(self.read(tensordict, "next_y")).sigmoid()
            target = torch.where(over, (right == counted).to(logit.dtype), later)
        counts = (self.read(tensordict, "step") > 0) & (counted > 0)
        loss = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
        return TensorDict({"loss_continue": (loss * counts).sum() / counts.sum().clamp(min=1)}, batch_size=[])

    def _logit(self, y: torch.Tensor) -> torch.Tensor:
        """The continue logit `[*B]` of answer latents `[*B, P + L, D]`; no gradient flows into them."""
        return self.reasoner.q_logits(y.detach().flatten(0, -3))[:, 1].view(y.shape[:-2])
