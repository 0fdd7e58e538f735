"""The batched faces of the decision processes: a `gymnasium.vector.VectorEnv` over torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import gymnasium
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from latent_rl.envs.making import make_puzzle
from latent_rl.envs.mdp.config import MDPConfig, shows_fields, split_options
from latent_rl.envs.mdp.dynamics import Episodes, make_dynamics
from latent_rl.envs.mdp.sampler import Sampler
from latent_rl.envs.mdp.single import (
    SingleEnv,
    action_space,
    check_action,
    check_options,
    observation_space,
    render_state,
    seed_from,
)
from latent_rl.envs.puzzle import Puzzle, Split

_NAMES_BEFORE = {"solutions": "solution", "puzzle_ids": "puzzle_id", "answers": "answer"}
"""Fields of a state as checkpoints of version 0.1.0 name them."""


class Team(Protocol):
    """Processes that hold equally many rows each: which of them this is, and what all of them hold."""

    rank: int
    world_size: int

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all, in the order of the ranks, of each one's own."""

    def part(self, rows: Any) -> Any:
        """One's own of the rows of all."""


class BatchEnv(VectorEnv):
    """Episodes of a decision process over torch tensors, stepped together: what both vector faces share.

    What differs from a vector of single environments:

    - Observations, rewards, flags and infos are tensors on `device`, with `num_envs` in front. Actions may be tensors
      or arrays. The instances of the split are kept on the device too.
    - An episode that has ended waits for `reset(options={"reset_mask": mask})`, with a bool tensor or array
      `[num_envs]` (`AutoresetMode.DISABLED`): no terminal observation is lost. Stepping a row that has ended is a
      mistake that is not looked for, because looking would wait for the device.
    - Every row has every info key, so there are no masks such as `_solution`.
    - Tensors that were handed out are never modified; those of an action become the next observation without a
      copy, so whoever made them must not modify them either.
    - `state_dict` and `load_state_dict` save and restore running episodes bit for bit.

    Attributes:
        config_type: of what the process is told beside its puzzle.
        make_dynamics: makes the rules from a puzzle, such a configuration and a device.
        team: of processes that hold as many rows each, if there is one, set before the first reset. All of them draw
            the puzzles of all rows, in the order of the ranks, and keep their own: a row gets what it would get from
            one process.
        masked_resets: whether a partial reset draws a puzzle for every row and keeps those of `reset_mask`, so that
            nobody waits to be told how many these are. So it is on every device but the CPU, where drawing takes time
            and waiting none. The order of the puzzles is kept either way.
    """

    config_type: ClassVar[type]
    make_dynamics: ClassVar[Callable[..., Any]]

    metadata: ClassVar[dict[str, Any]] = {
        **SingleEnv.metadata,
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    autoreset_mode = AutoresetMode.DISABLED  # where TorchRL looks for it

    team: Team | None = None

    def __init__(
        self,
        puzzle: Puzzle | Callable[..., Puzzle] | str,
        *,
        num_envs: int,
        device: torch.device | str = "cpu",
        config: Any = None,
        split: Split = "train",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"unknown render_mode {render_mode!r}; known: None, 'ansi'")
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.render_mode = render_mode
        config, puzzle_options = split_options(config, options, self.config_type)
        self.puzzle = make_puzzle(puzzle, **puzzle_options)
        self.dynamics = self.make_dynamics(self.puzzle, config, self.device)
        self.single_observation_space = observation_space(self.dynamics)
        self.single_action_space = action_space(self.dynamics)
        self.masked_resets = self.device.type != "cpu"
        self._sampler = Sampler(self.puzzle, split, self.device)
        self._seeded = False
        self._state: Episodes | None = None
        self._restored = False

    @cached_property
    def observation_space(self) -> spaces.Dict:
        """Space of a batch of observations, made when it is asked for: at ARC's size it takes gigabytes."""
        return batch_space(self.single_observation_space, self.num_envs)

    @cached_property
    def action_space(self) -> spaces.Dict:
        """Space of a batch of actions, made when it is asked for."""
        return batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Start new episodes, in all rows or in those of `options["reset_mask"]`.

        `options["index"]` picks their instances: an index for each row that is reset, in order. The first full
        reset after `load_state_dict`, if it has neither a seed nor options, returns the restored episodes as they are:
        a new TorchRL collector begins with a reset, and a resumed run must not lose its episodes to it.

        Raises:
            ValueError: on an unknown option, a malformed mask, or an index out of range.
        """
        super().reset(seed=seed)
        options = check_options(options, {"index", "reset_mask"})
        mask = options.get("reset_mask")
        resume = self._restored and seed is None and not options
        self._restored = False
        if not resume:
            if seed is not None or not self._seeded:
                self._sampler.seed(seed_from(self.np_random))
                self._seeded = True
            if mask is None:
                self._state = self._start(self.num_envs, options)
            else:
                self._state = self._restart_rows(self._check_mask(mask), options)
        return self._state.observation, self._state.info

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Take one recursion step in every row.

        Returns:
            Observations, rewards float32 `[N]`, terminated and truncated bool `[N]`, and infos.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
            ValueError: if a part of the action is missing or has a wrong shape.
        """
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before step(): no episode is running")
        transition = self.dynamics.step(self._state, **check_action(actions, self.dynamics, self.num_envs))
        self._state = transition.state
        self._restored = False
        return (
            self._state.observation,
            transition.reward,
            transition.terminated,
            transition.truncated,
            self._state.info,
        )

    def render(self) -> tuple[str, ...] | None:
        """Every row as text, if `render_mode` is `"ansi"`."""
        if self.render_mode is None:
            gymnasium.logger.warn('render() draws nothing without a render mode: make_vec(id, render_mode="ansi")')
            return None
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before render(): there is no puzzle yet")
        return tuple(render_state(self.dynamics, self._state, row) for row in range(self.num_envs))

    def state_dict(self) -> dict[str, Any]:
        """Running episodes, random order and generator: what a resumed run needs to go on bit for bit.

        The tensors are the environment's own and are never modified; the dictionary can be saved with `torch.save`
        and loaded with `weights_only=True`.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
        """
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before state_dict(): there are no episodes yet")
        return {"episodes": self._state.tensors(), "sampler": self._sampler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the episodes of `state_dict`; see `reset` for how a collector picks them up.

        Raises:
            ValueError: if the state was saved with other shapes, other instances or on another kind of device.
        """
        episodes = self._of_today(state["episodes"])
        names = {field.name for field in fields(self.dynamics.state_type)}
        if episodes.keys() != names:
            different = ", ".join(sorted(episodes.keys() ^ names))
            raise ValueError(f"the saved episodes do not fit this environment: they hold other keys ({different})")
        for name, value in episodes.items():
            expected = (self.num_envs, *self.dynamics.keys[name].shape)
            if tuple(value.shape) != expected:
                raise ValueError(
                    f"the saved episodes do not fit this environment: {name} has shape {list(value.shape)}, "
                    f"expected {list(expected)}"
                )
        self._sampler.load_state_dict(state["sampler"])
        self._state = self.dynamics.state_type(**{name: value.to(self.device) for name, value in episodes.items()})
        self._seeded = True
        self._restored = True

    @property
    def episodes(self) -> Episodes:
        """The running episodes. Who sets them makes these the running ones.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
        """
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() first: there are no episodes yet")
        return self._state

    @episodes.setter
    def episodes(self, episodes: Episodes) -> None:
        self._state = episodes

    @property
    def generator(self) -> torch.Generator:
        """Where all draws come from."""
        return self._sampler.generator

    def lay_ahead(self) -> None:
        """See to what the next masked reset will need, so that it is the same program every time: see `Sampler`."""
        self._sampler.lay_ahead(self.num_envs)

    def start_from(self, reasoner: Any) -> None:
        """Let new episodes begin as they do for a reasoner; running ones go on.

        A network whose weights were loaded after the environment was made begins otherwise than the environment knows.

        Raises:
            ValueError: if a shape does not fit.
        """
        config = replace(self.dynamics.config, **self.config_type.beginning(reasoner))
        self.dynamics = self.make_dynamics(self.puzzle, config, self.device)

    def _of_today(self, episodes: dict[str, Tensor]) -> dict[str, Tensor]:
        """Saved episodes of any version under the names of today."""
        return episodes

    def _start(self, count: int, options: dict[str, Any]) -> Episodes:
        if "index" in options:
            return self.dynamics.start(*self._sampler.pick(options["index"], count))
        if self.team is None:
            return self.dynamics.start(*self._sampler.draw(count))
        drawn = self._sampler.draw(count * self.team.world_size)
        return self.dynamics.start(*map(self.team.part, drawn))

    def _restart_rows(self, mask: Tensor, options: dict[str, Any]) -> Episodes:
        if self._state is None:
            raise gymnasium.error.ResetNeeded("the first reset() starts every row: call it without a reset_mask")
        if self.team is not None:
            return self._restart_rows_of_team(mask, self.team)
        if self.masked_resets and "index" not in options:
            return self._state.where(mask, self.dynamics.start(*self._sampler.draw_rows(mask)))
        rows = mask.nonzero(as_tuple=True)[0]  # which waits for the device
        count = rows.shape[0]
        if count == 0:
            return self._state
        fresh = self._start(count, options)
        return fresh if count == self.num_envs else self._state.with_rows(rows, fresh)

    def _restart_rows_of_team(self, mask: Tensor, team: Team) -> Episodes:
        everyone = team.gather(mask)
        if self.masked_resets:
            drawn = map(team.part, self._sampler.draw_rows(everyone))
            return self._state.where(mask, self.dynamics.start(*drawn))
        before, count = (int(rows.sum()) for rows in (everyone[: team.rank * self.num_envs], mask))
        if not everyone.any():
            return self._state
        instances, seeds = self._sampler.draw(int(everyone.sum()))
        if not count:
            return self._state
        own = slice(before, before + count)
        return self._state.with_rows(mask.nonzero(as_tuple=True)[0], self.dynamics.start(instances[own], seeds[own]))

    def _check_mask(self, mask: Any) -> Tensor:
        mask = torch.as_tensor(mask, device=self.device)
        if mask.dtype != torch.bool or mask.shape != (self.num_envs,):
            raise ValueError(
                f"options['reset_mask'] must be bool [{self.num_envs}], got {mask.dtype} {list(mask.shape)}"
            )
        return mask


class LatentRecursionVectorEnv(BatchEnv):
    """`num_envs` episodes of `LatentRecursionEnv`, whose docstring is the manual, stepped together.

    `BatchEnv` says what differs from a vector of single environments.

    Args:
        puzzle: as in `LatentRecursionEnv`, and so are all arguments not listed here.
        num_envs: episodes in the batch.
        device: where everything is kept and computed.

    Raises:
        PuzzleError: for an unknown option of the puzzle or bad data.
        ValueError: for a size out of range.
    """

    config_type = MDPConfig
    make_dynamics = staticmethod(make_dynamics)

    @shows_fields(MDPConfig)
    def __init__(
        self,
        puzzle: Puzzle | Callable[..., Puzzle] | str,
        *,
        num_envs: int,
        device: torch.device | str = "cpu",
        config: MDPConfig | None = None,
        split: Split = "train",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        given = {"num_envs": num_envs, "device": device, "config": config, "split": split, "render_mode": render_mode}
        super().__init__(puzzle, **given, **options)

    def _of_today(self, episodes: dict[str, Tensor]) -> dict[str, Tensor]:
        episodes = {_NAMES_BEFORE.get(name, name): value for name, value in episodes.items()}
        if "ends_when_solved" not in episodes and "episode_seed" in episodes:  # saved before there was such a key
            episodes["ends_when_solved"] = self.dynamics.ends_when_solved(episodes["episode_seed"])
        if "violations" not in episodes and {"inputs", "answer", "solution"} <= episodes.keys():
            texts = (episodes[name] for name in ("inputs", "answer", "solution"))
            episodes["violations"] = self.dynamics.standing(*texts).violations
        return episodes
