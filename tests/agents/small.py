"""A reasoner small enough for unit tests, and batches that fit it."""

from __future__ import annotations

import torch
from tensordict import TensorDict

from latent_rl.agents import ReasonerConfig, RecursiveReasoner

CELLS, TOKENS, WIDTH, STEPS = 6, 5, 8, 4


def small_reasoner(seed: int = 0, **changes: object) -> RecursiveReasoner:
    """Deterministic, with a q head that tells states apart and weights that keep the recursion tame."""
    torch.manual_seed(seed)
    config = {"vocab_size": TOKENS, "seq_len": CELLS, "width": WIDTH, "layers": 1, "heads": 2, "multiple_of": 8}
    reasoner = RecursiveReasoner(ReasonerConfig(**{**config, "cycles": 2, "inner_updates": 2, **changes}))
    torch.nn.init.normal_(reasoner.q_head.weight)
    torch.nn.init.zeros_(reasoner.q_head.bias)
    return reasoner


def small_batch(*shape: int, seed: int = 0, reasoner: RecursiveReasoner | None = None) -> TensorDict:
    """Observations amid episodes, with what a learner may read besides."""
    generator = torch.Generator().manual_seed(seed)
    positions = CELLS + (reasoner.config.puzzle_positions if reasoner else 1)
    tokens = {"generator": generator, "low": 1, "high": TOKENS}
    solution = torch.randint(size=(*shape, CELLS), **tokens)
    solution[..., -1] = -100
    return TensorDict(
        {
            "inputs": torch.randint(size=(*shape, CELLS), **tokens),
            "puzzle_id": torch.zeros(shape, dtype=torch.int64),
            "y": torch.randn(*shape, positions, WIDTH, generator=generator),
            "z": torch.randn(*shape, positions, WIDTH, generator=generator),
            "step": torch.randint(0, STEPS, shape, generator=generator),
            "solution": solution,
            "episode_seed": torch.randint(0, 2**62, shape, generator=generator),
            "ends_when_solved": torch.zeros(shape, dtype=torch.bool),
            "next": {"solved": torch.rand(shape, generator=generator) < 0.5},
        },
        batch_size=shape,
    )
