"""The single faces of the decision processes: a `gymnasium.Env` over numpy, a batch of one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from latent_rl.envs.making import make_puzzle
from latent_rl.envs.mdp.config import MDPConfig, shows_fields, split_options
from latent_rl.envs.mdp.contract import gymnasium_space
from latent_rl.envs.mdp.dynamics import Episodes, Rules, make_dynamics
from latent_rl.envs.mdp.sampler import Sampler
from latent_rl.envs.puzzle import Puzzle, Split


class SingleEnv(gymnasium.Env):
    """One episode of a decision process over numpy, a batch of one: what both single faces share.

    Attributes:
        config_type: of what the process is told beside its puzzle.
        make_dynamics: makes the rules from a puzzle, such a configuration and a device.
    """

    config_type: ClassVar[type]
    make_dynamics: ClassVar[Callable[..., Any]]

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 2}

    def __init__(
        self,
        puzzle: Puzzle | Callable[..., Puzzle] | str,
        *,
        config: Any = None,
        split: Split = "train",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"unknown render_mode {render_mode!r}; known: None, 'ansi'")
        device = torch.device("cpu")
        config, puzzle_options = split_options(config, options, self.config_type)
        self.puzzle = make_puzzle(puzzle, **puzzle_options)
        self.render_mode = render_mode
        self.dynamics = self.make_dynamics(self.puzzle, config, device)
        self.observation_space = observation_space(self.dynamics)
        self.action_space = action_space(self.dynamics)
        self._sampler = Sampler(self.puzzle, split, device)
        self._seeded = False
        self._state: Episodes | None = None
        self._ended = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; `options["index"]` picks the instance of the split.

        Raises:
            ValueError: on an unknown option or an index out of range.
        """
        super().reset(seed=seed)
        options = check_options(options, {"index"})
        if seed is not None or not self._seeded:
            self._sampler.seed(seed_from(self.np_random))
            self._seeded = True
        if "index" in options:
            self._state = self.dynamics.start(*self._sampler.pick(options["index"], 1))
        else:
            self._state = self.dynamics.start(*self._sampler.draw(1))
        self._ended = False
        return _single(self._state.observation), _single(self._state.info)

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take one recursion step.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset` and after the end of an episode.
            ValueError: if a part of the action has a wrong shape.
        """
        if self._state is None or self._ended:
            raise gymnasium.error.ResetNeeded("call reset() before step(): no episode is running")
        # Copies, because callers may reuse their arrays.
        batch = {key: torch.as_tensor(np.array(value)[None]) for key, value in action.items()}
        transition = self.dynamics.step(self._state, **check_action(batch, self.dynamics, 1))
        self._state = transition.state
        terminated, truncated = bool(transition.terminated), bool(transition.truncated)
        self._ended = terminated or truncated
        return (
            _single(self._state.observation),
            float(transition.reward),
            terminated,
            truncated,
            _single(self._state.info),
        )

    def render(self) -> str | None:
        """The puzzle beside the current answer, as text, if `render_mode` is `"ansi"`."""
        if self.render_mode is None:
            gymnasium.logger.warn('render() draws nothing without a render mode: make(id, render_mode="ansi")')
            return None
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before render(): there is no puzzle yet")
        return render_state(self.dynamics, self._state, row=0)


class LatentRecursionEnv(SingleEnv):
    """One puzzle, answered by applying a tiny network again and again to its own latents.

    ## Description

    A recursive reasoner carries two latents: `y`, the embedded current answer, and `z`, a scratchpad. One step of
    this environment is one recursion step of the agent: it looks at the puzzle and at `(y, z)`, computes new latents,
    decodes an answer, and says whether to stop. The transition is deterministic: the new latents are the action's.
    Below, `L` is the number of cells, `P` is `positions`, `D` is `width` and `V` is the puzzle's vocabulary size.

    ## Action Space

    A `Dict`:

    | key | space | meaning |
    | --- | --- | --- |
    | `next_y` | `Box` float32 `[P + L, D]` | the new embedded answer |
    | `next_z` | `Box` float32 `[P + L, D]` | the new scratchpad |
    | `answer` | `MultiDiscrete` int64 `[L]`, each below `V` | the answer decoded from `next_y` |
    | `halt` | `Discrete(2)` | 1 to stop with this answer |

    ## Observation Space

    A `Dict`, without the solution:

    | key | space | meaning |
    | --- | --- | --- |
    | `inputs` | `MultiDiscrete` int64 `[L]`, each below `V` | the tokens that were given |
    | `puzzle_id` | `Discrete` | row of the puzzle-embedding table; 0 for puzzles without one |
    | `y` | `Box` float32 `[P + L, D]` | the embedded current answer |
    | `z` | `Box` float32 `[P + L, D]` | the scratchpad |
    | `step` | `Discrete(max_steps + 1)` | recursion steps already taken |

    The latents are bounded by `sqrt(D)`, because they leave the network through an RMS norm (see
    `Dynamics.latent_bound`).

    ## Rewards

    `Phi(after) - Phi(before) - pass_cost * passes_per_step` with `Phi = quality + solve_bonus * [solved]`. The answer
    before the first step is the inputs themselves. See `Reward`; any callable of its signature can take its place.

    ## Starting State

    `y` and `z` are the initial latents, `step` is 0, and the puzzle is the next one of a random permutation of the
    split (a new permutation after each epoch), under a random symmetry if the split is `train` and the puzzle
    has any. `reset(options={"index": i})` picks instance `i` of the split instead, as it is.

    ## Episode End

    Termination: the action's `halt` is 1, or the answer is solved and the episode is one of the share
    `terminate_on_solved` that end then.
    Truncation: `max_steps` steps were taken, and the last one did not terminate.

    ## Information

    Privileged: losses and metrics may read it, a policy may not. `reset` and `step` return the same keys.

    | key | type | meaning |
    | --- | --- | --- |
    | `solution` | int64 `[L]` | the answer key; `IGNORE` (-100) where a cell does not count |
    | `solved` | bool | whether the current answer obeys the puzzle's own rule and keeps its givens |
    | `quality` | float | how good the current answer is, in [0, 1] |
    | `violations` | float | how much of the rule the current answer breaks; 0 if it is solved |
    | `episode_seed` | int | a 62-bit number, for whatever randomness must last an episode |
    | `ends_when_solved` | bool | whether this episode terminates once it is solved, see `terminate_on_solved` |

    ## Arguments

    | argument | default | meaning |
    | --- | --- | --- |
    | `puzzle` | | a `Puzzle`, its class, where the class is (`"module:Class"`), or a Gymnasium id |
    | `config` | `None` | an `MDPConfig`; the arguments from `width` on are its fields and, if given, come before it |
    | `split` | `"train"` | which instances to draw: `"train"`, `"validation"` or `"test"` |
    | `render_mode` | `None` | `"ansi"`: `render()` returns the puzzle and the current answer as text |
    | `width` | 64 | width `D` of the latents |
    | `positions` | 1 | puzzle-embedding positions `P` in front of the cells; 0 if unused |
    | `max_steps` | 6 | recursion steps after which an episode is truncated |
    | `passes_per_step` | 3 | network passes of a recursion step: `cycles * (inner_updates + 1)` |
    | `reward` | `Reward()` | what a step is worth |
    | `terminate_on_solved` | 0.0 | share of episodes that end when the answer is solved; for training only |
    | `initial_latents` | zeros | `(y, z)` at the start, each float32 `[D]` or `[P + L, D]` |
    | `options` | | all other keywords go to the puzzle's class |

    Raises `PuzzleError` for an unknown option of the puzzle or bad data, `ValueError` for a size out of range.

    ## Version History

    - v0: initial version.
    """

    config_type = MDPConfig
    make_dynamics = staticmethod(make_dynamics)

    @shows_fields(MDPConfig)
    def __init__(
        self,
        puzzle: Puzzle | Callable[..., Puzzle] | str,
        *,
        config: MDPConfig | None = None,
        split: Split = "train",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(puzzle, config=config, split=split, render_mode=render_mode, **options)


def render_state(dynamics: Rules, state: Episodes, row: int) -> str:
    """One episode of a batch as text: a heading, then the puzzle and the current answer side by side."""
    boards = [dynamics.puzzle.render(tokens[row]).splitlines() for tokens in (state.inputs, state.answer)]
    indent = max(len(line) for line in boards[0])
    verdict = "solved" if state.solved[row] else "not solved"
    step, quality = int(state.step[row]), float(state.quality[row])
    heading = f"step {step}/{dynamics.config.max_steps}  quality {quality:.2f}  {verdict}"
    lines = [f"{left:<{indent}}   {right}".rstrip() for left, right in zip_longest(*boards, fillvalue="")]
    return "\n".join([heading, *lines])


def observation_space(dynamics: Rules) -> spaces.Dict:
    """Space of one episode's observations."""
    return gymnasium_space(dynamics.keys_of("observed"))


def action_space(dynamics: Rules) -> spaces.Dict:
    """Space of one episode's actions."""
    return gymnasium_space(dynamics.keys_of("action"))


def check_action(action: dict[str, Tensor], dynamics: Rules, batch: int) -> dict[str, Tensor]:
    """The parts of a batch of actions in the types and on the device of the dynamics, detached.

    A tensor that is already right is passed on without a copy.

    Raises:
        ValueError: if a part is missing or has a wrong shape.
    """
    checked = {}
    for key in dynamics.keys_of("action"):
        if key.name not in action:
            raise ValueError(f"the action lacks {key.name!r}; it has {', '.join(map(repr, action))}")
        value = torch.as_tensor(action[key.name], dtype=key.dtype, device=dynamics.device).detach()
        shape = (batch, *key.shape)
        if value.shape != shape:
            raise ValueError(f"the action's {key.name!r} has shape {list(value.shape)}, expected {list(shape)}")
        checked[key.name] = value
    return checked


def check_options(options: dict[str, Any] | None, known: set[str]) -> dict[str, Any]:
    """Reset options, `{}` for none; `ValueError` names an unknown one."""
    options = options or {}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueError(f"unknown reset option {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return options


def seed_from(generator: np.random.Generator) -> int:
    """A seed for the sampler, from the environment's own generator."""
    return int(generator.integers(2**63 - 1))


def _single(batch: dict[str, Tensor]) -> dict[str, Any]:
    """The only row of a batch, in numpy's types, in memory of its own."""
    row = {key: value[0].numpy().copy() for key, value in batch.items()}
    # 0-d arrays become numpy scalars, which is what `Discrete` and people expect.
    return {key: value[()] if value.ndim == 0 else value for key, value in row.items()}
