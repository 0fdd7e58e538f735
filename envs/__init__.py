"""Puzzles and the Markov decision process of latent recursion.

`import latent_rl` registers the puzzles, and those of installed packages, with Gymnasium:
`gymnasium.make("latent_rl/Sudoku-v0", size=4)` is a single episode over numpy arrays,
`gymnasium.make_vec("latent_rl/Sudoku-v0", num_envs=64, size=4)` a batch over torch tensors.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from latent_rl.envs.errors import PuzzleError
from latent_rl.envs.registration import register_puzzle, registered_ids

if TYPE_CHECKING:
    from latent_rl.envs.cache import cache_folder
    from latent_rl.envs.check import check_puzzle
    from latent_rl.envs.making import make_puzzle, paths_of, puzzle_from_id
    from latent_rl.envs.mdp import (
        ACTION_KEYS,
        CANDIDATE_KEYS,
        KEYS,
        OBSERVATION_KEYS,
        PRIVILEGED_KEYS,
        BatchEnv,
        CandidateConfig,
        CandidateDynamics,
        CandidateEnv,
        CandidateState,
        CandidateVectorEnv,
        LatentRecursionEnv,
        LatentRecursionVectorEnv,
        MDPConfig,
        Reward,
        Standing,
        make_candidate_dynamics,
        possible_symbols,
    )
    from latent_rl.envs.puzzle import IGNORE, PAD, Instances, Puzzle, Split, instances_of
    from latent_rl.envs.renderer import Renderer
    from latent_rl.envs.sources import CsvFiles, Generated, Source, check_disjoint
    from latent_rl.envs.vote import Question, Vote

__all__ = [
    "ACTION_KEYS",
    "CANDIDATE_KEYS",
    "IGNORE",
    "KEYS",
    "OBSERVATION_KEYS",
    "PAD",
    "PRIVILEGED_KEYS",
    "BatchEnv",
    "CandidateConfig",
    "CandidateDynamics",
    "CandidateEnv",
    "CandidateState",
    "CandidateVectorEnv",
    "CsvFiles",
    "Generated",
    "Instances",
    "LatentRecursionEnv",
    "LatentRecursionVectorEnv",
    "MDPConfig",
    "Puzzle",
    "PuzzleError",
    "Question",
    "Renderer",
    "Reward",
    "Source",
    "Split",
    "Standing",
    "Vote",
    "cache_folder",
    "check_disjoint",
    "check_puzzle",
    "instances_of",
    "make_candidate_dynamics",
    "make_puzzle",
    "paths_of",
    "possible_symbols",
    "puzzle_from_id",
    "register_puzzle",
    "registered_ids",
]

# What needs torch, which takes seconds to load, waits until somebody asks for it: `import latent_rl` and every
# program's `--help` pass through here.
_LATE = {
    "cache": ["cache_folder"],
    "check": ["check_puzzle"],
    "making": ["make_puzzle", "paths_of", "puzzle_from_id"],
    "mdp": [
        "ACTION_KEYS",
        "CANDIDATE_KEYS",
        "KEYS",
        "OBSERVATION_KEYS",
        "PRIVILEGED_KEYS",
        "BatchEnv",
        "CandidateConfig",
        "CandidateDynamics",
        "CandidateEnv",
        "CandidateState",
        "CandidateVectorEnv",
        "LatentRecursionEnv",
        "LatentRecursionVectorEnv",
        "MDPConfig",
        "Reward",
        "Standing",
        "make_candidate_dynamics",
        "possible_symbols",
    ],
    "puzzle": ["IGNORE", "PAD", "Instances", "Puzzle", "Split", "instances_of"],
    "renderer": ["Renderer"],
    "sources": ["CsvFiles", "Generated", "Source", "check_disjoint"],
    "vote": ["Question", "Vote"],
}
_MODULE_OF = {name: module for module, names in _LATE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # so that the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
