"""The Markov decision processes, of latent recursion and over candidates: keys, dynamics, reward, Gymnasium faces."""

from latent_rl.envs.mdp.candidate_env import CandidateEnv, CandidateVectorEnv
from latent_rl.envs.mdp.candidates import CandidateDynamics, CandidateState, make_candidate_dynamics, possible_symbols
from latent_rl.envs.mdp.config import CandidateConfig, MDPConfig
from latent_rl.envs.mdp.contract import (
    ACTION_KEYS,
    CANDIDATE_KEYS,
    KEYS,
    OBSERVATION_KEYS,
    PRIVILEGED_KEYS,
    Anything,
    Below,
    Flag,
    Key,
    Within,
)
from latent_rl.envs.mdp.rewards import Reward, Standing
from latent_rl.envs.mdp.single import LatentRecursionEnv
from latent_rl.envs.mdp.vector import BatchEnv, LatentRecursionVectorEnv

__all__ = [
    "ACTION_KEYS",
    "CANDIDATE_KEYS",
    "KEYS",
    "OBSERVATION_KEYS",
    "PRIVILEGED_KEYS",
    "Anything",
    "BatchEnv",
    "Below",
    "CandidateConfig",
    "CandidateDynamics",
    "CandidateEnv",
    "CandidateState",
    "CandidateVectorEnv",
    "Flag",
    "Key",
    "LatentRecursionEnv",
    "LatentRecursionVectorEnv",
    "MDPConfig",
    "Reward",
    "Standing",
    "Within",
    "make_candidate_dynamics",
    "possible_symbols",
]
