"""Experience for a halting policy: from recursion steps that are taken anyway to decisions that PPO learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictSequential
from torch import Tensor
from torchrl.envs.utils import step_mdp

from latent_rl.agents import (
    ALONE,
    HaltingFeatures,
    HaltingLearner,
    HaltingPolicy,
    HaltingRule,
    NeverHalt,
    RecursionPolicy,
    RecursiveReasoner,
    Team,
    decisions_of_episodes,
    decisions_of_steps,
)
from latent_rl.config import Config
from latent_rl.envs import Puzzle
from latent_rl.measuring import Ledger
from latent_rl.training.parts import build_environment, build_halting_learner, build_halting_policy


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

    def decisions(self, pass_cost: float) -> TensorDict:
        """The choices in these episodes when a network pass costs `pass_cost`."""
        return decisions_of_episodes(self.features, self.gains - pass_cost * self.passes)


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
    environment = build_environment(settings, puzzle, reasoner)
    environment.set_seed(config.seed)
    policy = RecursionPolicy(reasoner, TensorDictSequential(HaltingFeatures(), NeverHalt()))
    features, gains, before = [], [], ledger.forward["collect"]
    with ledger.phase("collect"):
        for _ in range(0, config.halting.ppo.puzzles, rows):
            state, batch = environment.reset(), []
            for _ in range(env.max_steps):
                state = environment.step(policy(state))
                batch.append((state["features"], state["next", "reward"].squeeze(-1)))
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


class NoHalting:
    """No halting policy is learned: the part of a run that there is nothing to say about."""

    policy = None
    rule = None

    def learn(self, batch: TensorDictBase) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing to save."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""


class ConcurrentHalting:
    """A halting policy that learns beside the network, from the steps that the collector takes for the network.

    Args:
        learner: improves the halting policy.
        rule: stops as the policy says, in collection and in evaluation.
        steps: recursion steps of every row between two learning phases.
        max_steps: recursion steps of an episode.
        team: every process learns the same, from the steps of all.
    """

    KEYS = ("features", "halt", "halt_log_prob", "step", "ends_when_solved", ("next", "reward"))
    """What it reads of a collected step."""

    def __init__(
        self, learner: HaltingLearner, rule: HaltingRule, *, steps: int, max_steps: int, team: Team = ALONE
    ) -> None:
        self.team = team
        self.learner, self.rule, self.steps, self.max_steps = learner, rule, steps, max_steps
        self._seen: list[TensorDictBase] = []
        self._told: dict[str, Tensor] = {}

    @property
    def policy(self) -> HaltingPolicy:
        """What learns."""
        return self.learner.policy

    def learn(self, batch: TensorDictBase) -> dict[str, Tensor]:
        """Take in collected steps `[num_envs, T]`; returns the metrics of the last time that it has learned."""
        seen = self.team.gather_steps(batch.select(*self.KEYS))
        self._seen.extend(seen.unbind(1))
        if len(self._seen) <= self.steps:
            return self._told
        steps = torch.stack(self._seen, dim=1)
        # The last step's choice has not shown its consequence yet: it begins the next phase.
        self._seen = self._seen[-1:]
        found = self.learner.learn(decisions_of_steps(steps, self.max_steps))
        # Charts read every so many updates, of which none need be one in which it learns.
        self._told = {f"halting_{name}": value for name, value in found.items()}
        return self._told

    def state_dict(self) -> dict[str, Any]:
        """The learner's state and the steps that it has not learned from yet."""
        seen = [dict(step.flatten_keys(".").items()) for step in self._seen]
        return {"learner": self.learner.state_dict(), "seen": seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Steps that earlier versions have seen are forgotten: they do not say which episodes the answer key could end.
        """
        self.learner.load_state_dict(state["learner"])
        seen = [step for step in state["seen"] if isinstance(step, Mapping) and "ends_when_solved" in step]
        self._seen = [TensorDict(dict(step), step["halt"].shape).unflatten_keys(".") for step in seen]
