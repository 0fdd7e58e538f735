"""From what a registration or a user gives, a Gymnasium id or a class, to the puzzle itself."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import gymnasium

from latent_rl.envs.errors import PuzzleError
from latent_rl.envs.options import check_types, path_options
from latent_rl.envs.puzzle import Puzzle
from latent_rl.envs.registration import (
    is_class_path,
    is_reasoning_gym,
    reasoning_gym_id,
    registered_ids,
    suggestion,
)

RESERVED = (
    "puzzle", "num_envs", "device", "config", "split", "render_mode",
    "width", "positions", "max_steps", "passes_per_step", "reward", "terminate_on_solved", "initial_latents",
    "possible", "lost_steps", "guided_branches",
)  # fmt: skip
"""What the environments take themselves: an option of a puzzle of that name would never reach it."""


def puzzle_from_id(id: str, **options: Any) -> Puzzle:
    """The puzzle that is registered under an id, made with options.

    `"my_package.my_module:MyPuzzle-v0"` imports the module first, for puzzles that are registered there;
    `"reasoning_gym:mini_sudoku"` is a task of the package reasoning-gym.

    Raises:
        PuzzleError: if the module cannot be imported, nothing is registered under the id (the message names the
            nearest known one), or the puzzle does not take an option.
    """
    puzzle = _registered(id)
    try:
        return make_puzzle(puzzle, **options)
    except PuzzleError as error:
        if ":" not in id or str(error).startswith(id):
            raise
        # Somebody's module: which one, its classes' names may not tell.
        raise PuzzleError(f"{id}: {error}") from error


def make_puzzle(puzzle: Puzzle | Callable[..., Puzzle] | str, **options: Any) -> Puzzle:
    """A puzzle from what a registration or a user gives: the puzzle itself, its class, `"module:Class"`, or an id.

    Options are held against the annotations of the constructor: see `latent_rl.envs.options`.

    Raises:
        PuzzleError: if nothing is registered under the id, or the class cannot be found, does not take an option
            (the message names those it takes) or takes none of this type.
    """
    if isinstance(puzzle, Puzzle):
        if options:
            raise PuzzleError(f"{puzzle.name} is made already and takes no options, got {', '.join(options)}")
        return puzzle
    if isinstance(puzzle, str) and (is_reasoning_gym(puzzle) or not is_class_path(puzzle)):
        return puzzle_from_id(puzzle, **options)
    factory = _load(puzzle) if isinstance(puzzle, str) else puzzle
    _check_options(factory, options)
    checked = check_types(_name(factory), factory, options)
    try:
        made = factory(**checked)
    except (PuzzleError, MemoryError):
        raise
    except Exception as error:
        # Somebody's constructor; the cause is kept for its author.
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PuzzleError(f"{_name(factory)} cannot be made with these options: {what}") from error
    if not isinstance(made, Puzzle):
        raise PuzzleError(f"{_name(factory)} made a {type(made).__name__}, which is no Puzzle")
    for attribute in ("name", "grid_shape", "symbols"):
        if not hasattr(made, attribute):
            raise PuzzleError(f"{_name(factory)} made a puzzle without {attribute!r}; check_puzzle says what one needs")
    return made


def paths_of(id: str) -> list[str]:
    """Which options of the puzzle registered under an id name files or folders.

    Raises:
        PuzzleError: as `puzzle_from_id`.
    """
    puzzle = _registered(id)
    return path_options(_load(puzzle) if isinstance(puzzle, str) else puzzle)


def _registered(id: str) -> Callable[..., Puzzle] | str:
    module, colon, name = id.rpartition(":")
    if is_reasoning_gym(id):
        name = reasoning_gym_id(id)
    elif colon:
        _import(module, where=id)
    if name not in registered_ids():
        raise PuzzleError(f"no puzzle is registered as {name[:100]!r}" + suggestion(name, registered_ids()))
    return gymnasium.registry[name].kwargs["puzzle"]


def _load(where: str) -> Callable[..., Puzzle]:
    module, _, name = where.partition(":")
    try:
        return getattr(_import(module, where), name)
    except AttributeError:
        raise PuzzleError(f"the module {module} has no {name!r} (from {where!r})") from None


def _import(module: str, where: str) -> Any:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        # Whatever somebody's module does when it is imported: an error in it is told by its type too.
        kind = "" if isinstance(error, ModuleNotFoundError) else f"{type(error).__name__}: "
        raise PuzzleError(f"{where}: {kind}{' '.join(str(error).split())}") from error


def _check_options(factory: Callable[..., Puzzle], options: dict[str, Any]) -> None:
    """Compare keywords with the signature before the call, so that a TypeError from inside is never mistaken."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        raise PuzzleError(f"{_name(factory)} is no Puzzle class") from None
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if taken := [name for name in known if name in RESERVED]:
        raise PuzzleError(f"{_name(factory)}: {taken[0]!r} is an option of the environment: give it another name")
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = [] if takes_any else [name for name in options if name not in known]
    if unknown:
        raise PuzzleError(f"{_name(factory)} has no option {unknown[0][:100]!r}" + suggestion(unknown[0], known))
    required = [p.name for p in parameters if p.name in known and p.default is p.empty]
    missing = [name for name in required if name not in options]
    if missing:
        raise PuzzleError(f"{_name(factory)} needs the option {missing[0]!r}")


def _name(factory: Callable[..., Puzzle]) -> str:
    return getattr(factory, "__name__", repr(factory))
