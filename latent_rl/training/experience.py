"""From collected trajectories to what an update learns from: the two modes of docs/design.md, section 5."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tensordict import TensorDictBase
from torchrl.data import LazyTensorStorage, SamplerWithoutReplacement, TensorDictReplayBuffer

from latent_rl.agents import RecursionPolicy

Experience = Callable[[TensorDictBase], Iterator[TensorDictBase]]
"""Turns a collected batch `[num_envs, steps]` into batches `[B]` of steps, with `logits` and `q` in the graph."""


class FusedExperience:
    """Hands on the one recursion step that was collected, together with the graph that the policy kept of it."""

    def __init__(self, policy: RecursionPolicy) -> None:
        self.policy = policy

    def __call__(self, batch: TensorDictBase) -> Iterator[TensorDictBase]:
        output = self.policy.take_output()
        yield batch.squeeze(-1).update({"logits": output.logits, "q": output.q})


class ReplayExperience:
    """Shuffles trajectories into minibatches and takes their recursion steps again, from the stored latents.

    Args:
        policy: takes the steps, with gradient.
        minibatch_size: recursion steps in a minibatch.
        epochs: how often each collected step is learned from.
        prepare: called once on the trajectories `[num_envs, steps]`, in place, for what needs whole episodes, such as
            value targets.
    """

    def __init__(
        self,
        policy: RecursionPolicy,
        minibatch_size: int,
        epochs: int,
        prepare: Callable[[TensorDictBase], object] | None,
    ) -> None:
        self.policy = policy
        self.minibatch_size = minibatch_size
        self.epochs = epochs
        self.prepare = prepare

    def __call__(self, batch: TensorDictBase) -> Iterator[TensorDictBase]:
        if self.prepare is not None:
            self.prepare(batch)
        steps = batch.reshape(-1)
        buffer = TensorDictReplayBuffer(
            storage=LazyTensorStorage(len(steps), device=steps["y"].device),
            sampler=SamplerWithoutReplacement(drop_last=False),
            batch_size=min(self.minibatch_size, len(steps)),
        )
        buffer.extend(steps)
        for _ in range(self.epochs):
            for minibatch in buffer:
                yield self.policy.replay(minibatch)
