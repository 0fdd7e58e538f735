"""What a run leaves on disk: checkpoints, ours and the official code's, its history and its summary."""

from latent_rl.storage.checkpoint import TrainedModel, load_model, save_model
from latent_rl.storage.history import Milestone, read_history, write_history
from latent_rl.storage.official import SETTABLE
from latent_rl.storage.summary import SUMMARY_FILE, Summary

__all__ = [
    "Milestone",
    "SETTABLE",
    "SUMMARY_FILE",
    "Summary",
    "TrainedModel",
    "load_model",
    "read_history",
    "save_model",
    "write_history",
]
