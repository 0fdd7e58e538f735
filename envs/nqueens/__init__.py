"""N queens on partial boards."""

from latent_rl.envs.nqueens.puzzle import NQueens

__all__ = [
    "NQueens",
]
