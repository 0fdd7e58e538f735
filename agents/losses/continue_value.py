"""The continue value: will the answer be solved in the end if the agent goes on thinking."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey

from latent_rl.agents.losses.base import RecursionLoss
from latent_rl.agents.network import RecursiveReasoner
from latent_rl.agents.targets import IGNORE
from latent_rl.agents.team import shared_count


class ContinueValueLoss(RecursionLoss):
    """Teach the second output of the q head whether the answer will be solved after the last of `max_steps` steps.

    The value of never stopping: `P(solved after step S | the latents after step s, s < S)`, with nobody ending the
    episode before, neither the agent nor the answer key. The continue logit of HRM (arXiv 2506.21734) without its
    maximum over stopping.

    TD(0) on a collected step: what `q[..., 1]` says of the latents before the step should be what it says after it, or,
    after step S, whether the answer is solved. A stop that the agent chose is no end: its latents are valued like any
    others. Episodes that the answer key may end (`env.terminate_on_solved`) do not count: of their solved states one
    would never see whether they stay so, and all others would look worse than they are. Nor do rows before the
    first step, where there are no thoughts to judge, and rows without an answer. Only the head learns, no network pass
    is spent.

    Args:
        reasoner: the network that has the head.

    Keyword Args:
        max_steps: steps of an episode (S).

    Examples:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from latent_rl.agents import ContinueValueLoss, ReasonerConfig, RecursiveReasoner
        >>> reasoner = RecursiveReasoner(ReasonerConfig(vocab_size=5, seq_len=16, width=32, heads=2))
        >>> batch = TensorDict({"y": torch.randn(8, 17, 32), "next_y": torch.randn(8, 17, 32),
        ...     "solution": torch.randint(1, 5, (8, 16)), "step": torch.ones(8, dtype=torch.int64),
        ...     "ends_when_solved": torch.zeros(8, dtype=torch.bool), "next": {"solved": torch.rand(8) < 0.5}}, [8])
        >>> ContinueValueLoss(reasoner, max_steps=6)(batch)["loss_continue"].backward()
    """

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            y: float32 `[*B, P + L, D]`, before the step. Default `"y"`.
            next_y: float32 `[*B, P + L, D]`, after it. Default `"next_y"`.
            step: int64 `[*B]`, steps taken before this one. Default `"step"`.
            solution: int64 `[*B, L]`. Default `"solution"`.
            ends_when_solved: bool `[*B]`, whether the answer key may end the episode. Default `"ends_when_solved"`.
            solved: bool `[*B]`, under `"next"`. Default `"solved"`.
        """

        y: NestedKey = "y"
        next_y: NestedKey = "next_y"
        step: NestedKey = "step"
        solution: NestedKey = "solution"
        ends_when_solved: NestedKey = "ends_when_solved"
        solved: NestedKey = "solved"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    out_keys = ["loss_continue"]

    def __init__(self, reasoner: RecursiveReasoner, *, max_steps: int) -> None:
        super().__init__()
        self.reasoner = reasoner
        self.max_steps = max_steps

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch must hold."""
        keys = self.tensor_keys
        return [keys.y, keys.next_y, keys.step, keys.solution, keys.ends_when_solved, ("next", keys.solved)]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss, a scalar, of a batch of any shape.

        Raises:
            KeyError: the batch lacks a key.
        """
        step = self.read(tensordict, "step")
        logit = self._logit(self.read(tensordict, "y"))
        with torch.no_grad():
            later = self._logit(self.read(tensordict, "next_y")).sigmoid()
            solved = self.read_next(tensordict, "solved").to(logit.dtype)
            target = torch.where(step + 1 >= self.max_steps, solved, later)
        answered = (self.read(tensordict, "solution") != IGNORE).any(-1)
        counts = (step > 0) & answered & ~self.read(tensordict, "ends_when_solved")
        loss = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
        return TensorDict({"loss_continue": (loss * counts).sum() / shared_count(counts.sum())}, batch_size=[])

    def _logit(self, y: torch.Tensor) -> torch.Tensor:
        """The continue logit `[*B]` of answer latents `[*B, P + L, D]`; no gradient flows into them."""
        return self.reasoner.q_logits(y.detach().flatten(0, -3))[:, 1].view(y.shape[:-2])
