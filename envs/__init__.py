"""Puzzles and the Markov decision process of latent recursion.

Importing this package registers its puzzles, and those of installed packages, with Gymnasium:
`gymnasium.make("latent_rl/Sudoku-v0", size=4)` is a single episode over numpy arrays,
`gymnasium.make_vec("latent_rl/Sudoku-v0", num_envs=64, size=4)` a batch over torch tensors.
"""

from latent_rl.envs.check import check_puzzle
from latent_rl.envs.mdp import LatentRecursionEnv, LatentRecursionVectorEnv, Reward, Standing
from latent_rl.envs.puzzle import IGNORE, PAD, Instances, Puzzle, PuzzleError, Split
from latent_rl.envs.registration import make_puzzle, puzzle_from_id, register_puzzle, registered_ids
from latent_rl.envs.renderer import Renderer
from latent_rl.envs.sources import CsvFiles, Generated, Source, check_disjoint
from latent_rl.envs.vote import Question, Vote

__all__ = [
    "IGNORE",
    "PAD",
    "CsvFiles",
    "Generated",
    "Instances",
    "LatentRecursionEnv",
    "LatentRecursionVectorEnv",
    "Standing",
    "Puzzle",
    "PuzzleError",
    "Question",
    "Renderer",
    "Reward",
    "Source",
    "Split",
    "Vote",
    "check_disjoint",
    "check_puzzle",
    "make_puzzle",
    "puzzle_from_id",
    "register_puzzle",
    "registered_ids",
]
