"""The recursive reasoner: the shared network, and what surrounds it."""

from latent_rl.agents.network.blocks import Linear
from latent_rl.agents.network.candidates import CandidateReasoner, DeductionOutput, UnitReasoner, make_reasoner
from latent_rl.agents.network.example import example_inputs
from latent_rl.agents.network.puzzle_embedding import (
    TABLE,
    PuzzleEmbedding,
    SignSGD,
    compact_state,
    load_compact_state,
    state_shapes,
)
from latent_rl.agents.network.reasoner import ReasonerConfig, RecursiveReasoner, StepOutput

__all__ = [
    "CandidateReasoner",
    "DeductionOutput",
    "Linear",
    "PuzzleEmbedding",
    "ReasonerConfig",
    "RecursiveReasoner",
    "SignSGD",
    "StepOutput",
    "TABLE",
    "UnitReasoner",
    "compact_state",
    "example_inputs",
    "load_compact_state",
    "make_reasoner",
    "state_shapes",
]
