"""Shortest paths through mazes."""

from latent_rl.envs.maze.puzzle import Maze

__all__ = [
    "Maze",
]
