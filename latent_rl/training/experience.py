"""From collected trajectories to what an update learns from: the two modes of docs/design.md, section 5."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from tensordict import TensorDictBase
from torchrl.data import LazyTensorStorage, SamplerWithoutReplacement, TensorDictReplayBuffer

from latent_rl.agents import ALONE, GroupJudge, RecursionPolicy, StepGraph, Team
from latent_rl.envs import Puzzle

Experience = Callable[[TensorDictBase], Iterator[TensorDictBase]]
"""Turns a collected batch `[num_envs, steps]` into batches `[B]` of steps, with `logits` and `q` in the graph."""


class FusedExperience:
    """Hands on the one recursion step that was collected, together with the graph that the policy left of it.

    Args:
        graph: where the policy leaves it.
        puzzle: judges the likeliest answers, if others are sampled.
        judge: of sampled answers, if answers are sampled.
        averaged: takes the steps once more, with the averaged network, for losses that read `averaged_logits`.
    """

    def __init__(
        self,
        graph: StepGraph,
        puzzle: Puzzle,
        judge: GroupJudge | None = None,
        averaged: RecursionPolicy | None = None,
    ) -> None:
        self.graph = graph
        self.puzzle = puzzle
        self.judge = judge
        self.averaged = averaged

    def __call__(self, batch: TensorDictBase) -> Iterator[TensorDictBase]:
        """The collected steps `[B, 1]` as one batch `[B]`, with what losses read (`readouts`) in the graph."""
        if batch.ndim != 2 or batch.shape[1] != 1:
            raise ValueError(f"fused experience is one collected step, [num_envs, 1]; got {list(batch.shape)}")
        output = self.graph.take()
        steps = batch.squeeze(-1).update(output.readouts)
        if self.judge is not None:
            # The group has what was sampled; the heads learn of the answer that an evaluation would take.
            steps.set("answer", output.logits.argmax(-1))
            steps = self.judge(_judged_anew(steps, self.puzzle))
        yield _with_averaged_logits(steps, self.averaged)


class ReplayExperience:
    """Shuffles trajectories into minibatches and takes their recursion steps again, from the stored latents.

    Today's answers are judged anew: whether the stored ones were solved says nothing about them.

    Args:
        policy: takes the steps, with gradient.
        puzzle: judges the answers.
        minibatch_size: recursion steps in a minibatch, of this process.
        epochs: how often each collected step is learned from.
        prepare: called once on the trajectories `[num_envs, steps]`, in place, for what needs whole episodes, such as
            value targets.
        judge: of sampled answers, if answers are sampled.
        averaged: as in `FusedExperience`.
        team: shuffles what all of it has collected, and every process learns from its share of each minibatch.
    """

    def __init__(
        self,
        policy: RecursionPolicy,
        puzzle: Puzzle,
        minibatch_size: int,
        epochs: int,
        prepare: Sequence[Callable[[TensorDictBase], object]] = (),
        judge: GroupJudge | None = None,
        averaged: RecursionPolicy | None = None,
        team: Team = ALONE,
    ) -> None:
        self.team = team
        self.policy = policy
        self.puzzle = puzzle
        self.minibatch_size = minibatch_size
        self.epochs = epochs
        self.prepare = prepare
        self.judge = judge
        self.averaged = averaged
        self._buffer: TensorDictReplayBuffer | None = None

    def __call__(self, batch: TensorDictBase) -> Iterator[TensorDictBase]:
        """Minibatches `[M]` of the trajectories `[num_envs, steps]`, taken again with `logits` and `q` in the graph."""
        for prepare in self.prepare:
            prepare(batch)
        collected = self.team.gather_steps(batch).reshape(-1)
        if self._buffer is None:
            self._buffer = TensorDictReplayBuffer(
                storage=LazyTensorStorage(len(collected), device=collected["y"].device),
                sampler=SamplerWithoutReplacement(drop_last=False),
                batch_size=min(self.minibatch_size * self.team.world_size, len(collected)),
            )
        self._buffer.empty()
        self._buffer.extend(collected)
        for _ in range(self.epochs):
            for minibatch in self._buffer:
                steps = _judged_anew(self.policy.replay(self.team.part(minibatch)), self.puzzle)
                steps = steps if self.judge is None else self.judge(steps)
                yield _with_averaged_logits(steps, self.averaged)


def _judged_anew(steps: TensorDictBase, puzzle: Puzzle) -> TensorDictBase:
    """The steps, of which `("next", "solved")` now speaks of their `answer`."""
    solved = puzzle.judge(steps["inputs"], steps["answer"], steps["solution"])
    return steps.set("next", steps["next"].copy().set("solved", solved))


@torch.no_grad()
def _with_averaged_logits(steps: TensorDictBase, averaged: RecursionPolicy | None) -> TensorDictBase:
    return steps if averaged is None else steps.set("averaged_logits", averaged.replay(steps)["logits"])
