"""Answering puzzles: recursion steps from the initial latents, without gradient."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from latent_rl.agents.network import RecursiveReasoner, StepOutput


@torch.no_grad()
def recurse(reasoner: RecursiveReasoner, inputs: Tensor, puzzle_id: Tensor, max_steps: int) -> Iterator[StepOutput]:
    """Yield the output of each of `max_steps` recursion steps, latents carried from one to the next.

    Each step costs `reasoner.config.passes_per_step` network passes a row, taken when its output is asked for: a
    caller that stops asking spends nothing more.

    Args:
        reasoner: the network, on the device of `inputs`.
        inputs: int64 `[B, L]`.
        puzzle_id: int64 `[B]`.
        max_steps: steps to take, at least 1.

    Raises:
        ValueError: `inputs` do not have the reasoner's number of cells.
    """
    if inputs.ndim != 2 or inputs.shape[1] != reasoner.config.seq_len:
        raise ValueError(f"inputs must be [B, {reasoner.config.seq_len}] for this reasoner, got {tuple(inputs.shape)}")
    y, z = reasoner.initial_latents(inputs.shape[0])
    for step in range(max_steps):
        output = reasoner.step(inputs, puzzle_id, y, z, torch.full_like(puzzle_id, step))
        y, z = output.y, output.z
        yield output
