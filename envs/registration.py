"""Which puzzles there are, and under which Gymnasium ids.

Gymnasium's own registry is the only list; every entry is plain data (an id and where the puzzle's class is), so that
importing this package imports no puzzle. Nothing here needs torch; `latent_rl.envs.making` makes the puzzles.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import gymnasium

from latent_rl.envs.errors import PuzzleError

if TYPE_CHECKING:
    from latent_rl.envs.puzzle import Puzzle

BUILT_IN = {
    "latent_rl/Sudoku-v0": "latent_rl.envs.sudoku:Sudoku",
    "latent_rl/NQueens-v0": "latent_rl.envs.nqueens:NQueens",
    "latent_rl/Maze-v0": "latent_rl.envs.maze:Maze",
    "latent_rl/Arc-v0": "latent_rl.envs.arc:Arc",
    "latent_rl/Grid-v0": "latent_rl.envs.grid:Grid",
}
"""The puzzles of this package."""

REASONING_GYM = {
    "arc_1d": "latent_rl.envs.reasoning_gym:Arc1D",
    "binary_matrix": "latent_rl.envs.reasoning_gym:BinaryMatrix",
    "futoshiki": "latent_rl.envs.reasoning_gym:Futoshiki",
    "game_of_life": "latent_rl.envs.reasoning_gym:GameOfLife",
    "kakurasu": "latent_rl.envs.reasoning_gym:Kakurasu",
    "mini_sudoku": "latent_rl.envs.reasoning_gym:MiniSudoku",
    "rotate_matrix": "latent_rl.envs.reasoning_gym:RotateMatrix",
    "sudoku": "latent_rl.envs.reasoning_gym:FullSudoku",
    "survo": "latent_rl.envs.reasoning_gym:Survo",
}
"""Tasks of the package reasoning-gym that are puzzles here: `reasoning_gym:TASK`, for Gymnasium
`reasoning_gym/TASK-v0`."""

_REASONING_GYM = "reasoning_gym:"

ENTRY_POINT_GROUP = "latent_rl.puzzles"
"""Installed packages add puzzles under this group: the entry point's name is the id, its value `module:Class`."""

_SINGLE_FACE = "latent_rl.envs.mdp.single:LatentRecursionEnv"
_VECTOR_FACE = "latent_rl.envs.mdp.vector:LatentRecursionVectorEnv"

logger = logging.getLogger(__name__)


def register_puzzle(id: str, puzzle: Callable[..., Puzzle] | str) -> None:
    """Make a puzzle available to `gymnasium.make`, `gymnasium.make_vec` and `puzzle_from_id`.

    Args:
        id: a Gymnasium id such as `"MyPuzzle-v0"` or `"my_package/MyPuzzle-v0"`.
        puzzle: the puzzle's class (or any callable that makes one), or where it is: `"module:Class"`.

    Raises:
        PuzzleError: if `puzzle` is neither.
        gymnasium.error.Error: if the id is malformed.
    """
    if isinstance(puzzle, str):
        if not is_class_path(puzzle):
            raise PuzzleError(f"{id}: {puzzle!r} does not say where the puzzle's class is; write 'module:Class'")
    elif not callable(puzzle):
        raise PuzzleError(f"{id}: expected a Puzzle class or 'module:Class', got {puzzle!r}")
    gymnasium.register(id, entry_point=_SINGLE_FACE, vector_entry_point=_VECTOR_FACE, kwargs={"puzzle": puzzle})


def is_class_path(text: str) -> bool:
    """Whether a text says where a class is, `"module:Class"`; `MyPuzzle-v0` in `"module:MyPuzzle-v0"` is an id."""
    module, _, name = text.partition(":")
    return bool(module) and name.isidentifier()


def is_reasoning_gym(id: str) -> bool:
    """Whether an id names a task of reasoning-gym, `reasoning_gym:TASK`; no module is imported for it."""
    return id.startswith(_REASONING_GYM)


def reasoning_gym_id(id: str) -> str:
    """The Gymnasium id of `reasoning_gym:TASK`.

    Raises:
        PuzzleError: if the task is none of those that are puzzles here; the message names the nearest.
    """
    task = id.removeprefix(_REASONING_GYM)
    if task not in REASONING_GYM:
        raise PuzzleError(f"{id[:100]}: no such puzzle" + suggestion(task, sorted(REASONING_GYM)))
    return f"reasoning_gym/{task}-v0"


def suggestion(name: str, known: list[str]) -> str:
    """The end of an error message: the nearest known name, if one is near, and all of them."""
    nearest = difflib.get_close_matches(name[:100], known, n=1)
    did_you_mean = f"; did you mean {nearest[0]!r}?" if nearest else ";"
    return f"{did_you_mean} known: {', '.join(known) or 'none'}"


def register_built_ins() -> None:
    """Register the puzzles of this package; nothing of them is imported before it is made."""
    for id, puzzle in BUILT_IN.items():
        register_puzzle(id, puzzle)
    for task, puzzle in REASONING_GYM.items():
        register_puzzle(reasoning_gym_id(_REASONING_GYM + task), puzzle)


def register_entry_points() -> None:
    """Register the puzzles that installed packages declare; nothing of them is imported before it is made.

    A faulty declaration is logged and skipped: someone else's package must not keep this one from being imported.
    """
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name in gymnasium.registry:
            logger.warning("the entry point %s = %s is ignored: the id is taken", entry.name, entry.value)
            continue
        try:
            register_puzzle(entry.name, entry.value)
        except (PuzzleError, gymnasium.error.Error) as error:
            logger.warning("the entry point %s = %s is ignored: %s", entry.name, entry.value, error)


def registered_ids() -> list[str]:
    """Ids of all registered puzzles, sorted."""
    return sorted(id for id, spec in gymnasium.registry.items() if spec.vector_entry_point == _VECTOR_FACE)
