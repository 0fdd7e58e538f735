"""Learning when to stop by clipped PPO, from features of steps that were taken anyway: no network pass is spent.

A *decision* is one chance to stop, after a recursion step. Decisions are tensordicts `[N, T]`: `N` episodes (or rows of
a collector) at `T` steps each, in their order.

| key | shape | dtype | |
| --- | --- | --- | --- |
| `features` | `[N, T, F]` | float32 | `HaltingFeatures` after the step |
| `open` | `[N, T]` | bool | whether the agent alone chose; false where the episode is over or may be ended by others |
| `halt`, `halt_log_prob` | `[N, T]` | int64, float32 | what was chosen, and how likely; absent if not yet chosen |
| `next`, `features` | `[N, T, F]` | float32 | after the step that follows |
| `next`, `reward` | `[N, T, 1]` | float32 | of that step, if the agent goes on; stopping earns nothing |
| `next`, `done` | `[N, T, 1]` | bool | whether that step is the last there is |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from latent_rl.agents.halting.policy import HaltingPolicy, MethodOf, halting_actor


def decisions_of_episodes(features: Tensor, rewards: Tensor) -> TensorDict:
    """The decisions `[N, S - 1]`, not yet made, in episodes of `S` steps that nobody stopped.

    Args:
        features: float32 `[N, S, F]`, after each step.
        rewards: float32 `[N, S]`, of each step.
    """
    done = torch.zeros_like(rewards[:, 1:], dtype=torch.bool)
    done[:, -1] = True
    following = {"features": features[:, 1:], "reward": rewards[:, 1:, None], "done": done.unsqueeze(-1)}
    values = {"features": features[:, :-1], "open": torch.ones_like(done), "next": following}
    return TensorDict(values, done.shape)


def decisions_of_steps(steps: TensorDictBase, max_steps: int) -> TensorDict:
    """The decisions `[N, T]` in collected steps `[N, T + 1]`; the last step only shows what the one before it led to.

    After step `max_steps` there is no choice: the episode is over. Nor is there one in an episode that the answer key
    ends as soon as it is solved, `ends_when_solved`, not even where it was not: there the choice to stop at a solved
    answer would be recorded and the choice to go on would not, nor what it led to, so that going on would be
    judged by unsolved answers alone and look far better than it is.

    Args:
        steps: holds `features`, `halt`, `halt_log_prob`, `step`, `ends_when_solved` `[N, T + 1]`, and under `next`
            `reward` `[N, T + 1, 1]`.
        max_steps: steps of an episode.
    """
    is_open = ~steps["ends_when_solved"] & (steps["step"] + 1 < max_steps)
    chosen = steps.select("features", "halt", "halt_log_prob")[:, :-1]
    following = {"features": steps["features"][:, 1:], "reward": steps["next", "reward"][:, 1:]}
    following["done"] = ~is_open[:, 1:].unsqueeze(-1)
    return TensorDict({**chosen, "open": is_open[:, :-1], "next": following}, chosen.batch_size)


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
        minibatch: int = 2048,
    ) -> None:
        self.policy, self.epochs, self.minibatch = policy, epochs, minibatch
        self.actor = halting_actor(policy)
        critic = TensorDictModule(MethodOf(policy, "value"), ["features"], ["state_value"])
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

    def learn(self, decisions: TensorDictBase) -> dict[str, Tensor]:
        """Learn from decisions `[N, T]` made with the policy as it is.

        Where `halt` is absent the choices are sampled here: where going on is known for every step, each step can
        serve as the start of an episode, also those that the policy would not reach.

        Returns:
            Means over the gradient steps of what the loss reports, and `halt_share`, the share of stops; detached.
            Nothing if no decision, or a single one, is open: the policy stays as it is.
        """
        # Of a single one there is no spread to normalise the advantage by.
        if decisions["open"].sum() < 2:
            return {}
        self.policy.observe(decisions["features"])
        with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
            batch = decisions.copy()
            if "halt" not in batch.keys():
                batch = self.actor(batch)
            stopped = batch["halt"].bool().unsqueeze(-1)
            following = batch["next"].copy()
            following["reward"] = following["reward"] * ~stopped
            following["done"] = following["done"] | stopped | ~batch["open"].unsqueeze(-1)
            following["terminated"] = following["done"]
            batch["next"] = following
            self.advantage(batch)
        flat = batch.exclude("next")[batch["open"]]
        reports = []
        for _ in range(self.epochs):
            for part in torch.randperm(len(flat), device=flat["halt"].device).split(self.minibatch):
                reports.append(self._step(flat[part]))
        means = {name: torch.stack([report[name] for report in reports]).mean() for name in reports[0]}
        return {**means, "halt_share": flat["halt"].float().mean()}

    def _step(self, batch: TensorDictBase) -> dict[str, Tensor]:
        found = self.loss(batch)
        total = sum(value for name, value in found.items() if name.startswith("loss_"))
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimizer.step()
        return {name: found[name].detach() for name in ("loss_objective", "loss_critic", "entropy", "clip_fraction")}

    def state_dict(self) -> dict[str, Any]:
        """State of policy and optimizer."""
        return {"policy": self.policy.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.policy.load_state_dict(state["policy"])
        # The moments alone: learning rate and the like are those of the configuration.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
