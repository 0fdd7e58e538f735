"""From collected trajectories to what an update learns from: the two modes of docs/design.md, section 5."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from tensordict import TensorDictBase
from torchrl.data import LazyTensorStorage, SamplerWithoutReplacement, TensorDictReplayBuffer

from latent_rl.agents import RecursionPolicy

Experience = Callable[[TensorDictBase], Iterator[TensorDictBase]]
"""Turns a collected batch `[num_envs, steps]` into the batches `[B]` of recursion steps to learn from."""


class FusedExperience:
    """Hands on the one recursion step that was collected, together with the graph that the policy kept of it."""

    def __init__(self, policy: RecursionPolicy) -> None:
        self.policy = policy

    def __call__(self, batch: TensorDictBase) -> Iterator[TensorDictBase]:
        step = batch.squeeze(-1)
        output = self.policy.take_output()
        yield step.set("logits", output.logits).set("q", output.q)


class ReplayExperience:
    """Shuffles a batch of trajectories into minibatches whose recursion steps the losses compute anew.

    Args:
        minibatch_size: recursion steps in a minibatch.
        epochs: how often each collected step is learned from.
        prepare: called once on the trajectories `[num_envs, steps]`, in place; it adds value targets, for instance.
        device: where the buffer lives.
    """

    def __init__(
        self,
        minibatch_size: int,
        epochs: int,
        prepare: Callable[[TensorDictBase], object],
        device: torch.device,
    ) -> None:
        self.minibatch_size = minibatch_size
        self.epochs = epochs
        self.prepare = prepare
        self.device = device
        self.buffer: TensorDictReplayBuffer | None = None

    def __call__(self, batch: TensorDictBase) -> Iterator[TensorDictBase]:
        self.prepare(batch)
        steps = batch.reshape(-1)
        if self.buffer is None:
            self.buffer = TensorDictReplayBuffer(
                storage=LazyTensorStorage(len(steps), device=self.device),
                sampler=SamplerWithoutReplacement(drop_last=False),
                batch_size=min(self.minibatch_size, len(steps)),
            )
        self.buffer.empty()
        self.buffer.extend(steps)
        for _ in range(self.epochs):
            yield from self.buffer
