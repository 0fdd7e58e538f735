"""Experience for a halting policy: from recursion steps that are taken anyway to decisions that PPO learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.utils import step_mdp

from latent_rl.agents import (
    Decisions,
    HaltingLearner,
    HaltingPolicy,
    RecursionPolicy,
    RecursiveReasoner,
    halting_features,
)
from latent_rl.config import Config
from latent_rl.envs import Puzzle
from latent_rl.measuring import Ledger
from latent_rl.training.assemble import build_environment, build_halting_learner, build_halting_policy


class StoredSteps(NamedTuple):
    """Full episodes of a frozen network on training puzzles, as far as a halting policy needs them.

    Attributes:
        features: float32 `[N, S, F]`, after each step.
        gains: float32 `[N, S]`, the environment's reward of each step but for the price of its passes.
        passes: network passes of one step.
    """

    features: Tensor
    gains: Tensor
    passes: float

    def decisions(self, pass_cost: float) -> Decisions:
        """The choices in these episodes when a network pass costs `pass_cost`."""
        return Decisions.of_full_episodes(self.features, self.gains - pass_cost * self.passes)


@torch.no_grad()
def store_steps(
    reasoner: RecursiveReasoner,
    puzzle: Puzzle,
    config: Config,
    ledger: Ledger,
    on_progress: Callable[[int], object] | None = None,
) -> StoredSteps:
    """Let a network take all its steps on `halting.ppo.puzzles` training puzzles, in the environment, and store them.

    Args:
        reasoner: the network, as it is.
        puzzle: its training split is used, augmented as in training.
        config: of the environment; episodes run to `env.max_steps`.
        ledger: watches the network; the passes are booked as collected.
        on_progress: called after each batch with its number of puzzles.
    """
    rows = min(config.evaluation.batch_size, config.halting.ppo.puzzles)
    # The price is left out here, so that one set of steps serves any price.
    free = config.env.reward.model_copy(update={"pass_cost": 0.0})
    env = config.env.model_copy(update={"terminate_on_solved": 0.0, "reward": free})
    collector = config.collector.model_copy(update={"num_envs": rows})
    settings = config.model_copy(update={"env": env, "collector": collector})
    environment = build_environment(settings, puzzle, reasoner).torchrl
    environment.set_seed(config.seed)
    policy = RecursionPolicy(reasoner)
    features, gains, before = [], [], ledger.forward["collect"]
    with ledger.phase("collect"):
        for _ in range(0, config.halting.ppo.puzzles, rows):
            state, batch = environment.reset(), []
            for _ in range(env.max_steps):
                state = environment.step(policy(state))
                batch.append((halting_features(policy.recall(state)), state["next", "reward"].squeeze(-1)))
                state = step_mdp(state)
            found = [torch.stack(parts, dim=1) for parts in zip(*batch, strict=True)]
            features.append(found[0])
            gains.append(found[1])
            if on_progress is not None:
                on_progress(rows)
    stored = torch.cat(features), torch.cat(gains)
    return StoredSteps(*stored, (ledger.forward["collect"] - before) / stored[1].numel())


def learn_to_halt(
    reasoner: RecursiveReasoner,
    stored: StoredSteps,
    config: Config,
    pass_cost: float,
    on_progress: Callable[[int], object] | None = None,
) -> tuple[HaltingPolicy, dict[str, float]]:
    """A halting policy for a frozen network at a price of passes, and the metrics of its last phase.

    Raises:
        ValueError: episodes of a single step, where there is nothing to decide.
    """
    if stored.gains.shape[1] < 2:
        raise ValueError("episodes of one step leave nothing to decide")
    torch.manual_seed(config.seed)
    policy = build_halting_policy(config, reasoner)
    learner = build_halting_learner(config, policy)
    decisions, found = stored.decisions(pass_cost), {}
    for _ in range(config.halting.ppo.iterations):
        found = learner.learn(decisions)
        if on_progress is not None:
            on_progress(1)
    return policy.eval(), {name: float(value) for name, value in found.items()}


class ConcurrentHalting:
    """A halting policy that learns beside the network, from the steps that the collector takes for the network.

    Args:
        policy: the collecting policy, whose features count.
        learner: improves the halting policy.
        steps: recursion steps of every row between two learning phases.
    """

    def __init__(self, policy: RecursionPolicy, learner: HaltingLearner, steps: int) -> None:
        self.policy, self.learner, self.steps = policy, learner, steps
        self._seen: list[tuple[Tensor, ...]] = []

    def observe(self, batch: TensorDictBase) -> dict[str, Tensor]:
        """Take in collected steps `[num_envs, T]`, before the network changes; returns metrics when it has learned."""
        features = halting_features(self.policy.recall(batch)).unflatten(0, batch.batch_size)
        halt = batch["halt"].bool()
        over = batch["next", "done"].squeeze(-1) & ~halt
        parts = (features, halt, over, batch["next", "reward"].squeeze(-1))
        self._seen.extend(zip(*(part.unbind(1) for part in parts), strict=True))
        if len(self._seen) <= self.steps:
            return {}
        features, halt, over, rewards = (torch.stack(parts, dim=1) for parts in zip(*self._seen, strict=True))
        # The last step's choice has not shown its consequence yet: it begins the next phase.
        self._seen = self._seen[-1:]
        decisions = Decisions(features[:, :-1], rewards[:, 1:], features[:, 1:], over[:, 1:], ~over[:, :-1])
        return {f"halting_{name}": value for name, value in self.learner.learn(decisions, halt[:, :-1]).items()}

    def state_dict(self) -> dict[str, Any]:
        return {"learner": self.learner.state_dict(), "seen": [list(step) for step in self._seen]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self._seen = [tuple(step) for step in state["seen"]]
