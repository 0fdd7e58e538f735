"""Puzzles of one's own from a file, without a line of Python."""

from latent_rl.envs.grid.puzzle import Grid

__all__ = ["Grid"]
