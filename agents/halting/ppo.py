"""Learning when to stop by clipped PPO, from features of steps that were taken anyway: no network pass is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torch.distributions import Bernoulli
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import ProbabilisticActor
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from latent_rl.agents.halting.policy import HaltingPolicy


@dataclass(frozen=True)
class Decisions:
    """Chances to stop of `N` episodes (or rows of a collector) at `T` steps each, in their order.

    Attributes:
        features: float32 `[N, T, F]`, `halting_features` after each step.
        gains: float32 `[N, T]`, reward of the step that follows if the agent goes on; stopping earns nothing.
        next_features: float32 `[N, T, F]`, after that step.
        ends: bool `[N, T]`, whether the step that follows is the last there is.
        open: bool `[N, T]`, whether there was a choice at all; false where the environment had ended the episode.
    """

    features: Tensor
    gains: Tensor
    next_features: Tensor
    ends: Tensor
    open: Tensor

    @classmethod
    def of_full_episodes(cls, features: Tensor, rewards: Tensor) -> Decisions:
        """The choices in episodes `[N, S]` that nobody stopped; after the last step there is none."""
        ends = torch.zeros_like(rewards[:, 1:], dtype=torch.bool)
        ends[:, -1] = True
        return cls(features[:, :-1], rewards[:, 1:], features[:, 1:], ends, torch.ones_like(ends))


class HaltingLearner:
    """Improves a `HaltingPolicy` by TorchRL's clipped PPO (arXiv 1707.06347) on generalised advantages, undiscounted.

    Args:
        policy: what learns.
        lr: learning rate of Adam.
        clip: how far the ratio of new to old probability may move an update.
        entropy: weight of the entropy bonus.
        lmbda: of the generalised advantage estimator.
        epochs: how often a batch of decisions is learned from.
        minibatch: decisions in one gradient step.
    """

    def __init__(
        self,
        policy: HaltingPolicy,
        *,
        lr: float = 1e-3,
        clip: float = 0.2,
        entropy: float = 0.003,
        lmbda: float = 0.95,
        epochs: int = 4,
        minibatch: int = 1024,
    ) -> None:
        self.policy, self.epochs, self.minibatch = policy, epochs, minibatch
        probability = TensorDictModule(_Call(policy, "probability"), ["features"], ["probs"])
        self.actor = ProbabilisticActor(
            probability,
            in_keys=["probs"],
            out_keys=["halt"],
            distribution_class=Bernoulli,
            return_log_prob=True,
            log_prob_key="halt_log_prob",
        )
        critic = TensorDictModule(_Call(policy, "value"), ["features"], ["state_value"])
        # The policy's own parameters: TorchRL need not keep a second set of them.
        self.loss = ClipPPOLoss(
            self.actor,
            critic,
            clip_epsilon=clip,
            entropy_coeff=entropy,
            normalize_advantage=True,
            functional=False,
        )
        self.loss.set_keys(action="halt", sample_log_prob="halt_log_prob")
        self.advantage = GAE(gamma=1.0, lmbda=lmbda, value_network=critic)
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=lr)

    def learn(self, decisions: Decisions, halt: Tensor | None = None) -> dict[str, Tensor]:
        """Learn from decisions taken with the policy as it is.

        Args:
            decisions: where there was a choice, and what going on brought.
            halt: bool `[N, T]`, what was chosen. None samples it here: where going on is known for every step, each
                step can serve as the start of an episode, also those that the policy would not reach.

        Returns:
            Means over the gradient steps of what the loss reports, and `halt_share`, the share of stops; detached.
        """
        with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
            if halt is None:
                self.policy.observe(decisions.features)
            batch = self.actor(TensorDict({"features": decisions.features}, decisions.gains.shape))
            if halt is not None:
                batch["halt"] = halt.float()
                batch["halt_log_prob"] = Bernoulli(batch["probs"]).log_prob(batch["halt"])
                self.policy.observe(decisions.features)
            stopped = batch["halt"].bool()
            done = (stopped | decisions.ends | ~decisions.open).unsqueeze(-1)
            batch["next"] = TensorDict(
                {
                    "features": decisions.next_features,
                    "reward": (decisions.gains * ~stopped).unsqueeze(-1),
                    "done": done,
                    "terminated": done,
                },
                batch.batch_size,
            )
            self.advantage(batch)
        flat = batch.exclude("next")[decisions.open]
        reports = []
        for _ in range(self.epochs):
            for part in torch.randperm(len(flat), device=flat["halt"].device).split(self.minibatch):
                reports.append(self._step(flat[part]))
        means = {name: torch.stack([report[name] for report in reports]).mean() for name in reports[0]}
        return {**means, "halt_share": flat["halt"].mean()}

    def _step(self, batch: TensorDict) -> dict[str, Tensor]:
        found = self.loss(batch)
        total = sum(value for name, value in found.items() if name.startswith("loss_"))
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimizer.step()
        return {name: found[name].detach() for name in ("loss_objective", "loss_critic", "entropy", "clip_fraction")}

    def state_dict(self) -> dict[str, Any]:
        return {"policy": self.policy.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])


class _Call(nn.Module):
    """One method of a policy as a module."""

    def __init__(self, policy: HaltingPolicy, method: str) -> None:
        super().__init__()
        self.policy, self.method = policy, method

    def forward(self, features: Tensor) -> Tensor:
        return getattr(self.policy, self.method)(features)
