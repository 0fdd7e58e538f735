"""One training run: from a configuration to its parts, collecting steps, learning from them, keeping pace."""

from latent_rl.training.checkpointing import explained, refuse_divergence, restore, save
from latent_rl.training.collection import Collection
from latent_rl.training.experience import FusedExperience, ReplayExperience
from latent_rl.training.learner import Learner, weighted_sum
from latent_rl.training.pace import Clock, Every, Interruption, Throughput
from latent_rl.training.parts import accelerate, build_deduction, build_puzzle, choose_device
from latent_rl.training.progress import Progress
from latent_rl.training.resuming import check_settings
from latent_rl.training.run import Run, assemble
from latent_rl.training.speed import exactly
from latent_rl.training.teaching import as_ours, save_taught, teach
from latent_rl.training.team import join, one_after_the_other
from latent_rl.training.torchrl_env import LatentRecursionTorchEnv

__all__ = [
    "Clock",
    "Collection",
    "Every",
    "FusedExperience",
    "Interruption",
    "LatentRecursionTorchEnv",
    "Learner",
    "Progress",
    "ReplayExperience",
    "Run",
    "Throughput",
    "accelerate",
    "as_ours",
    "assemble",
    "build_deduction",
    "build_puzzle",
    "check_settings",
    "choose_device",
    "exactly",
    "explained",
    "join",
    "one_after_the_other",
    "refuse_divergence",
    "restore",
    "save",
    "save_taught",
    "teach",
    "weighted_sum",
]
