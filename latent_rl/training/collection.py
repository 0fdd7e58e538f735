"""Collecting recursion steps: TorchRL's collector over the training environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.collectors import Collector

from latent_rl.agents import ALONE, DeductionPolicy, RecursionPolicy, Team
from latent_rl.config import CollectorConfig
from latent_rl.measuring import Ledger
from latent_rl.training.torchrl_env import LatentRecursionTorchEnv


class Collection:
    """An endless iterator over batches `[num_envs, steps]` of recursion steps; each continues where the last ended.

    In a team every process collects its share of the rows; puzzles and states are counted and kept of all of them.

    Args:
        environment: where the steps are taken; its running episodes are part of the state.
        policy: takes them.
        config: how many at once, of this process.
        ledger: books the passes as collected.
        team: collects together.
    """

    def __init__(
        self,
        environment: LatentRecursionTorchEnv,
        policy: RecursionPolicy | DeductionPolicy,
        config: CollectorConfig,
        ledger: Ledger,
        team: Team = ALONE,
    ) -> None:
        self._team = team
        self.environment, self._policy, self._config, self._ledger = environment, policy, config, ledger
        # Counted on the device, so that counting does not wait for it.
        self._finished = torch.zeros((), dtype=torch.int64, device=environment.vector.device)
        self._batches: Iterator[TensorDictBase] | None = None

    @property
    def puzzles_begun(self) -> int:
        """Training puzzles begun so far: those finished and those in work."""
        return int(self._finished) + self._config.num_envs * self._team.world_size

    @property
    def episodes(self) -> dict[str, Tensor]:
        """Where the rows of this process stand, by the names of the environment's keys."""
        return self.environment.vector.state_dict()["episodes"]

    def send_weights(self, updates: int) -> None:
        """Nothing: the policy that learns is the one that collects."""

    def close(self) -> None:
        """Nothing: there are no other processes."""

    def __iter__(self) -> Collection:
        return self

    def __next__(self) -> TensorDictBase:
        with self._ledger.phase("collect"):
            if self._batches is None:
                # Late: a collector begins with a reset, and the episodes of `load_state_dict` must be there then.
                self._batches = iter(self._collector())
            batch = next(self._batches)
        self.count(batch)
        return batch

    def count(self, batch: TensorDictBase) -> None:
        """Count the puzzles that are finished in a batch of collected steps."""
        self._finished += self._team.sum(batch["next", "done"].sum())

    def _collector(self) -> Collector:
        steps = self._config.steps_per_batch if self._config.mode == "replay" else 1
        return Collector(
            self.environment,
            self._policy,
            frames_per_batch=steps * self._config.num_envs,
            total_frames=-1,
            # Fresh tensors every batch: shared buffers would need a first, uncollected call of the policy.
            use_buffers=False,
            # Everything runs in one stream, in order: nobody has to wait for it.
            no_cuda_sync=True,
            track_traj_ids=False,
            return_same_td=True,
            auto_register_policy_transforms=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Where every row's episode stands, of the whole team, and how many were finished."""
        environment = self.environment.vector.state_dict()
        episodes = {name: self._team.gather(rows) for name, rows in environment["episodes"].items()}
        return {"environment": {**environment, "episodes": episodes}, "finished_puzzles": int(self._finished)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        # The policy's weights may be other ones by now than those that the environment was made with.
        self.environment.vector.start_from(self._policy.reasoner)
        environment = state["environment"]
        episodes = {name: self._team.part(rows) for name, rows in environment["episodes"].items()}
        self.environment.vector.load_state_dict({**environment, "episodes": episodes})
        self._finished.fill_(state["finished_puzzles"])
