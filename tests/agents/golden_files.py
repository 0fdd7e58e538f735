"""What the golden tests share: reading the files, and making the reasoner that a checkpoint asks for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from latent_rl.agents import RecursiveReasoner, load_official

GOLDEN = Path(__file__).parents[1] / "golden"


def arrays(name: str) -> dict[str, Tensor]:
    """The numeric arrays of a golden `.npz` file; int32 becomes int64."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        tensors = {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "biuf"}
    return {key: tensor.long() if tensor.dtype == torch.int32 else tensor for key, tensor in tensors.items()}


def setting(name: str, key: str = "config_json") -> dict:
    """A JSON text of a golden `.npz` file."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return json.loads(str(file[key]))


def reasoner_of(name: str) -> RecursiveReasoner:
    """The reasoner of a golden checkpoint, through `load_official` with what shapes do not tell."""
    config, state = load_official(GOLDEN / f"{name}.pt", seq_len=16, heads=4)
    reasoner = RecursiveReasoner(config)
    reasoner.load_state_dict(state)
    return reasoner


def first_observation(reasoner: RecursiveReasoner, golden: dict[str, Tensor]) -> TensorDict:
    """What the policy reads at the first step of the golden puzzles."""
    inputs = golden["inputs"]
    y, z = reasoner.initial_latents(len(inputs))
    step = torch.zeros(len(inputs), dtype=torch.int64)
    observation = {"inputs": inputs, "puzzle_id": golden["puzzle_identifiers"], "y": y, "z": z, "step": step}
    return TensorDict(observation, batch_size=[len(inputs)])
