"""Halting as a policy: a Bernoulli head and its critic, on features that a recursion step leaves behind anyway."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictModuleBase, TensorDictSequential
from torch import Tensor, nn
from torch.distributions import Bernoulli
from torchrl.envs.utils import ExplorationType
from torchrl.modules import MLP, ProbabilisticActor

from latent_rl.agents.halting.rules import HaltingRule, RuleContext
from latent_rl.agents.team import draw_rows

READINGS = 7
"""Features beside the first position of `next_y`."""


class HaltingFeatures(TensorDictModuleBase):
    """Writes `features`, float32 `[B, D + READINGS]`: what the halting policy decides on, without pass or answer key.

    The first position of `next_y`, which the q head reads, then: both q logits; the share of cells that the step
    changed; how far the best token of a cell leads over the second, for the least sure cell and on average
    (`log(1 + gap)`, because stable-max logits have no bound); the steps taken, and one over them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.in_keys = ["next_y", "logits", "q", "answer", "previous", "step"]
        self.out_keys = ["features"]

    @torch.no_grad()
    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write `features`, float32 `[B, F]`, of recursion steps with the keys of `HaltingRule`."""
        best, second = tensordict["logits"].topk(2, dim=-1).values.unbind(-1)
        lead = (best - second).log1p()
        steps = (tensordict["step"] + 1).float()
        changed = (tensordict["answer"] != tensordict["previous"]).float().mean(-1)
        now, later = tensordict["q"].unbind(-1)
        readings = [now, later, changed, lead.amin(-1), lead.mean(-1), steps, 1 / steps]
        features = torch.cat((tensordict["next_y"][:, 0].float(), torch.stack(readings, dim=-1)), dim=-1)
        return tensordict.set("features", features)


class HaltingPolicy(nn.Module):
    """`P(halt)` and the value of going on by this policy, both functions of `HaltingFeatures`.

    Args:
        width: of the reasoner (D).
        hidden: units of the two hidden layers of each network.
        floor: the sampled policy halts, and goes on, with at least this probability: without it a policy that has
            come to stop at once would never again see what another step brings. Thresholding at 0.5 does not feel it.
    """

    def __init__(self, width: int, hidden: int = 64, floor: float = 0.05) -> None:
        super().__init__()
        if not 0.0 <= floor < 0.5:
            raise ValueError(f"floor must lie in [0, 0.5), got {floor}")
        self.width, self.hidden, self.floor = width, hidden, floor
        features = width + READINGS
        # Never in training mode but inside `observe`: then it is a fixed change of scale.
        self.scale = nn.BatchNorm1d(features, affine=False).eval()
        shape = {"in_features": features, "out_features": 1, "num_cells": [hidden, hidden], "activation_class": nn.SiLU}
        self.actor, self.critic = MLP(**shape), MLP(**shape)
        # Start undecided, promising nothing.
        for network in (self.actor, self.critic):
            nn.init.zeros_(network[-1].weight)
            nn.init.zeros_(network[-1].bias)

    def train(self, mode: bool = True) -> HaltingPolicy:
        """As for any module, but for the scale of the features, which only `observe` lets follow what is seen."""
        super().train(mode)
        self.scale.eval()
        return self

    def observe(self, features: Tensor) -> None:
        """Let the scale of the features, `[*B, F]`, follow what is seen."""
        self.scale.train()
        with torch.no_grad():
            self.scale(features.flatten(0, -2))
        self.scale.eval()

    def probability(self, features: Tensor) -> Tensor:
        """`P(halt)` of the sampled policy, `[*B]`, of features `[*B, F]`."""
        return self.floor + (1 - 2 * self.floor) * self.actor(self._scaled(features)).squeeze(-1).sigmoid()

    def value(self, features: Tensor) -> Tensor:
        """The return still to come by this policy, `[*B, 1]`, of features `[*B, F]`."""
        return self.critic(self._scaled(features))

    def _scaled(self, features: Tensor) -> Tensor:
        return self.scale(features.flatten(0, -2)).view_as(features)


class HaltDistribution(Bernoulli):
    """A Bernoulli over `halt` as the environment takes it, int64; deterministic: 1 above a threshold.

    Torch's own samples floats, and its mode at a probability of exactly 0.5, where an untrained policy starts, is nan.
    """

    def __init__(self, probs: Tensor, threshold: float = 0.5) -> None:
        super().__init__(probs=probs)
        self.threshold = threshold

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 (torch's own signature)
        """Choices of the given shape before that of `probs`, int64."""
        if sample_shape:
            return super().sample(sample_shape).long()
        return draw_rows(torch.bernoulli, self.probs).long()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of choices, int64 or float, in float32 of their shape."""
        return super().log_prob(value.to(self.probs.dtype))

    @property
    def deterministic_sample(self) -> Tensor:
        """The choice without chance, int64 of the shape of `probs`: 1 above the threshold."""
        return (self.probs > self.threshold).long()


def halting_actor(policy: HaltingPolicy, threshold: float = 0.5) -> ProbabilisticActor:
    """The policy as TorchRL's actor: reads `features`, writes `probs`, `halt` and `halt_log_prob`, each `[*B]`."""
    return ProbabilisticActor(
        TensorDictModule(MethodOf(policy, "probability"), ["features"], ["probs"]),
        in_keys=["probs"],
        out_keys=["halt"],
        distribution_class=HaltDistribution,
        distribution_kwargs={"threshold": threshold},
        default_interaction_type=ExplorationType.RANDOM,
        return_log_prob=True,
        log_prob_key="halt_log_prob",
    )


class LearnedHalt(HaltingRule):
    """Halt as a `HaltingPolicy` says: sampled, or, under deterministic exploration, above a threshold.

    Writes `features` and `halt_log_prob` beside `halt`: what PPO learns from.

    Args:
        policy: decides.
        threshold: of the deterministic choice, in (0, 1): what the probability would be without the policy's floor.
    """

    when = "the model's halting policy says so"
    out_keys = ["features", "halt", "halt_log_prob"]

    def __init__(self, policy: HaltingPolicy, *, threshold: float = 0.5) -> None:
        super().__init__()
        if not 0.0 < threshold < 1.0:
            raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
        features = HaltingFeatures()
        self.in_keys = features.in_keys
        self.policy = policy
        floored = policy.floor + (1 - 2 * policy.floor) * threshold
        self._decision = TensorDictSequential(features, halting_actor(policy, floored))

    @classmethod
    def build(cls, context: RuleContext, **options: Any) -> LearnedHalt:
        """The rule of a model's own halting policy; `ValueError` if it has none."""
        if context.policy is None:
            raise ValueError("there is no halting policy to stop by: give the model one with python -m latent_rl.halt")
        return cls(context.policy, **options)

    def decide(self, step: TensorDictBase) -> Tensor:
        """What the policy chooses on a step, int64 `[B]`."""
        return self.forward(step.copy())["halt"]

    @torch.no_grad()
    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write `features`, `halt` and `halt_log_prob` of the steps into the batch, without gradient."""
        return tensordict.update(self._decision(tensordict.select(*self.in_keys)).select(*self.out_keys))


class MethodOf(nn.Module):
    """One method of a policy as a module."""

    def __init__(self, policy: HaltingPolicy, method: str) -> None:
        super().__init__()
        self.policy, self.method = policy, method

    def forward(self, features: Tensor) -> Tensor:
        """The method's value for features `[*B, F]`."""
        return getattr(self.policy, self.method)(features)
