"""Policy gradient on answers: those of a group that are worth more than the others become likelier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule
from tensordict.utils import NestedKey
from torch import Tensor, nn
from torchrl.modules import ProbabilisticActor
from torchrl.objectives import ClipPPOLoss

from latent_rl.agents.answering import AnswerPolicy
from latent_rl.agents.losses.base import RecursionLoss
from latent_rl.agents.losses.return_value import ReturnHead
from latent_rl.agents.network import RecursiveReasoner

NonNegative = Annotated[float, Field(ge=0.0)]


class AnswerPolicyLoss(RecursionLoss):
    """GRPO (arXiv 2402.03300) on the answers of recursion steps: TorchRL's `ClipPPOLoss`, every free cell an action.

    The advantage of an answer is that of all its cells: with `advantage="group"` what it is worth, less the mean of its
    group, over the group's standard deviation; with `advantage="critic"` less what a `ReturnHead` expects of the
    latents before the step, which is regressed on what the group was worth. Ratios of probabilities are those of cells,
    as GRPO takes those of tokens: that of a whole answer is a product over up to 81 cells, and leaves any clip range.

    Returns `loss_answer` (objective and entropy bonus) and, with a critic, `loss_critic`; without gradient
    `group_worth`, `group_spread` (mean and mean standard deviation of what a group is worth), `answer_entropy` (nats a
    cell), `answer_kl` (to the policy that drew the group) and `answer_clip_fraction`.

    Args:
        reasoner: has the width that the critic reads.
        answers: the distribution that the group was drawn from.

    Keyword Args:
        advantage: `"group"` or `"critic"`.
        clip: how far the ratio of new to old probability may move an update.
        entropy: weight of the entropy bonus.
    """

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            logits: float32 `[B, L, V]`. Default `"logits"`.
            y: float32 `[B, P + L, D]`, before the step, with a critic. Default `"y"`.
            free: bool `[B, L]`, cells whose token is an action. Default `"free"`.
            group: int64 `[B, K, L]`, answers drawn. Default `"group"`.
            group_log_prob: float32 `[B, K, L]`, how likely each cell was then. Default `"group_log_prob"`.
            group_worth: float32 `[B, K]`. Default `"group_worth"`.
        """

        logits: NestedKey = "logits"
        y: NestedKey = "y"
        free: NestedKey = "free"
        group: NestedKey = "group"
        group_log_prob: NestedKey = "group_log_prob"
        group_worth: NestedKey = "group_worth"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    def __init__(
        self,
        reasoner: RecursiveReasoner,
        answers: AnswerPolicy,
        *,
        advantage: Literal["group", "critic"] = "group",
        clip: NonNegative = 0.2,
        entropy: NonNegative = 0.01,
    ) -> None:
        super().__init__()
        self.answers, self.advantage = answers, advantage
        self.head = ReturnHead(reasoner.config.width) if advantage == "critic" else None
        cells = TensorDictModule(nn.Identity(), ["logits"], ["logits"])
        actor = ProbabilisticActor(
            cells, in_keys=["logits"], out_keys=["token"], distribution_class=torch.distributions.Categorical
        )
        self.loss = ClipPPOLoss(actor, None, clip_epsilon=clip, entropy_coeff=entropy, functional=False)
        self.loss.set_keys(action="token", sample_log_prob="token_log_prob")

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch must hold."""
        keys = self.tensor_keys
        before = [keys.y] if self.head is not None else []
        return [keys.logits, *before, keys.free, keys.group, keys.group_log_prob, keys.group_worth]

    @property
    def heads(self) -> tuple[nn.Module, ...]:
        """The critic, if there is one."""
        return () if self.head is None else (self.head,)

    @property
    def out_keys(self) -> list[str]:
        """What comes back."""
        metrics = ["group_worth", "group_spread", "answer_entropy", "answer_kl", "answer_clip_fraction"]
        return ["loss_answer", *(["loss_critic"] if self.head is not None else []), *metrics]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metrics, scalars, of a batch `[B]`."""
        logits, free = self.read(tensordict, "logits"), self.read(tensordict, "free")
        worth = self.read(tensordict, "group_worth")
        found: dict[str, Tensor] = {}
        spread = worth.std(-1, correction=0)
        if self.head is None:
            advantage = (worth - worth.mean(-1, keepdim=True)) / spread.clamp(min=1e-6).unsqueeze(-1)
        else:
            expected = self.head(self.read(tensordict, "y").detach())
            found["loss_critic"] = (expected - worth.mean(-1, keepdim=True)).square().mean()
            advantage = worth - expected.detach()
        group = self.read(tensordict, "group")
        chosen = free.unsqueeze(1).expand_as(group)
        log_probs = self.answers.log_probs(logits).unsqueeze(1).expand(*group.shape, -1)
        cells = TensorDict(
            {
                "logits": log_probs[chosen],
                "token": group[chosen],
                "token_log_prob": self.read(tensordict, "group_log_prob")[chosen],
                "advantage": advantage.unsqueeze(-1).expand_as(group)[chosen].unsqueeze(-1),
            },
            [int(chosen.sum())],
        )
        out = self.loss(cells)
        found["loss_answer"] = out["loss_objective"] + out["loss_entropy"]
        found |= {
            "group_worth": worth.mean(),
            "group_spread": spread.mean(),
            "answer_entropy": out["entropy"].detach(),
            "answer_kl": out["kl_approx"].detach(),
            "answer_clip_fraction": out["clip_fraction"].detach(),
        }
        return TensorDict(found, batch_size=[])
