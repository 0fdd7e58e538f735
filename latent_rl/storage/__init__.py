"""What a run leaves on disk: checkpoints, ours and the official code's, its history and its summary."""

from latent_rl.storage.checkpoint import (
    TrainedModel,
    load_model,
    load_training,
    load_weights,
    restore_random_states,
    save_model,
    save_training,
)
from latent_rl.storage.official import SETTABLE
from latent_rl.storage.records import SUMMARY_FILE, Evaluation, History, Milestone, Spent, Summary

__all__ = [
    "Evaluation",
    "History",
    "Milestone",
    "Spent",
    "SETTABLE",
    "SUMMARY_FILE",
    "Summary",
    "TrainedModel",
    "load_model",
    "load_training",
    "load_weights",
    "restore_random_states",
    "save_model",
    "save_training",
]
