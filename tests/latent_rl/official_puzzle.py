"""A puzzle that the golden checkpoints of the official code fit: 16 cells, 11 symbols, 5 puzzle ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latent_rl.envs import Instances, Puzzle, Split, register_puzzle, registered_ids

GOLDEN = Path(__file__).parents[1] / "golden"
ID = "tests/Golden-v0"
STEPS = {"trm_att": 16, "trm_mlp": 16, "dis_att": 6}


def arrays(file: str) -> dict[str, Tensor]:
    """What the tests need of a golden `.npz` file, integers as int64."""
    with np.load(GOLDEN / f"{file}.npz") as content:
        tensors = {key: torch.from_numpy(content[key]) for key in ("inputs", "puzzle_identifiers", "logits")}
    return {key: tensor if tensor.is_floating_point() else tensor.long() for key, tensor in tensors.items()}


class Golden(Puzzle):
    """The inputs of a golden file; the key is what the official code answered at step `key_step` (from 1)."""

    grid_shape = (4, 4)
    symbols = "_.123456789"
    num_puzzle_ids = 5

    def __init__(self, file: str = "trm_att", key_step: int = 3) -> None:
        self.name = "golden"
        golden = arrays(file)
        key = golden["logits"][key_step - 1].argmax(-1)
        self._instances = Instances(golden["inputs"], key, golden["puzzle_identifiers"])

    def instances(self, split: Split) -> Instances:
        return self._instances

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        return torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)


def arguments(file: str, *more: str) -> list[str]:
    """How a program is told to use a golden checkpoint on its puzzle."""
    if ID not in registered_ids():
        register_puzzle(ID, Golden)
    checkpoint = str(GOLDEN / f"{file}.pt")
    settings = [f"env.id={ID}", f"env.options.file={file}", "network.heads=4", "evaluation.batch_size=3"]
    return [checkpoint, "--config", "sudoku-4x4", "--device", "cpu", *settings, *more]
