"""The Markov decision process of latent recursion as pure functions on batches of tensors.

Both faces, `LatentRecursionEnv` and `LatentRecursionVectorEnv`, are thin: whatever happens in a step or at the start
of an episode is written here, once. Nothing here keeps state, draws a random number or modifies a tensor in place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from latent_rl.envs.mdp.config import MDPConfig
from latent_rl.envs.mdp.contract import KEYS, Key, Role, Sizes, names
from latent_rl.envs.mdp.rewards import Standing
from latent_rl.envs.puzzle import Instances, Puzzle

TRUNCATED_NORMAL_BOUND = 2.3
"""Largest entry of TRM's initial latents: a normal cut at 2 and divided by its standard deviation, 0.88."""


class Episodes:
    """Where the `B` episodes of a batch are: a dataclass of tensors, called as the keys of its `table` are."""

    table: ClassVar[Mapping[str, Key]]

    @property
    def observation(self) -> dict[str, Tensor]:
        """What a policy may see."""
        return {name: getattr(self, name) for name in names("observed", self.table)}

    @property
    def info(self) -> dict[str, Tensor]:
        """What only losses and metrics may see."""
        return {name: getattr(self, name) for name in names("privileged", self.table)}

    def tensors(self) -> dict[str, Tensor]:
        """Every field by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def of_rows(self, rows: Tensor) -> Episodes:
        """The state of some of the episodes: `rows` are indices or a mask."""
        return type(self)(**{name: value[rows] for name, value in self.tensors().items()})

    def where(self, mask: Tensor, fresh: Episodes) -> Episodes:
        """A new state whose rows in `mask`, bool `[B]`, are those of `fresh`, a batch of `B` too, in new tensors."""
        replacement = fresh.tensors()

        def chosen(name: str, old: Tensor) -> Tensor:
            return torch.where(mask.view(-1, *[1] * (old.ndim - 1)), replacement[name], old)

        return type(self)(**{name: chosen(name, old) for name, old in self.tensors().items()})

    def with_rows(self, rows: Tensor, fresh: Episodes) -> Episodes:
        """A new state whose `rows` (int64 `[K]`) are those of `fresh` (a batch of `K`), in new tensors.

        Out of place, because the old tensors have been handed out as observations and a collector may hold them.
        """
        replacement = fresh.tensors()
        return type(self)(**{name: old.index_copy(0, rows, replacement[name]) for name, old in self.tensors().items()})


@dataclass(frozen=True)
class State(Episodes):
    """Where the `B` episodes of a batch are: the observed and privileged keys of the contract, and the current answer.

    Every field is called as its key is in `contract.KEYS`, which says its dtype and its shape behind `[B]`. Before the
    first step, `answer` is the inputs themselves.
    """

    table = KEYS

    inputs: Tensor
    solution: Tensor
    puzzle_id: Tensor
    y: Tensor
    z: Tensor
    answer: Tensor
    step: Tensor
    quality: Tensor
    violations: Tensor
    solved: Tensor
    episode_seed: Tensor
    ends_when_solved: Tensor


@dataclass(frozen=True)
class Transition:
    """What a step leads to: the next state, reward float32 `[B]`, terminated and truncated bool `[B]`."""

    state: Episodes
    reward: Tensor
    terminated: Tensor
    truncated: Tensor


class Rules(ABC):
    """What the dynamics of both decision processes share: their keys in the sizes of a puzzle.

    Attributes:
        state_type: of the states; its `table` are the keys.
        puzzle: holds the rule that says what is solved.
        device: where everything is kept and computed.
    """

    state_type: ClassVar[type[Episodes]]
    puzzle: Puzzle
    device: torch.device

    @property
    @abstractmethod
    def sizes(self) -> Sizes:
        """What the symbols of the contract stand for here."""

    @cached_property
    def keys(self) -> dict[str, Key]:
        """The contract's keys by name, in the sizes of this puzzle and configuration."""
        sizes = self.sizes
        return {name: key.sized(sizes) for name, key in self.state_type.table.items()}

    def keys_of(self, role: Role) -> list[Key]:
        """The keys with a role, in the contract's order."""
        return [key for key in self.keys.values() if key.role == role]


@dataclass(frozen=True)
class Dynamics(Rules):
    """The rules of the decision process for one puzzle.

    Attributes:
        puzzle: quality of answers and the rule that says what is solved.
        config: everything else that is told, see there.
        initial_y: float32 `[P + L, D]`, where `y` starts.
        initial_z: float32 `[P + L, D]`, where `z` starts.
    """

    state_type = State

    puzzle: Puzzle
    config: MDPConfig
    initial_y: Tensor
    initial_z: Tensor

    @property
    def device(self) -> torch.device:
        """Where everything is kept and computed."""
        return self.initial_y.device

    @property
    def latent_shape(self) -> tuple[int, int]:
        """`(P + L, D)`."""
        return tuple(self.initial_y.shape)

    @property
    def latent_bound(self) -> float:
        """Bound on the absolute value of a latent's entries.

        Latents leave the network through an RMS norm, so their squares sum to at most `D` and no entry exceeds
        `sqrt(D)`; the initial latents are truncated normals, which matters only for `D` of 5 and below.
        """
        return max(math.sqrt(self.latent_shape[1]), TRUNCATED_NORMAL_BOUND)

    @property
    def sizes(self) -> Sizes:
        """What the symbols of the contract stand for here."""
        length, width = self.latent_shape
        return {
            "L": self.puzzle.seq_len,
            "P + L": length,
            "D": width,
            "V": self.puzzle.vocab_size,
            "puzzle ids": max(1, self.puzzle.num_puzzle_ids),
            "max_steps + 1": self.config.max_steps + 1,
            "-bound": -self.latent_bound,
            "bound": self.latent_bound,
        }

    def start(self, instances: Instances, episode_seed: Tensor) -> State:
        """The first state of episodes on `instances` (`B` of them), with seeds int64 `[B]`."""
        batch = len(instances)
        answer = instances.inputs
        standing = self.standing(instances.inputs, answer, instances.solution)
        return State(
            inputs=instances.inputs,
            solution=instances.solution,
            puzzle_id=instances.puzzle_id,
            # Copies, not expanded views: a collector may write into its observations.
            y=self.initial_y.repeat(batch, 1, 1),
            z=self.initial_z.repeat(batch, 1, 1),
            answer=answer,
            step=torch.zeros_like(instances.puzzle_id),
            **standing._asdict(),
            episode_seed=episode_seed,
            ends_when_solved=self.ends_when_solved(episode_seed),
        )

    def standing(self, inputs: Tensor, answer: Tensor, solution: Tensor) -> Standing:
        """How far answers are, each of the arguments int64 `[B, L]`."""
        if self.puzzle.has_rule:
            violations = self.puzzle.violations(inputs, answer)
            solved = violations == 0
        else:
            solved = self.puzzle.judge(inputs, answer, solution)
            violations = (~solved).float()
        return Standing(self.puzzle.quality(answer, solution), solved, violations)

    def ends_when_solved(self, episode_seed: Tensor) -> Tensor:
        """Which episodes, bool `[B]`, the answer key ends once they are solved: their seeds, int64 `[B]`, say so."""
        # The upper 30 of the seed's 62 bits, as a uniform number in [0, 1).
        return (episode_seed >> 32) < self.config.terminate_on_solved * 2**30

    def step(self, state: State, next_y: Tensor, next_z: Tensor, answer: Tensor, halt: Tensor) -> Transition:
        """One recursion step of every episode.

        Args:
            state: where the episodes are.
            next_y: float32 `[B, P + L, D]`; becomes the state's `y`, as it is.
            next_z: float32 `[B, P + L, D]`; becomes the state's `z`, as it is.
            answer: int64 `[B, L]`, the answer decoded from `next_y`.
            halt: int64 `[B]`, 1 to stop with this answer.
        """
        after = self.standing(state.inputs, answer, state.solution)
        step = state.step + 1
        terminated = (halt == 1) | (after.solved & state.ends_when_solved)
        truncated = (step >= self.config.max_steps) & ~terminated
        before = Standing(state.quality, state.solved, state.violations)
        next_state = replace(state, y=next_y, z=next_z, answer=answer, step=step, **after._asdict())
        reward = self.config.reward(before, after, self.config.passes_per_step)
        return Transition(next_state, reward, terminated, truncated)


def make_dynamics(puzzle: Puzzle, config: MDPConfig, device: torch.device) -> Dynamics:
    """The rules for a puzzle, with the initial latents on a device.

    Raises:
        ValueError: if the initial latents do not fit the puzzle and the width.
    """
    width = config.width
    shape = (config.positions + puzzle.seq_len, width)
    given = config.initial_latents if config.initial_latents is not None else (torch.zeros(width), torch.zeros(width))
    initial_y, initial_z = (_initial(value, name, shape, device) for name, value in zip("yz", given, strict=True))
    dynamics = Dynamics(puzzle, config, initial_y, initial_z)
    largest = float(torch.stack([initial_y, initial_z]).abs().max())
    if not largest <= dynamics.latent_bound:  # written so that nan is refused too
        raise ValueError(
            f"initial_latents reach {largest:.3g}, outside the latent space of width {width}, "
            f"which is bounded by {dynamics.latent_bound:.3g}"
        )
    return dynamics


def _initial(value: Tensor, name: str, shape: tuple[int, int], device: torch.device) -> Tensor:
    """An initial latent as float32 of `shape` `(P + L, D)`, given as `[D]` or `[P + L, D]`."""
    if tuple(value.shape) not in (shape, shape[1:]):
        raise ValueError(
            f"the initial latent {name} has shape {list(value.shape)}, expected {list(shape[1:])} or {list(shape)}"
        )
    return value.detach().to(device, torch.float32).expand(shape).contiguous()
