"""Halting as a policy: a Bernoulli head and its critic, on features that a recursion step leaves behind anyway."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchrl.envs.utils import ExplorationType, exploration_type
from torchrl.modules import MLP

from latent_rl.agents.halting.rules import HaltingRule, Thought

READINGS = 7
"""Features beside the first position of `y`."""


def halting_features(thought: Thought) -> Tensor:
    """What the halting policy decides on, float32 `[B, D + READINGS]`; no network pass, no answer key.

    The first position of `y`, which the q head reads, then: both q logits; the share of cells that the step changed;
    how far the best token of a cell leads over the second, for the least sure cell and on average (`log(1 + gap)`,
    because stable-max logits have no bound); the steps taken, and one over them.
    """
    best, second = thought.logits.topk(2, dim=-1).values.unbind(-1)
    lead = (best - second).log1p()
    steps = thought.steps_taken.float()
    changed = (thought.answer != thought.previous).float().mean(-1)
    readings = [thought.q[:, 0], thought.q[:, 1], changed, lead.amin(-1), lead.mean(-1), steps, 1 / steps]
    return torch.cat((thought.y[:, 0].float(), torch.stack(readings, dim=-1)), dim=-1)


class HaltingPolicy(nn.Module):
    """`P(halt)` and the value of going on by this policy, both functions of `halting_features`.

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


class LearnedHalt(HaltingRule):
    """Halt as a `HaltingPolicy` says: sampled, or, under deterministic exploration, above a threshold."""

    def __init__(self, policy: HaltingPolicy, threshold: float = 0.5) -> None:
        self.policy = policy
        self.threshold = threshold

    @torch.no_grad()
    def __call__(self, thought: Thought) -> Tensor:
        probability = self.policy.probability(halting_features(thought))
        if exploration_type() in (None, ExplorationType.RANDOM):
            return torch.bernoulli(probability).long()
        return (probability > self.threshold).long()
