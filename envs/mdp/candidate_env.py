"""The faces of the decision process over candidates: `CandidateEnv` for one episode, `CandidateVectorEnv` for many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from latent_rl.envs.mdp.candidates import make_candidate_dynamics
from latent_rl.envs.mdp.config import CandidateConfig, shows_fields
from latent_rl.envs.mdp.single import SingleEnv
from latent_rl.envs.mdp.vector import BatchEnv
from latent_rl.envs.puzzle import Puzzle, Split


class CandidateEnv(SingleEnv):
    """One puzzle, solved by removing candidates: the symbols that a cell can no longer turn out to hold.

    ## Description

    The state says for every cell which symbols are still possible. One step of this environment is one deduction step
    of the agent: it removes the candidates that it is sure about, and may pin one cell to a symbol, a guess. A
    contradiction starts the puzzle anew within the episode. Below, `L` is the number of cells and `V` the puzzle's
    vocabulary size.

    ## Action Space

    A `Dict`:

    | key | space | meaning |
    | --- | --- | --- |
    | `keep` | `Box` bool `[L, V]` | False for candidates that go; all False says that the agent has seen a conflict |
    | `branch_cell` | `Discrete(L + 1)` | the cell that is pinned after that; `L` for none |
    | `branch_symbol` | `Discrete(V)` | the symbol that it is pinned to |

    ## Observation Space

    A `Dict`, without the solution:

    | key | space | meaning |
    | --- | --- | --- |
    | `inputs` | `MultiDiscrete` int64 `[L]`, each below `V` | the tokens that were given |
    | `puzzle_id` | `Discrete` | row of the puzzle-embedding table; 0 for puzzles without one |
    | `candidates` | `Box` bool `[L, V]` | the symbols that are still possible |
    | `given` | `Box` bool `[L]` | cells that had one candidate from the start; no step touches them |
    | `step` | `Discrete(max_steps + 1)` | deduction steps already taken, over all restarts |
    | `restarts` | `Discrete(max_steps + 1)` | how often the puzzle was started anew |

    ## Rewards

    `Phi(after) - Phi(before) - pass_cost * passes_per_step` with `Phi = progress + solve_bonus * [solved]`, where
    progress is the share of the surplus candidates that are gone: a restart gives back what was gained. No key is read.
    See `Reward`; any callable of its signature can take its place.

    ## Starting State

    Every cell has the symbols that its given token can turn out to be (`possible`); `step` and `restarts` are 0. Which
    puzzle it is, is drawn as in `LatentRecursionEnv`.

    ## Episode End

    Termination: every cell has one candidate, and the puzzle's own rule confirms the answer. A puzzle without a rule
    terminates at any full board: `solved` says whether it was right.
    Truncation: `max_steps` steps were taken, or the answer of the key has been lost for `lost_steps` of them, and the
    last one did not terminate.
    Neither is a conflict, a cell without a candidate or a full board that the rule refutes: it starts the puzzle anew.

    ## Information

    Privileged: losses and metrics may read it, a policy may not. `reset` and `step` return the same keys.

    | key | type | meaning |
    | --- | --- | --- |
    | `solution` | int64 `[L]` | the answer key; `IGNORE` (-100) where a cell does not count |
    | `solved` | bool | whether the board is full and right, by the puzzle's own rule or, if it has none, by the key |
    | `quality` | float | the share of the surplus candidates that are gone, in [0, 1] |
    | `violations` | float | 0 if solved, else 1 |
    | `episode_seed` | int | a 62-bit number, for whatever randomness must last an episode |
    | `lost_for` | int | for how many steps the answer of the key has been no candidate any more; 0 while it is one |

    ## Arguments

    | argument | default | meaning |
    | --- | --- | --- |
    | `puzzle` | | a `Puzzle`, its class, where the class is (`"module:Class"`), or a Gymnasium id |
    | `config` | `None` | a `CandidateConfig`; the arguments from `max_steps` on are its fields and come before it |
    | `split` | `"train"` | which instances to draw: `"train"`, `"validation"` or `"test"` |
    | `render_mode` | `None` | `"ansi"`: `render()` returns the puzzle and what is decided of it as text |
    | `max_steps` | 64 | deduction steps after which an episode is truncated |
    | `lost_steps` | `None` | steps after which an episode that has lost the answer is truncated; for training only |
    | `guided_branches` | 0.0 | share of branches that pin the symbol of the key; for training only |
    | `passes_per_step` | 8 | network passes of a deduction step |
    | `reward` | `Reward()` | what a step is worth |
    | `possible` | from training data | bool `[V, V]`, which symbols a cell can turn out to hold, by its given token |
    | `options` | | all other keywords go to the puzzle's class |

    Raises `PuzzleError` for an unknown option of the puzzle or bad data, `ValueError` for a size out of range.

    ## Version History

    - v0: initial version.
    """

    config_type = CandidateConfig
    make_dynamics = staticmethod(make_candidate_dynamics)

    @shows_fields(CandidateConfig)
    def __init__(
        self,
        puzzle: Puzzle | Callable[..., Puzzle] | str,
        *,
        config: CandidateConfig | None = None,
        split: Split = "train",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(puzzle, config=config, split=split, render_mode=render_mode, **options)


class CandidateVectorEnv(BatchEnv):
    """`num_envs` episodes of `CandidateEnv`, whose docstring is the manual, stepped together.

    `BatchEnv` says what differs from a vector of single environments.

    Args:
        puzzle: as in `CandidateEnv`, and so are all arguments not listed here.
        num_envs: episodes in the batch.
        device: where everything is kept and computed.

    Raises:
        PuzzleError: for an unknown option of the puzzle or bad data.
        ValueError: for a size out of range.
    """

    config_type = CandidateConfig
    make_dynamics = staticmethod(make_candidate_dynamics)

    @shows_fields(CandidateConfig)
    def __init__(
        self,
        puzzle: Puzzle | Callable[..., Puzzle] | str,
        *,
        num_envs: int,
        device: torch.device | str = "cpu",
        config: CandidateConfig | None = None,
        split: Split = "train",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        given = {"num_envs": num_envs, "device": device, "config": config, "split": split, "render_mode": render_mode}
        super().__init__(puzzle, **given, **options)
