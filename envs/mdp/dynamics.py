"""The Markov decision process of latent recursion as pure functions on batches of tensors.

Both faces, `LatentRecursionEnv` and `LatentRecursionVectorEnv`, are thin: whatever happens in a step or at the start
of an episode is written here, once. Nothing here keeps state, draws a random number or modifies a tensor in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from latent_rl.envs.mdp.rewards import Standing
from latent_rl.envs.puzzle import Instances, Puzzle

TRUNCATED_NORMAL_BOUND = 2.3
"""Largest entry of TRM's initial latents: a normal cut at 2 and divided by its standard deviation, 0.88."""


@dataclass(frozen=True)
class State:
    """Where the `B` episodes of a batch are. `L` cells, `P` puzzle-embedding positions, width `D`.

    Attributes:
        inputs: int64 `[B, L]`, the tokens that were given.
        solution: int64 `[B, L]`, the answer key (privileged).
        puzzle_id: int64 `[B]`.
        y: float32 `[B, P + L, D]`, the embedded current answer.
        z: float32 `[B, P + L, D]`, the scratchpad.
        answer: int64 `[B, L]`, the current answer; before the first step, the inputs themselves.
        step: int64 `[B]`, recursion steps taken.
        quality: float32 `[B]`, of `answer` (privileged).
        solved: bool `[B]`, whether `answer` is solved (privileged).
        episode_seed: int64 `[B]`, a 62-bit number for whatever randomness must last an episode (privileged).
    """

    inputs: Tensor
    solution: Tensor
    puzzle_id: Tensor
    y: Tensor
    z: Tensor
    answer: Tensor
    step: Tensor
    quality: Tensor
    solved: Tensor
    episode_seed: Tensor

    @property
    def observation(self) -> dict[str, Tensor]:
        """What a policy may see."""
        return {
            "inputs": self.inputs,
            "puzzle_id": self.puzzle_id,
            "y": self.y,
            "z": self.z,
            "step": self.step,
        }

    @property
    def info(self) -> dict[str, Tensor]:
        """What only losses and metrics may see."""
        return {
            "solution": self.solution,
            "solved": self.solved,
            "quality": self.quality,
            "episode_seed": self.episode_seed,
        }

    def tensors(self) -> dict[str, Tensor]:
        """Every field by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def with_rows(self, rows: Tensor, fresh: State) -> State:
        """A new state whose `rows` (int64 `[K]`) are those of `fresh` (a batch of `K`), in new tensors.

        Out of place, because the old tensors have been handed out as observations and a collector may hold them.
        """
        replacement = fresh.tensors()
        return State(**{name: old.index_copy(0, rows, replacement[name]) for name, old in self.tensors().items()})


@dataclass(frozen=True)
class Transition:
    """What a step leads to: the next state, reward float32 `[B]`, terminated and truncated bool `[B]`."""

    state: State
    reward: Tensor
    terminated: Tensor
    truncated: Tensor


@dataclass(frozen=True)
class Dynamics:
    """The rules of the decision process for one puzzle.

    Attributes:
        puzzle: quality of answers and the rule that says what is solved.
        initial_y: float32 `[P + L, D]`, where `y` starts.
        initial_z: float32 `[P + L, D]`, where `z` starts.
        max_steps: recursion steps after which an episode is truncated.
        passes_per_step: network passes that one recursion step costs, `cycles * (inner_updates + 1)`.
        reward: callable `(before, after, passes) -> float32 [B]`, see `rewards.Reward`.
        terminate_on_solved: share of episodes, in [0, 1], that end when their answer is solved; the episode's seed
            says which. The others go on to `max_steps`, so that a policy sees what its later steps do to a right
            answer: without them it unlearns to keep one. For training only: an evaluation that stops when the key
            says so would count every puzzle that was right at any step.
    """

    puzzle: Puzzle
    initial_y: Tensor
    initial_z: Tensor
    max_steps: int
    passes_per_step: int
    reward: Callable[[Standing, Standing, int], Tensor]
    terminate_on_solved: float

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

    def start(self, instances: Instances, episode_seed: Tensor) -> State:
        """The first state of episodes on `instances` (`B` of them), with seeds int64 `[B]`."""
        batch = len(instances)
        answer = instances.inputs
        return State(
            inputs=instances.inputs,
            solution=instances.solution,
            puzzle_id=instances.puzzle_id,
            # Copies, not expanded views: a collector may write into its observations.
            y=self.initial_y.repeat(batch, 1, 1),
            z=self.initial_z.repeat(batch, 1, 1),
            answer=answer,
            step=torch.zeros_like(instances.puzzle_id),
            quality=self.puzzle.quality(answer, instances.solution),
            solved=self.puzzle.judge(instances.inputs, answer, instances.solution),
            episode_seed=episode_seed,
        )

    def step(self, state: State, next_y: Tensor, next_z: Tensor, answer: Tensor, halt: Tensor) -> Transition:
        """One recursion step of every episode.

        Args:
            state: where the episodes are.
            next_y: float32 `[B, P + L, D]`; becomes the state's `y`, as it is.
            next_z: float32 `[B, P + L, D]`; becomes the state's `z`, as it is.
            answer: int64 `[B, L]`, the answer decoded from `next_y`.
            halt: int64 `[B]`, 1 to stop with this answer.
        """
        solved = self.puzzle.judge(state.inputs, answer, state.solution)
        after = Standing(self.puzzle.quality(answer, state.solution), solved)
        step = state.step + 1
        terminated = halt == 1
        if self.terminate_on_solved:
            # The upper 30 of the seed's 62 bits, as a uniform number in [0, 1).
            ends_when_solved = (state.episode_seed >> 32) < self.terminate_on_solved * 2**30
            terminated = terminated | (after.solved & ends_when_solved)
        truncated = (step >= self.max_steps) & ~terminated
        next_state = State(
            inputs=state.inputs,
            solution=state.solution,
            puzzle_id=state.puzzle_id,
            y=next_y,
            z=next_z,
            answer=answer,
            step=step,
            quality=after.quality,
            solved=after.solved,
            episode_seed=state.episode_seed,
        )
        reward = self.reward(Standing(state.quality, state.solved), after, self.passes_per_step)
        return Transition(next_state, reward, terminated, truncated)


def make_dynamics(
    puzzle: Puzzle,
    *,
    width: int,
    positions: int,
    max_steps: int,
    passes_per_step: int,
    reward: Callable[[Standing, Standing, int], Tensor],
    terminate_on_solved: float,
    initial_latents: tuple[Tensor, Tensor] | None,
    device: torch.device,
) -> Dynamics:
    """Dynamics from the arguments that the two faces share, checked.

    Raises:
        ValueError: if a size is out of range or the initial latents do not fit it.
    """
    least = {"width": (width, 1), "positions": (positions, 0), "max_steps": (max_steps, 1)}
    least["passes_per_step"] = (passes_per_step, 1)
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")
    if not 0.0 <= terminate_on_solved <= 1.0:
        raise ValueError(f"terminate_on_solved is a share of episodes, in [0, 1]; got {terminate_on_solved}")
    shape = (positions + puzzle.seq_len, width)
    given = initial_latents if initial_latents is not None else (torch.zeros(width), torch.zeros(width))
    initial_y, initial_z = (_initial(value, name, shape, device) for name, value in zip("yz", given, strict=True))
    dynamics = Dynamics(puzzle, initial_y, initial_z, max_steps, passes_per_step, reward, terminate_on_solved)
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
