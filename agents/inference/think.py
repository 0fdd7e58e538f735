"""Answering puzzles: recursion steps from the initial latents, without gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.envs.utils import ExplorationType, set_exploration_type

from latent_rl.agents.halting import NeverHalt
from latent_rl.agents.inference.guidance import guided_logits
from latent_rl.agents.network import RecursiveReasoner, StepOutput


class Taken(NamedTuple):
    """One recursion step of the `A` rows that were still at work, of a batch of `B`.

    Attributes:
        rows: int64 `[A]`, which rows of the batch took the step, ascending.
        output: what the step gave them, `[A, ...]`.
        reference: float32 `[A, L, V]`, logits decoded before the step.
        answer: int64 `[A, L]`, read from the guided logits.
        halt: bool `[A]`, rows for which this was the last step.
    """

    rows: Tensor
    output: StepOutput
    reference: Tensor
    answer: Tensor
    halt: Tensor


@torch.no_grad()
def think(
    reasoner: RecursiveReasoner,
    inputs: Tensor,
    puzzle_id: Tensor,
    max_steps: int,
    halting: TensorDictModuleBase | None = None,
    *,
    guidance: float = 1.0,
    noise: Tensor | None = None,
) -> Iterator[Taken]:
    """Yield the recursion steps of a batch, up to `max_steps`; a row that halts leaves the batch.

    Each step costs `reasoner.config.passes_per_step` network passes a row still at work, taken when it is asked for: a
    caller that stops asking spends nothing more, and nothing more is yielded once all rows have halted.

    Args:
        reasoner: the network, on the device of `inputs`.
        inputs: int64 `[B, L]`.
        puzzle_id: int64 `[B]`.
        max_steps: most steps to take, at least 1.
        halting: who says when a row is done, see `HaltingRule`; nobody by default. Asked deterministically.
        guidance: weight w of the readout `l_w = l_u + w (l_c - l_u)` (DIS); the latents go on unguided.
        noise: float32 `[B]`, standard deviation, row by row, of the Gaussian noise on `y` before every step
            (Probabilistic TRM, arXiv 2605.19943); drawn from torch's generator.

    Raises:
        ValueError: `inputs` do not have the reasoner's number of cells.
    """
    if inputs.ndim != 2 or inputs.shape[1] != reasoner.config.seq_len:
        raise ValueError(f"inputs must be [B, {reasoner.config.seq_len}] for this reasoner, got {tuple(inputs.shape)}")
    halting = halting if halting is not None else NeverHalt()
    rows = torch.arange(inputs.shape[0], device=inputs.device)
    y, z = reasoner.initial_latents(inputs.shape[0])
    previous, reference = inputs, reasoner.decode(y)
    for step in range(max_steps):
        if noise is not None:
            y = y + noise.view(-1, 1, 1) * torch.randn_like(y)
        output = reasoner.step(inputs, puzzle_id, y, z, torch.full_like(puzzle_id, step))
        logits = guided_logits(reference, output.logits, guidance)
        answer = logits.argmax(-1)
        seen = {"inputs": inputs, "previous": previous, "answer": answer, "logits": logits, "q": output.q}
        seen |= {"next_y": output.y, "step": torch.full_like(rows, step)}
        with set_exploration_type(ExplorationType.DETERMINISTIC):
            halt = halting(TensorDict(seen, rows.shape))["halt"].bool()
        yield Taken(rows, output, reference, answer, halt)
        y, z, reference, previous = output.y, output.z, output.logits, answer
        if halt.any():
            if halt.all():
                return
            rows, inputs, puzzle_id, y, z, reference, previous = (
                tensor[~halt] for tensor in (rows, inputs, puzzle_id, y, z, reference, previous)
            )
            noise = noise[~halt] if noise is not None else None


def recurse(reasoner: RecursiveReasoner, inputs: Tensor, puzzle_id: Tensor, max_steps: int) -> Iterator[StepOutput]:
    """Yield the output of each of `max_steps` plain recursion steps of all rows; `think` explains the arguments."""
    return (taken.output for taken in think(reasoner, inputs, puzzle_id, max_steps))
