"""The reasoner whose state between steps is explicit: for every cell the symbols still possible (arXiv 2605.08605)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_rl.agents.network.blocks import Linear
from latent_rl.agents.network.reasoner import ReasonerConfig, RecursiveReasoner
from latent_rl.agents.network.units import PairEmbedding, UnitNetwork, check_declared


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
        self.register_buffer("possible", torch.ones(config.vocab_size, config.vocab_size, dtype=torch.bool))

    def _build(self, config: ReasonerConfig) -> None:
        super()._build(config)
        self.embed_candidates = Linear(config.vocab_size, config.width)

    def _build_heads(self, config: ReasonerConfig) -> None:
        super()._build_heads(config)
        self.keep_head = Linear(config.width, config.vocab_size)

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


class UnitReasoner(CandidateReasoner):
    """A reasoner over candidates that is told the units of its puzzle, and which symbols are only names.

    Its latent is `[B, L, S, D]`, a vector for every pair of a cell and a symbol, and no part of it knows one cell or
    one interchangeable symbol from another: it has no more weights on a large board than on a small one.
    """

    def _build(self, config: ReasonerConfig) -> None:
        check_declared(config.units, config.interchangeable, config.symbols, config.seq_len, config.vocab_size)
        for name, only in (("puzzle_embedding_width", 0), ("kernel", 0)):
            if getattr(config, name) != only:
                raise ValueError(f"mixer=units has {name}={only}, got {getattr(config, name)}")
        self.embed_puzzle = None
        self.network = UnitNetwork(
            config.layers,
            width=config.width,
            expansion=config.expansion,
            multiple_of=config.multiple_of,
            units=config.units,
            peers=config.peer_attention,
        )
        self.embed_pairs = PairEmbedding(config.width, config.vocab_size, config.symbols, config.interchangeable)

    def _build_heads(self, config: ReasonerConfig) -> None:
        self.pair_head = nn.Linear(config.width, 3)

    def step(self, inputs: Tensor, puzzle_id: Tensor, candidates: Tensor) -> DeductionOutput:
        """As `CandidateReasoner.step`; there are no puzzle embeddings."""
        x = self.embed_pairs(inputs, candidates)
        # Cells in front, as the network works.
        x = self._cast(x.transpose(0, 1).contiguous().transpose(0, 1))
        z = self._cast(self.initial_z).expand_as(x)
        latents = []
        for _ in range(self.config.inner_updates):
            z = self.network(z, x)
            latents.append(z)
        read = torch.stack(latents, dim=1)
        read = F.linear(read, self.pair_head.weight.to(read.dtype)).float() + self.pair_head.bias
        keep, symbol, conflict = read.unbind(-1)
        to_vocabulary = self.embed_pairs.to_vocabulary
        return DeductionOutput(to_vocabulary(keep), to_vocabulary(symbol), conflict.mean((-2, -1)))


def make_reasoner(config: ReasonerConfig) -> RecursiveReasoner:
    """The reasoner that carries what `config.state` says, and mixes as `config.mixer` does."""
    if config.state != "candidates":
        return RecursiveReasoner(config)
    return UnitReasoner(config) if config.mixer == "units" else CandidateReasoner(config)
