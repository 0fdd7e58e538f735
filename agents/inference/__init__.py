"""Answering puzzles: recursion steps without gradient, guidance, and search."""

from latent_rl.agents.inference.guidance import (
    NEGLIGIBLE_MARGIN,
    advantage_margin,
    cell_margin,
    guided_logits,
    is_dead,
    likelihood_gain,
)
from latent_rl.agents.inference.search import Candidates, Search, search
from latent_rl.agents.inference.think import Taken, recurse, think

__all__ = [
    "Candidates",
    "NEGLIGIBLE_MARGIN",
    "Search",
    "Taken",
    "advantage_margin",
    "cell_margin",
    "guided_logits",
    "is_dead",
    "likelihood_gain",
    "recurse",
    "search",
    "think",
]
