"""Which puzzles there are, under which Gymnasium ids, and how they are made.

Gymnasium's own registry is the only list; every entry is plain data (an id and where the puzzle's class is), so that
importing this package imports no puzzle.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import gymnasium

from latent_rl.envs.puzzle import Puzzle, PuzzleError

BUILT_IN = {
    "latent_rl/Sudoku-v0": "latent_rl.envs.sudoku:Sudoku",
    "latent_rl/NQueens-v0": "latent_rl.envs.nqueens:NQueens",
    "latent_rl/Maze-v0": "latent_rl.envs.maze:Maze",
    "latent_rl/Arc-v0": "latent_rl.envs.arc:Arc",
}
"""The puzzles of this package."""

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
        module, _, name = puzzle.partition(":")
        if not (module and name):
            raise PuzzleError(f"{id}: {puzzle!r} does not say where the puzzle's class is; write 'module:Class'")
    elif not callable(puzzle):
        raise PuzzleError(f"{id}: expected a Puzzle class or 'module:Class', got {puzzle!r}")
    gymnasium.register(id, entry_point=_SINGLE_FACE, vector_entry_point=_VECTOR_FACE, kwargs={"puzzle": puzzle})


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


def puzzle_from_id(id: str, **options: Any) -> Puzzle:
    """The puzzle that is registered under an id, made with options.

    `"my_package.my_module:MyPuzzle-v0"` imports the module first, for puzzles that are registered there.

    Raises:
        PuzzleError: if the module cannot be imported, nothing is registered under the id (the message names the
            nearest known one), or the puzzle does not take an option.
    """
    module, colon, name = id.rpartition(":")
    if colon:
        _import(module, where=id)
    if name not in registered_ids():
        raise PuzzleError(f"no puzzle is registered as {name!r}" + _suggestion(name, registered_ids()))
    return make_puzzle(gymnasium.registry[name].kwargs["puzzle"], **options)


def make_puzzle(puzzle: Puzzle | Callable[..., Puzzle] | str, **options: Any) -> Puzzle:
    """A puzzle from what a registration or a user gives: the puzzle itself, its class, or `"module:Class"`.

    Raises:
        PuzzleError: if the class cannot be found or does not take an option (the message names those it takes).
    """
    if isinstance(puzzle, Puzzle):
        if options:
            raise PuzzleError(f"{puzzle.name} is made already and takes no options, got {', '.join(options)}")
        return puzzle
    factory = _load(puzzle) if isinstance(puzzle, str) else puzzle
    _check_options(factory, options)
    made = factory(**options)
    if not isinstance(made, Puzzle):
        raise PuzzleError(f"{_name(factory)} made a {type(made).__name__}, which is no Puzzle")
    return made


def _load(where: str) -> Callable[..., Puzzle]:
    module, _, name = where.partition(":")
    try:
        return getattr(_import(module, where), name)
    except AttributeError:
        raise PuzzleError(f"the module {module} has no {name!r} (from {where!r})") from None


def _import(module: str, where: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise PuzzleError(f"{where}: {error}") from error


def _check_options(factory: Callable[..., Puzzle], options: dict[str, Any]) -> None:
    """Compare keywords with the signature before the call, so that a TypeError from inside is never mistaken."""
    parameters = inspect.signature(factory).parameters.values()
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = [] if takes_any else [name for name in options if name not in known]
    if unknown:
        raise PuzzleError(f"{_name(factory)} has no option {unknown[0]!r}" + _suggestion(unknown[0], known))
    required = [p.name for p in parameters if p.name in known and p.default is p.empty]
    missing = [name for name in required if name not in options]
    if missing:
        raise PuzzleError(f"{_name(factory)} needs the option {missing[0]!r}")


def _name(factory: Callable[..., Puzzle]) -> str:
    return getattr(factory, "__name__", repr(factory))


def _suggestion(name: str, known: list[str]) -> str:
    """The end of an error message: the nearest known name, if one is near, and all of them."""
    nearest = difflib.get_close_matches(name, known, n=1)
    did_you_mean = f"; did you mean {nearest[0]!r}?" if nearest else ";"
    return f"{did_you_mean} known: {', '.join(known) or 'none'}"


for _id, _puzzle in BUILT_IN.items():
    register_puzzle(_id, _puzzle)
register_entry_points()
