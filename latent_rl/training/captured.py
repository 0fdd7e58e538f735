"""Collecting one recursion step and learning from it as one fixed program: a CUDA GPU records it and plays it again.

It is what the collector, the experience and the learner do one after the other in `fused` mode, in the same order on
the same tensors, so that no part of it exists twice. What makes it fixed: the running episodes, the order of the
puzzles and the weights stay in the tensors that they are in, nothing asks the device anything, and what the device
knows nothing of (the learning rate's schedule, laying out puzzles, counting passes) happens between two plays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.objectives import LossModule

from latent_rl.agents import RecursionPolicy
from latent_rl.errors import UserError, first_line
from latent_rl.measuring import Ledger
from latent_rl.training.collection import Collection
from latent_rl.training.experience import Experience
from latent_rl.training.learner import Learner, weighted_sum

Found = tuple[TensorDictBase, dict[str, Tensor]]
"""What an update tells: of the collected steps `[num_envs, 1]` what charts read, and the metrics."""

Recorder = Callable[[Callable[[], Found], Sequence[torch.Generator]], tuple[Found, Callable[[], object]]]
"""Takes a program and the generators that it draws from; runs it once and returns what it found, in tensors that every
later play fills anew, and what plays it."""

EAGER_UPDATES = 3
"""Updates before anything is recorded: libraries set themselves up."""

CHARTED = ("reward", "done", "step", "solved", "violations")
"""Keys of a collected step that charts read; what else it holds is overwritten by the next."""


def cuda_graph(program: Callable[[], Found], generators: Sequence[torch.Generator]) -> tuple[Found, Callable]:
    """Record a program as a CUDA graph and play it once: a `Recorder`.

    Raises:
        UserError: if a part of it cannot be recorded, such as a plug-in that asks the device something.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    try:
        with torch.cuda.graph(graph):
            found = program()
    except RuntimeError as error:
        reason = first_line(error)
        raise UserError(
            f"collector.mode=captured: an update cannot be recorded as a CUDA graph ({reason}); "
            "collector.mode=fused does without"
        ) from None
    graph.replay()
    return found, graph.replay


class CapturedUpdate:
    """Takes the place of `next(collection)` and of the update from it.

    On CUDA the first updates run as they are, on a stream of their own; then the program is recorded, and every further
    update plays it. Elsewhere every update runs as it is.

    Args:
        collection: holds the environment, whose partial resets become masked ones; counts finished puzzles.
        policy: takes the steps.
        experience: gives the step that was collected, with its graph.
        losses: what an update minimises, by name.
        weights: how much each loss counts.
        learner: was made for a recorded program.
        ledger: counts the passes of each play.
        record: records the program; by default `cuda_graph` on CUDA, and nothing elsewhere.
    """

    def __init__(
        self,
        collection: Collection,
        policy: RecursionPolicy,
        experience: Experience,
        losses: Mapping[str, LossModule],
        weights: Mapping[str, float],
        learner: Learner,
        ledger: Ledger,
        record: Recorder | None = None,
    ) -> None:
        self._collection, self._policy, self._experience = collection, policy, experience
        self._losses, self._weights, self._learner, self._ledger = losses, weights, learner, ledger
        self._environment = collection.environment
        self._vector = collection.environment.vector
        self._vector.masked_resets = True
        on_cuda = self._vector.device.type == "cuda"
        self._record = record or (cuda_graph if on_cuda else None)
        self._stream = torch.cuda.Stream(self._vector.device) if on_cuda else None
        self._begun = 0
        self._play: Callable[[], object] | None = None
        self._found: Found | None = None
        self._passes: tuple[Counter, Counter] = (Counter(), Counter())

    def __call__(self) -> Found:
        """One update; what it found stays as it is until the next."""
        if not self._begun:
            self._environment.reset()
            # Tensors of its own, which nobody else was handed.
            self._vector.episodes = _like(self._vector.episodes)
        self._vector.lay_ahead()
        if self._play is not None:
            self._play()
            self._ledger.add(*self._passes)
        elif self._record is not None and self._begun >= EAGER_UPDATES:
            self._found = self._recorded()
        else:
            self._found = self._aside()
        self._begun += 1
        self._learner.advance()
        return self._found

    def _recorded(self) -> Found:
        before = Counter(self._ledger.forward), Counter(self._ledger.backward)
        found, self._play = self._record(self._program, [self._vector.generator])
        now = self._ledger.forward, self._ledger.backward
        # Counted once while it was recorded, and so many at each play.
        self._passes = tuple(Counter(after) - earlier for after, earlier in zip(now, before, strict=True))
        return found

    def _aside(self) -> Found:
        """Run the program as it is; on CUDA in a stream of its own, or its recording would wait for the first one."""
        if self._stream is None:
            return self._program()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            found = self._program()
        torch.cuda.current_stream().wait_stream(self._stream)
        return found

    def _program(self) -> Found:
        kept = self._vector.episodes
        with self._ledger.phase("collect"), torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
            steps = self._environment.step(self._policy(self._environment.observe()))
            self._collection.count(steps)
            done = steps["next", "done"].reshape(self._environment.batch_size)
            self._vector.reset(options={"reset_mask": done})
        after, self._vector.episodes = self._vector.episodes, kept
        with self._ledger.phase("update"):
            (learned,) = self._experience(steps.unsqueeze(-1))
            total, metrics = weighted_sum({name: loss(learned) for name, loss in self._losses.items()}, self._weights)
            metrics["gradient_norm"] = self._learner.descend(total)
        for name, tensor in kept.tensors().items():
            tensor.copy_(after.tensors()[name])
        charted = {name: steps["next", name] for name in CHARTED}
        return TensorDict({"next": TensorDict(charted, steps.batch_size)}, steps.batch_size).unsqueeze(-1), metrics


def _like(episodes: Any) -> Any:
    return type(episodes)(**{name: tensor.clone() for name, tensor in episodes.tensors().items()})
