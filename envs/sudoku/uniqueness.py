"""Whether Sudokus that somebody else made have one solution each; what was proved once is remembered."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import numpy as np

from latent_rl.envs.cache import cache_folder, replacing
from latent_rl.envs.sudoku.solver import BoxShape, SearchBudgetExceeded, solve

logger = logging.getLogger(__name__)

# Boards that the search looks at: the hardest known puzzles need 350 on average, and none more than some thousands.
_BUDGET_OF_ONE = 20_000
_BUDGET_A_BOARD = 600
_BLOCK = 512


def find_ambiguous(
    boards: np.ndarray, box_shape: BoxShape, where: str, cache_dir: str | os.PathLike[str] | None = None
) -> int | None:
    """The first board that has several solutions, or None.

    The search is bounded. Boards that it cannot settle pass, and one logged warning counts them. Boards without a
    fault are remembered by their content in the cache's folder, and are not searched again. On a terminal a progress
    bar shows how far the search is.

    Args:
        boards: integers `[N, L]`, digits and 0 for a blank, each with at least one solution.
        box_shape: rows and columns of a box.
        where: names the boards in messages.
        cache_dir: see `cache.cached`.
    """
    boards = np.ascontiguousarray(boards, dtype=np.uint8)
    digest = hashlib.sha256(f"{box_shape} {boards.shape} {_BUDGET_OF_ONE}".encode() + boards.tobytes()).hexdigest()
    marker = cache_folder(cache_dir) / f"sudoku-unique-{digest[:16]}.txt"
    undecided = _read(marker)
    if undecided is None:
        first, undecided = _search(boards, box_shape, where)
        if first is not None:
            return first
        _write(marker, undecided)
    if undecided:
        logger.warning("%s: whether %d puzzles have one solution each could not be settled", where, undecided)
    return None


def _search(boards: np.ndarray, box_shape: BoxShape, where: str) -> tuple[int | None, int]:
    """The first ambiguous board, and how many before it could not be settled."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    undecided = 0
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"{Path(where).name}: has each puzzle one solution?", total=len(boards))
        for start in range(0, len(boards), _BLOCK):
            counts = _count(boards[start : start + _BLOCK], box_shape)
            if (counts > 1).any():
                return start + int((counts > 1).argmax()), undecided
            undecided += int((counts == 0).sum())
            progress.advance(task, len(counts))
    return None, undecided


def _count(boards: np.ndarray, box_shape: BoxShape) -> np.ndarray:
    """Solutions of each board, int64 `[N]`, 2 for several and 0 where the search was given up."""
    try:
        return solve(boards, box_shape, budget=max(_BUDGET_OF_ONE, _BUDGET_A_BOARD * len(boards)))[1]
    except SearchBudgetExceeded:
        if len(boards) == 1:
            return np.zeros(1, dtype=np.int64)
        half = len(boards) // 2
        return np.concatenate([_count(boards[:half], box_shape), _count(boards[half:], box_shape)])


def _read(marker: Path) -> int | None:
    try:
        return int(marker.read_text())
    except (OSError, ValueError):
        return None  # not searched yet, or not to be read: then it is searched again


def _write(marker: Path, undecided: int) -> None:
    try:
        with replacing(marker) as file:
            file.write(f"{undecided}\n".encode())
    except OSError as error:
        logger.warning("cannot note in %s that puzzles have one solution (%s)", marker.parent, error)
