"""One training run: from a configuration to its parts, collecting steps, learning from them, keeping pace."""

from latent_rl.training.assemble import accelerate, build_puzzle, choose_device
from latent_rl.training.pace import Every, Interruption
from latent_rl.training.progress import Progress
from latent_rl.training.session import Session
from latent_rl.training.teaching import save_taught, teach
from latent_rl.training.torchrl_env import LatentRecursionTorchEnv

__all__ = [
    "Every",
    "Interruption",
    "LatentRecursionTorchEnv",
    "Progress",
    "Session",
    "accelerate",
    "build_puzzle",
    "choose_device",
    "save_taught",
    "teach",
]
