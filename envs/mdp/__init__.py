"""The Markov decision process of latent recursion: its keys, dynamics and reward, and its two Gymnasium faces."""

from latent_rl.envs.mdp.config import MDPConfig
from latent_rl.envs.mdp.contract import (
    ACTION_KEYS,
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
from latent_rl.envs.mdp.vector import LatentRecursionVectorEnv

__all__ = [
    "ACTION_KEYS",
    "KEYS",
    "OBSERVATION_KEYS",
    "PRIVILEGED_KEYS",
    "Anything",
    "Below",
    "Flag",
    "Key",
    "LatentRecursionEnv",
    "LatentRecursionVectorEnv",
    "MDPConfig",
    "Reward",
    "Standing",
    "Within",
]
