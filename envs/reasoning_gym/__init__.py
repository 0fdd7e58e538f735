"""Puzzles of the package reasoning-gym that stand on a grid of fixed size, each with its rule."""

from latent_rl.envs.reasoning_gym.arc_1d import Arc1D
from latent_rl.envs.reasoning_gym.futoshiki import Futoshiki
from latent_rl.envs.reasoning_gym.matrices import BinaryMatrix, GameOfLife, RotateMatrix
from latent_rl.envs.reasoning_gym.sudoku import FullSudoku, MiniSudoku
from latent_rl.envs.reasoning_gym.sums import Kakurasu, Survo

__all__ = [
    "Arc1D",
    "BinaryMatrix",
    "FullSudoku",
    "Futoshiki",
    "GameOfLife",
    "Kakurasu",
    "MiniSudoku",
    "RotateMatrix",
    "Survo",
]
