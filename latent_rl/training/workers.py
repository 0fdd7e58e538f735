"""Collecting in processes of their own, for replay: TorchRL's `MultiSyncCollector` over shares of the rows.

What starts the processes is one method, which `ray_workers` has another of.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.collectors import BaseCollector, MultiSyncCollector

from latent_rl.agents import RecursionPolicy
from latent_rl.config import CollectorConfig
from latent_rl.envs import BatchEnv
from latent_rl.measuring import Ledger
from latent_rl.training.torchrl_env import LatentRecursionTorchEnv


class CountedPolicy(TensorDictModuleBase):
    """A policy that writes beside its steps what they took and with which weights.

    `passes`, int64 `[*B]`, are the network passes of each row's step, as a ledger counted them where they were taken;
    `weights_of`, int64 `[*B]`, is the update that the weights came from.

    Args:
        policy: takes the steps.
        ledger: watches its network.
    """

    def __init__(self, policy: RecursionPolicy, ledger: Ledger) -> None:
        super().__init__()
        self.policy, self.ledger = policy, ledger
        self.in_keys, self.out_keys = policy.in_keys, [*policy.out_keys, "passes", "weights_of"]
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Take one step; writes `out_keys` into `tensordict` and returns it."""
        before = self.ledger.forward["collect"]
        with self.ledger.phase("collect"):
            tensordict = self.policy(tensordict)
        each = (self.ledger.forward["collect"] - before) // tensordict.numel()
        whole = torch.full(tensordict.batch_size, each, dtype=torch.int64)
        return tensordict.update({"passes": whole, "weights_of": self.updates.expand(tensordict.batch_size).clone()})


class WorkerEnvironment(LatentRecursionTorchEnv):
    """The environment of a worker, whose state, with the generator that its policy draws from, can be asked for."""

    def snapshot(self) -> dict[str, Any]:
        """Running episodes, random order and generators."""
        return {"environment": self.vector.state_dict(), "random": torch.get_rng_state()}


class WorkerCollection:
    """What `Collection` is, by processes that collect: each its share of the rows, with the weights it was sent last.

    Nothing is collected while weights change, so that a run can be repeated and resumed bit for bit.

    Args:
        make: a vector environment over so many rows (`num_envs`); it is called in the processes.
        policy: takes the steps; a copy of it in each process.
        config: rows of all processes, steps of a batch, and how many processes.
        ledger: watches the policy's network, and books the passes of all processes.
        seed: of the run; every process has a seed of its own, made from it.
    """

    def __init__(
        self,
        make: Callable[..., BatchEnv],
        policy: RecursionPolicy,
        config: CollectorConfig,
        ledger: Ledger,
        seed: int,
    ) -> None:
        self._make, self._config, self._ledger = make, config, ledger
        self._policy = CountedPolicy(policy, ledger)
        self._beginnings: list[Any] = [_seed(seed, number) for number in range(config.workers)]
        self._collector: BaseCollector | None = None
        self._finished = 0

    @property
    def puzzles_begun(self) -> int:
        """Training puzzles begun so far: those finished and those in work."""
        return self._finished + self._config.num_envs

    @property
    def episodes(self) -> dict[str, Tensor]:
        """Where the rows of the first process stand, by the names of the environment's keys."""
        return self.state_dict()["environment"]["workers"][0]["environment"]["episodes"]

    def __iter__(self) -> WorkerCollection:
        return self

    def __next__(self) -> TensorDictBase:
        if self._collector is None:
            self._begin()
        batch = next(self._batches).flatten(0, 1).exclude("collector")
        self._ledger.book("collect", int(batch["passes"].sum()))
        self._finished += int(batch["next", "done"].sum())
        return batch

    def send_weights(self, updates: int) -> None:
        """Send the policy's weights, those after so many updates, to all processes."""
        self._policy.updates.fill_(updates)
        if self._collector is not None:
            self._collector.update_policy_weights_()

    def state_dict(self) -> dict[str, Any]:
        """Where the episodes of every process stand, with its generators, and how many were finished."""
        if self._collector is None:
            self._begin()
        states = self._collector.map_fn("env.snapshot")
        return {"environment": {"workers": states}, "finished_puzzles": self._finished}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; before the first batch."""
        self._beginnings = state["environment"]["workers"]
        self._finished = state["finished_puzzles"]

    def close(self) -> None:
        """End the processes."""
        if self._collector is not None:
            self._collector.shutdown()

    def _begin(self) -> None:
        # Late: processes begin with the episodes of `load_state_dict`, and the weights that were loaded.
        rows = self._config.num_envs // self._config.workers
        self._collector = self._start([partial(_environment, self._make, rows, begin) for begin in self._beginnings])
        self._batches = iter(self._collector)

    def _start(self, environments: list[Callable[[], WorkerEnvironment]]) -> BaseCollector:
        """A collector of batches `[workers, rows, steps]`, with a process for each environment, in their order."""
        # TorchRL, in the new processes, waits a minute for the first weights, which are sent once all have started.
        os.environ.setdefault("WEIGHT_SYNC_TIMEOUT", "1800")
        return MultiSyncCollector(
            environments,
            self._policy,
            frames_per_batch=self._config.num_envs * self._config.steps_per_batch,
            total_frames=-1,
            cat_results="stack",
            use_buffers=False,
            device="cpu",
            auto_register_policy_transforms=False,
            init_fn=leave_signals,
        )


def _seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def leave_signals() -> None:
    """A Ctrl-C reaches all processes of a terminal; who collects goes on until the program that it works for ends."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _environment(make: Callable[..., BatchEnv], rows: int, beginning: int | dict[str, Any]) -> WorkerEnvironment:
    """The environment of a process, from a seed or from the state that it had."""
    environment = WorkerEnvironment(make(num_envs=rows))
    if isinstance(beginning, int):
        torch.manual_seed(beginning)
        environment.set_seed(beginning)
    else:
        environment.vector.load_state_dict(beginning["environment"])
        torch.set_rng_state(_bytes(beginning["random"]))
    return environment


def _bytes(state: Tensor) -> Tensor:
    return state.to(torch.uint8).cpu()
