"""The reasoner whose state between steps is explicit: for every cell the symbols still possible (arXiv 2605.08605)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from latent_rl.agents.network.blocks import Linear
from latent_rl.agents.network.reasoner import ReasonerConfig, RecursiveReasoner


class DeductionOutput(NamedTuple):
    """What one deduction step gives after each of its `n` inner updates; the last is what the policy acts on.

    Attributes:
        keep_logits: `[B, n, L, V]`, float32, of "this candidate is part of the answer".
        symbol_logits: `[B, n, L, V]`, float32, of the symbol that each cell holds in the answer.
        conflict_logits: `[B, n]`, float32, of "these candidates have lost the answer".
    """

    keep_logits: Tensor
    symbol_logits: Tensor
    conflict_logits: Tensor

    @property
    def readouts(self) -> dict[str, Tensor]:
        """What losses learn from, by the keys that they read."""
        return self._asdict()


class CandidateReasoner(RecursiveReasoner):
    """The shared network reads candidates and says which of them can go; no latent outlives a step.

    A step embeds what was given and what is still possible, and updates one latent `n` times from it; every update is
    one network pass, and is read by three heads. Carrying the latent on to the next step was found to hurt by the
    authors of the paper: the candidates are the better state.

    Attributes:
        possible: bool `[V, V]`, which symbols a cell can turn out to hold, by the token that was given for it. Filled
            in by who knows the puzzle; saved with the weights, so that a trained model needs no training data.
    """

    step_keys = ("inputs", "puzzle_id", "candidates")

    def __init__(self, config: ReasonerConfig) -> None:
        for name, only in (("state", "candidates"), ("cycles", 1), ("feed", "puzzle"), ("step_embedding_steps", 0)):
            if getattr(config, name) != only:
                raise ValueError(f"a reasoner over candidates has {name}={only}, got {getattr(config, name)}")
        super().__init__(config)
        self.embed_candidates = Linear(config.vocab_size, config.width)
        self.keep_head = Linear(config.width, config.vocab_size)
        self.register_buffer("possible", torch.ones(config.vocab_size, config.vocab_size, dtype=torch.bool))

    def step(self, inputs: Tensor, puzzle_id: Tensor, candidates: Tensor) -> DeductionOutput:
        """One deduction step: `n` network passes a puzzle.

        Args:
            inputs: int64 `[B, L]`, tokens of the puzzle.
            puzzle_id: int64 `[B]`.
            candidates: bool `[B, L, V]`, the symbols that are still possible.
        """
        x = self.embed(inputs, puzzle_id, torch.zeros_like(puzzle_id))
        front = self.config.puzzle_positions
        x = self._computed(torch.cat((x[:, :front], x[:, front:] + self.embed_candidates(candidates.float())), dim=1))
        z = self._computed(self.initial_z.expand_as(x))
        heads = []
        for _ in range(self.config.inner_updates):
            z = self.network(z, x)
            cells = z[:, front:]
            # The head of "solved right now" has another question here: its first logit is that of a conflict.
            heads.append((self.keep_head(cells).float(), self.decode(z), self.q_logits(z.float())[:, 0]))
        return DeductionOutput(*(torch.stack(one, dim=1) for one in zip(*heads, strict=True)))


def make_reasoner(config: ReasonerConfig) -> RecursiveReasoner:
    """The reasoner that carries what `config.state` says."""
    return CandidateReasoner(config) if config.state == "candidates" else RecursiveReasoner(config)
