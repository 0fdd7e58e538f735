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
from latent_rl.agents.team import current_team, shared_count

NonNegative = Annotated[float, Field(ge=0.0)]


class AnswerPolicyLoss(RecursionLoss):
    """GRPO (arXiv 2402.03300) on the answers of recursion steps: TorchRL's `ClipPPOLoss`, every free cell an action.

    The advantage of an answer is that of all its cells: with `advantage="group"` what it is worth, less the mean of its
    group, over the group's standard deviation; with `advantage="critic"` less what a `ReturnHead` expects of the
    latents before the step, which is regressed on what the group was worth. Ratios of probabilities are those of cells,
    as GRPO takes those of tokens: that of a whole answer is a product over up to 81 cells, and leaves any clip range.

    Returns `loss_answer` (objective, entropy bonus and KL) and, with a critic, `loss_critic`; without gradient
    `group_worth`, `group_spread` (mean and mean standard deviation of what a group is worth), `group_success` (share of
    groups with a solved answer), `advantage` (mean distance from the baseline, before it is normalised),
    `answer_entropy` (nats a cell), `answer_kl` (to the policy that drew the group) and `answer_clip_fraction`; with a
    critic `critic_explained_variance` (of what groups are worth), with a KL `averaged_kl`.

    Args:
        reasoner: has the width that the critic reads.
        answers: the distribution that the group was drawn from.

    Keyword Args:
        advantage: `"group"` or `"critic"`.
        clip: how far the ratio of new to old probability may move an update.
        entropy: weight of the entropy bonus.
        kl: weight of the divergence from the averaged policy, `KL(pi || averaged)`, the mean over free cells. Above 0
            it costs every step a second one, by the averaged network and without gradient, which the ledger counts.
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
            group_solved: bool `[B, K]`. Default `"group_solved"`.
            averaged_logits: float32 `[B, L, V]`, with a KL. Default `"averaged_logits"`.
        """

        logits: NestedKey = "logits"
        y: NestedKey = "y"
        free: NestedKey = "free"
        group: NestedKey = "group"
        group_log_prob: NestedKey = "group_log_prob"
        group_worth: NestedKey = "group_worth"
        group_solved: NestedKey = "group_solved"
        averaged_logits: NestedKey = "averaged_logits"

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
        kl: NonNegative = 0.0,
    ) -> None:
        super().__init__()
        self.answers, self.advantage, self.kl = answers, advantage, kl
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
        averaged = [keys.averaged_logits] if self.kl else []
        group = [keys.group, keys.group_log_prob, keys.group_worth, keys.group_solved]
        return [keys.logits, *before, *averaged, keys.free, *group]

    @property
    def heads(self) -> tuple[nn.Module, ...]:
        """The critic, if there is one."""
        return () if self.head is None else (self.head,)

    @property
    def out_keys(self) -> list[str]:
        """What comes back."""
        critic = ["loss_critic", "critic_explained_variance"] if self.head is not None else []
        group = ["group_worth", "group_spread", "group_success", "advantage"]
        answer = ["answer_entropy", "answer_kl", "answer_clip_fraction", *(["averaged_kl"] if self.kl else [])]
        return ["loss_answer", *critic, *group, *answer]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metrics, scalars, of a batch `[B]`."""
        logits, free = self.read(tensordict, "logits"), self.read(tensordict, "free")
        worth = self.read(tensordict, "group_worth")
        found: dict[str, Tensor] = {}
        spread = worth.std(-1, correction=0)
        mean = worth.mean(-1, keepdim=True)
        if self.head is None:
            found["advantage"] = (worth - mean).abs().mean()
            advantage = (worth - mean) / spread.clamp(min=1e-6).unsqueeze(-1)
        else:
            expected = self.head(self.read(tensordict, "y").detach())
            unexplained = mean - expected.detach()
            found["loss_critic"] = (expected - mean).square().mean()
            varied = mean.var(correction=0).clamp(min=1e-8)
            found["critic_explained_variance"] = 1 - unexplained.var(correction=0) / varied
            advantage = worth - expected.detach()
            found["advantage"] = advantage.abs().mean()
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
        out = self.loss(cells) if len(cells) else _of_no_cell(logits)
        # All are means over free cells, of which a process of a team has more or fewer than the others.
        free_count = free.sum()
        share = 1.0 if current_team().world_size == 1 else free_count / shared_count(free_count)
        found["loss_answer"] = share * (out["loss_objective"] + out["loss_entropy"])
        if self.kl:
            divergence = self._divergence(logits, self.read(tensordict, "averaged_logits"))[free].sum()
            divergence = divergence / free_count.clamp(min=1)
            found["loss_answer"] = found["loss_answer"] + share * self.kl * divergence
            found["averaged_kl"] = divergence.detach()
        found |= {
            "group_worth": worth.mean(),
            "group_spread": spread.mean(),
            "group_success": self.read(tensordict, "group_solved").any(-1).float().mean(),
            "answer_entropy": out["entropy"].detach(),
            "answer_kl": out["kl_approx"].detach(),
            "answer_clip_fraction": out["clip_fraction"].detach(),
        }
        return TensorDict(found, batch_size=[])

    def _divergence(self, logits: Tensor, averaged: Tensor) -> Tensor:
        """`KL(pi || averaged)` of every cell, `[B, L]`, of logits `[B, L, V]`; no gradient flows into the latter."""
        ours, theirs = self.answers.log_probs(logits), self.answers.log_probs(averaged.detach())
        # Padding has probability 0 in both, where the difference of logarithms is no number.
        return (ours.exp() * (ours - theirs).masked_fill(ours == -torch.inf, 0.0)).sum(-1)


def _of_no_cell(logits: Tensor) -> dict[str, Tensor]:
    """The clipped loss of a batch in which no cell is free: 0, of the logits, so that a team waits for no gradient."""
    nothing = 0.0 * logits.sum()
    return dict.fromkeys(("loss_objective", "loss_entropy", "entropy", "kl_approx", "clip_fraction"), nothing)
