"""The Markov decision process of latent recursion: dynamics and reward, and its two Gymnasium faces."""

from latent_rl.envs.mdp.rewards import Reward, Standing
from latent_rl.envs.mdp.single import LatentRecursionEnv
from latent_rl.envs.mdp.vector import LatentRecursionVectorEnv

__all__ = [
    "LatentRecursionEnv",
    "LatentRecursionVectorEnv",
    "Standing",
    "Reward",
]
