"""Sudoku as reasoning-gym makes it, on 4x4 and 9x9 boards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from latent_rl.envs.options import Count, Seed
from latent_rl.envs.reasoning_gym.items import Pair, items
from latent_rl.envs.sudoku.puzzle import BLANK, Sudoku


class _Sudoku(Sudoku):
    """A Sudoku of ours with the items of reasoning-gym."""

    def __init__(self, task: str, size: int, config: Mapping[str, int], augment: bool, **source: Any) -> None:
        super().__init__(size=size, augment=augment)
        self.name = f"reasoning_gym-{task}"
        self.source = items(task, _read, config, self.name, **source)


def _read(item: Mapping[str, Any]) -> Pair:
    puzzle, solution = (sum(item["metadata"][name], []) for name in ("puzzle", "solution"))
    return [digit + BLANK for digit in puzzle], [digit + BLANK for digit in solution]


class MiniSudoku(_Sudoku):
    """Task `mini_sudoku`: 4x4 Sudoku with one solution.

    Args:
        min_empty, max_empty: least and greatest number of blanks; a board that would lose its one solution keeps more.
        train, test, validation: how many puzzles.
        seed: of the draw.
        augment: see `latent_rl.envs.sudoku.Sudoku`.
        cache_dir: see `cache.cached`.
    """

    def __init__(
        self,
        min_empty: int = 8,
        max_empty: int = 12,
        train: Count = 10_000,
        test: Count = 1_000,
        validation: Count = 1_000,
        seed: Seed = 0,
        augment: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        config = {"min_empty": min_empty, "max_empty": max_empty}
        source = {"train": train, "test": test, "validation": validation, "seed": seed, "cache_dir": cache_dir}
        super().__init__("mini_sudoku", 4, config, augment, **source)


class FullSudoku(_Sudoku):
    """Task `sudoku`: 9x9 Sudoku with one solution. A puzzle takes 50 ms to make, ours (`latent_rl/Sudoku-v0`) far less.

    Args:
        min_empty, max_empty: least and greatest number of blanks; a board that would lose its one solution keeps more.
        train, test, validation: how many puzzles.
        seed: of the draw.
        augment: see `latent_rl.envs.sudoku.Sudoku`.
        cache_dir: see `cache.cached`.
    """

    def __init__(
        self,
        min_empty: int = 30,
        max_empty: int = 50,
        train: Count = 2_000,
        test: Count = 500,
        validation: Count = 500,
        seed: Seed = 0,
        augment: bool = True,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        config = {"min_empty": min_empty, "max_empty": max_empty}
        source = {"train": train, "test": test, "validation": validation, "seed": seed, "cache_dir": cache_dir}
        super().__init__("sudoku", 9, config, augment, **source)
