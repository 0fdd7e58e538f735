"""Made-up puzzles, for what has to see a step before there is a real one: compilers, exports, clocks."""

from __future__ import annotations

import torch
from torch import Tensor

from latent_rl.agents.network.candidates import CandidateReasoner
from latent_rl.agents.network.reasoner import RecursiveReasoner


def example_inputs(reasoner: RecursiveReasoner | CandidateReasoner, rows: int) -> tuple[Tensor, ...]:
    """What a step of `rows` puzzles reads, in the order of `reasoner.step_keys`, on the reasoner's device."""
    shape, device = reasoner.config, reasoner.initial_y.device
    y, z = (latent.contiguous() for latent in reasoner.initial_latents(rows))
    made_up = {
        "inputs": torch.zeros(rows, shape.seq_len, dtype=torch.int64, device=device),
        "puzzle_id": torch.zeros(rows, dtype=torch.int64, device=device),
        "y": y,
        "z": z,
        "step": torch.zeros(rows, dtype=torch.int64, device=device),
        "candidates": torch.ones(rows, shape.seq_len, shape.vocab_size, dtype=torch.bool, device=device),
    }
    return tuple(made_up[key] for key in reasoner.step_keys)
