"""Exported models, for others to use: weights as safetensors, the configuration beside, a step as a program.

`model.safetensors` holds the weights and, in its header, what they make: the shape of the reasoner and of its halting
policy. `config.yaml` is the configuration of the run. Reading them executes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from latent_rl.agents import RecursiveReasoner, compact_state, example_inputs
from latent_rl.config import dump, read_yaml
from latent_rl.errors import UserError
from latent_rl.storage.files import replacing, write_text

if TYPE_CHECKING:
    from latent_rl.storage.checkpoint import TrainedModel

WEIGHTS_FILE = "model.safetensors"
"""Of an export: the weights, and in the header what they make."""
CONFIG_FILE = "config.yaml"
"""Of an export: the configuration of the run."""
PROGRAM_FILE = "step.pt2"
"""Of an export: a recursion step as a program of `torch.export`."""

FORMAT = 1
"""Of the sections of a model, in `model.pt` as in an export."""

HEADER = "latent_rl"
"""The entry of the file's metadata that says what the weights make, as JSON."""

_POLICY = "halting_policy."
"""In front of the names of the halting policy's weights."""


def save_export(folder: Path, trained: TrainedModel) -> None:
    """Write a model's weights and configuration into a folder.

    Raises:
        UserError: if they cannot be written.
    """
    from safetensors.torch import save

    halting = trained.halting
    tensors = dict(compact_state(trained.reasoner))
    if halting is not None:
        tensors |= {f"{_POLICY}{name}": tensor for name, tensor in halting.state_dict().items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {
        "format": FORMAT,
        "reasoner": asdict(trained.reasoner.config),
        "updates": trained.updates,
        "ids_digest": trained.ids_digest,
        "halting": None
        if halting is None
        else {"width": halting.width, "hidden": halting.hidden, "floor": halting.floor},
        "digest": _digest(tensors),
    }
    path = folder / WEIGHTS_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(save(tensors, metadata={"format": "pt", HEADER: json.dumps(header)}))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    write_text(folder / CONFIG_FILE, dump(trained.config))


def read_export(file: Path) -> dict[str, Any]:
    """The sections of `model.pt` as an exported file and its `config.yaml` hold them; else the bare tensors.

    A safetensors file of another program, such as an official checkpoint that somebody has converted, is a state dict.

    Raises:
        UserError: if a file cannot be read or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            weights = {name: opened.get_tensor(name) for name in opened.keys()}
        header = json.loads(metadata[HEADER]) if HEADER in metadata else None
        if header is None:
            return weights
        if not isinstance(header, dict) or header.pop("digest", None) != _digest(weights):
            raise ValueError("its tensors are not those that were written")
        policy = {name: tensor for name, tensor in weights.items() if name.startswith(_POLICY)}
        halting = None
        if (shape := header.get("halting")) is not None:
            halting = {"shape": shape, "weights": {name.removeprefix(_POLICY): policy[name] for name in policy}}
    except OSError as error:
        raise UserError(f"checkpoint {file} cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"checkpoint {file} is damaged, truncated or not a checkpoint: {reason}") from None
    reasoner = {name: tensor for name, tensor in weights.items() if name not in policy}
    config = read_yaml(file.with_name(CONFIG_FILE))
    return {**header, "config": config, "weights": reasoner, "halting": halting}


def step_program(reasoner: RecursiveReasoner) -> torch.export.ExportedProgram:
    """One recursion step as a program that needs PyTorch alone, for batches of any size.

    It takes what `reasoner.step_keys` names, in that order, and returns the tensors of a `StepOutput` (over
    candidates, of a `DeductionOutput`). Weights are part of it. It runs where `reasoner` is.
    """
    arguments = example_inputs(reasoner, 2)  # a batch of 1 would be taken for a constant
    size = torch.export.Dim("batch", min=1)
    shapes = tuple({0: size} for _ in arguments)
    with torch.no_grad():
        return torch.export.export(_Step(reasoner), arguments, dynamic_shapes=(shapes,))


class _Step(nn.Module):
    def __init__(self, reasoner: RecursiveReasoner) -> None:
        super().__init__()
        self.reasoner = reasoner

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.reasoner.step(*arguments))


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """A check sum of names, dtypes, shapes and values: the format itself has none."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
