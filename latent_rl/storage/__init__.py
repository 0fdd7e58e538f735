"""What a run leaves on disk: checkpoints, ours and the official code's, its history and its summary."""

from latent_rl.storage.checkpoint import TrainedModel, load_model, load_weights, save_model
from latent_rl.storage.exported import CONFIG_FILE, PROGRAM_FILE, WEIGHTS_FILE, save_export, step_program
from latent_rl.storage.files import write_text
from latent_rl.storage.folders import claim, hold
from latent_rl.storage.official import SETTABLE
from latent_rl.storage.records import (
    PENDING_FILE,
    SUMMARY_FILE,
    EarlyStop,
    Evaluation,
    History,
    Milestone,
    OwnStop,
    Spent,
    Summary,
    compute,
)
from latent_rl.storage.training_state import load_training, restore_random_states, save_training, saved_settings

__all__ = [
    "CONFIG_FILE",
    "EarlyStop",
    "Evaluation",
    "History",
    "Milestone",
    "OwnStop",
    "PENDING_FILE",
    "PROGRAM_FILE",
    "Spent",
    "compute",
    "SETTABLE",
    "SUMMARY_FILE",
    "Summary",
    "TrainedModel",
    "WEIGHTS_FILE",
    "claim",
    "hold",
    "load_model",
    "load_training",
    "load_weights",
    "restore_random_states",
    "save_export",
    "save_model",
    "save_training",
    "saved_settings",
    "step_program",
    "write_text",
]
