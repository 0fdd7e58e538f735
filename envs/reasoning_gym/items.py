"""Items of the package reasoning-gym as instances: drawn by index, each once, kept in the cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from latent_rl.envs.puzzle import Instances, PuzzleError, Split
from latent_rl.envs.sources import Generated

Pair = tuple[Sequence[int], Sequence[int]]
"""An item as tokens, inputs and solution, `L` each."""

Read = Callable[[Mapping[str, Any]], Pair | None]
"""From an item of reasoning-gym to its board; None for an item that is not wanted."""

_FIRST: dict[Split, int] = {"test": 0, "train": 1 << 30, "validation": 1 << 31}
"""Where the items of a split begin: far enough from each other that none reaches the next."""

_SEED_STRIDE = 1 << 32
"""Item `i` of seed `s` is drawn with `Random(s + i)`, so that neighbouring seeds have nearly the same items.

Seeds of ours lie this far apart, and none at 0: `Random(k)` equals `Random(k + (k - 1) * 2**32)`."""

_PATIENCE = 2_000
_LEAST_YIELD = 0.01
"""Of so many items drawn, the share of new ones below which a task counts as exhausted."""

_VERSION = 1
"""Part of the cache key: to be raised when the same items no longer give the same boards."""


def items(
    task: str,
    read: Read,
    config: Mapping[str, Any],
    name: str,
    *,
    train: int,
    test: int,
    validation: int,
    seed: int,
    cache_dir: str | os.PathLike[str] | None,
) -> Generated:
    """A source of a task's items; no board is in two of its splits.

    Test puzzles are drawn first and depend on their number and on `seed` alone.

    Args:
        task: the name of the data set in reasoning-gym.
        read: makes a board of an item.
        config: its options there, but for `seed` and `size`.
        name: of the puzzle.
        train, test, validation: how many boards; `validation` may be 0.
        seed: of the draw.
        cache_dir: see `cache.cached`.

    Raises:
        PuzzleError: if the package is not installed or a number is out of range; once instances are asked for, if
            `config` is refused or there are not so many different boards.
    """
    try:
        package = version("reasoning-gym")
    except PackageNotFoundError:
        raise PuzzleError(
            f"reasoning_gym:{task} needs a package that is not installed: pip install reasoning-gym"
        ) from None
    if train < 1 or test < 1 or validation < 0:
        raise PuzzleError(
            f"{name}: train and test must be at least 1 and validation at least 0, got {train}, {test}, {validation}"
        )

    def draw(count: int, split: Split, known: Instances | None = None) -> Instances:
        return _draw(task, read, config, name, count, (seed + 1) * _SEED_STRIDE + _FIRST[split], known)

    def generate(train: int, test: int, _: object) -> Instances:
        held_out = draw(test, "test")
        return Instances.cat([draw(train, "train", held_out), held_out])

    return Generated(
        name,
        generate,
        train=train,
        test=test,
        seed=seed,
        version=_VERSION,
        options={**config, "reasoning-gym": package},
        cache_dir=cache_dir,
        validation=validation,
        more=lambda count, known, _: draw(count, "validation", known),
    )


def _draw(
    task: str,
    read: Read,
    config: Mapping[str, Any],
    name: str,
    count: int,
    first: int,
    known: Instances | None,
) -> Instances:
    """The first `count` different boards from index `first` on that are not `known`; a progress bar on a terminal."""
    from reasoning_gym import create_dataset
    from rich.console import Console
    from rich.progress import Progress

    try:
        dataset = create_dataset(task, seed=first, size=_SEED_STRIDE, **config)
    except (AssertionError, TypeError, ValueError) as error:
        raise PuzzleError(f"{name}: {error}") from error
    seen = set() if known is None else {tuple(row) for row in known.inputs.tolist()}
    boards: list[Pair] = []
    drawn = new = 0
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(f"{name}: making puzzles", total=count)
        for index in range(_SEED_STRIDE):
            if len(boards) == count:
                break
            board = read(dataset[index])
            drawn += 1
            if board is not None and (key := tuple(board[0])) not in seen:
                seen.add(key)
                boards.append(board)
                new += 1
                progress.advance(bar)
            if drawn == _PATIENCE:
                if new < _LEAST_YIELD * drawn:
                    raise PuzzleError(
                        f"{name}: only {len(boards):,} of {count:,} different puzzles found; "
                        "ask for fewer (train, test, validation) or for larger ones"
                    )
                drawn = new = 0
    inputs, solutions = (torch.tensor(part, dtype=torch.int64) for part in zip(*boards, strict=True))
    return Instances.of(inputs, solutions)
