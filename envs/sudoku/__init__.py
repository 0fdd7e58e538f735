"""Sudoku on 4x4, 6x6 and 9x9 boards."""

from latent_rl.envs.sudoku.puzzle import Sudoku

__all__ = [
    "Sudoku",
]
