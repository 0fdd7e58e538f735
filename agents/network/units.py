"""A network that is told how a puzzle is built: which cells share a unit, and which symbols are only names.

Its latent has one vector for every pair of a cell and a symbol that the cell may hold. A pair hears the mean over its
symbol in each of its units (messages between cells that share a row, column or box, as in Recurrent Relational
Networks, arXiv 1711.08028) and the mean over the symbols of its cell. All pairs have the same weights, so that renaming
symbols renames the answer and changes nothing else (Deep Sets, arXiv 1703.06114).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latent_rl.agents.network.blocks import Linear, SwiGLU, truncated_normal_
from latent_rl.agents.network.fused import rms_norm


class MessagePassing(nn.Module):
    """What every pair of a cell and a symbol hears of the others.

    That is `sum_k W_k mean(x of the symbol over unit k of the cell) + W mean(x of all symbols of the cell)`; the whole
    board is one more kind of unit.

    Args:
        width: D.
        units: for every kind, the unit of each of the L cells.
    """

    def __init__(self, width: int, units: Sequence[Sequence[int]]) -> None:
        super().__init__()
        board = [0] * len(units[0])
        members = [
            (kind, [float(other == unit) for other in of])
            for kind, of in enumerate((*units, board))
            for unit in sorted(set(of))
        ]
        belongs = torch.tensor([row for _, row in members])
        self.register_buffer("pool", belongs / belongs.sum(1, keepdim=True), persistent=False)
        self.register_buffer("spread", belongs.t().contiguous(), persistent=False)
        self.register_buffer("kinds", torch.tensor([kind for kind, _ in members]), persistent=False)
        self.of_units = nn.Parameter(torch.empty(len(units) + 1, width, width))
        truncated_normal_(self.of_units.data, 1 / math.sqrt(width))
        self.of_symbols = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[L, B, S, D]` to the same shape."""
        cells, *_, width = x.shape
        # Units are three times fewer than cells: what is heard is worked out for units, then spread.
        pooled = (self.pool.to(x.dtype) @ x.reshape(cells, -1)).unflatten(1, (-1, width))
        told = torch.bmm(pooled, self.of_units.to(x.dtype)[self.kinds])
        heard = (self.spread.to(x.dtype) @ told.flatten(1)).view_as(x)
        return heard + self.of_symbols(x.mean(2, keepdim=True))


class PeerAttention(nn.Module):
    """What every cell gathers from its peers, the cells that share a unit with it: from those that it asks for.

    A mean cannot say *which* two cells of a row have the same two candidates left. Here a cell weighs its peers and
    itself by queries and keys over all of its symbols at once, in one head, and takes of each symbol what they hold of
    the same symbol: renaming symbols changes no weight, and renames what is gathered.

    What is gathered starts as nothing, so that a network without it can be given it (`train --init`) and computes the
    same.

    Args:
        width: D. Queries and keys are half as wide.
        units: for every kind, the unit of each of the L cells.
    """

    def __init__(self, width: int, units: Sequence[Sequence[int]]) -> None:
        super().__init__()
        of = torch.tensor([list(unit) for unit in units])
        share = (of.unsqueeze(2) == of.unsqueeze(1)).any(0)
        self.register_buffer("apart", torch.zeros(share.shape).masked_fill(~share, NEVER_SEEN), persistent=False)
        self.query, self.key = Linear(width, max(width // 2, 1)), Linear(width, max(width // 2, 1))
        self.value = Linear(width, width)
        nn.init.zeros_(self.value.weight)

    def forward(self, x: Tensor) -> Tensor:
        """`[L, B, S, D]` to the same shape."""
        # Symbols and features of a cell as one vector, boards in front: views, so that nothing is copied. Written out,
        # because the library's kernel was slower here, the way back in half precision above all.
        query, key, value = (of(x).flatten(2).transpose(0, 1) for of in (self.query, self.key, self.value))
        weights = torch.bmm(query, key.transpose(1, 2)) * query.shape[-1] ** -0.5 + self.apart.to(x.dtype)
        return torch.bmm(weights.softmax(-1), value).transpose(0, 1).unflatten(2, x.shape[2:])


class UnitBlock(nn.Module):
    """One layer: messages, norm, gated MLP, norm; the norm follows the residual sum, as in `Block`."""

    def __init__(
        self, width: int, expansion: float, multiple_of: int, units: Sequence[Sequence[int]], peers: bool
    ) -> None:
        super().__init__()
        self.messages = MessagePassing(width, units)
        self.attention = PeerAttention(width, units) if peers else None
        self.mlp = SwiGLU(width, expansion, multiple_of)

    def forward(self, x: Tensor) -> Tensor:
        """`[L, B, S, D]` to the same shape."""
        heard = self.messages(x)
        if self.attention is not None:
            heard = heard + self.attention(x)
        return self.mlp(rms_norm(x + heard))


class UnitNetwork(nn.Module):
    """The shared network over pairs. One call on one puzzle is one network pass."""

    def __init__(self, layers: int, **block_options: object) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(UnitBlock(**block_options) for _ in range(layers))

    def forward(self, latent: Tensor, injection: Tensor) -> Tensor:
        """Update `latent` given `injection`, both `[B, L, S, D]`; returns the same shape."""
        # Cells in front, as in `Block`.
        x = (latent + injection).transpose(0, 1)
        for block in self.blocks:
            x = block(x)
        return x.transpose(0, 1)


class PairEmbedding(nn.Module):
    """What a pair of a cell and a symbol starts from: is the symbol possible, the only one, given; and what was given.

    Args:
        width: D.
        vocab_size: V.
        symbols: the S tokens that cells can turn out to hold.
        interchangeable: tokens that are only names; the others have a vector of their own.
    """

    def __init__(self, width: int, vocab_size: int, symbols: Sequence[int], interchangeable: Sequence[int]) -> None:
        super().__init__()
        others = [token for token in range(vocab_size) if token not in interchangeable]
        kinds = [others.index(token) if token in others else len(others) for token in range(vocab_size)]
        self.register_buffer("kinds", torch.tensor(kinds), persistent=False)
        self.register_buffer("symbols", torch.tensor(symbols), persistent=False)
        self.standing = nn.Embedding(8, width)
        self.given = nn.Embedding(max(kinds) + 1, width)
        self.symbol = nn.Embedding(max(kinds) + 1, width)
        for table in (self.standing, self.given, self.symbol):
            truncated_normal_(table.weight.data, 1.0)

    def forward(self, inputs: Tensor, candidates: Tensor) -> Tensor:
        """Float32 `[B, L, S, D]` of tokens int64 `[B, L]` and candidates bool `[B, L, V]`."""
        alive = candidates[..., self.symbols]
        single = (alive.sum(-1, keepdim=True) == 1).expand_as(alive)
        given = inputs.unsqueeze(-1) == self.symbols
        standing = self.standing(alive.long() + 2 * single.long() + 4 * given.long())
        of_cell = self.given(self.kinds[inputs]).unsqueeze(-2)
        return standing + of_cell + self.symbol(self.kinds[self.symbols])

    def to_vocabulary(self, logits: Tensor) -> Tensor:
        """Logits `[*B, L, S]` of the symbols as `[*B, L, V]`; no cell can hold any other token."""
        spread = logits.new_full((*logits.shape[:-1], len(self.kinds)), NEVER)
        return spread.index_copy(-1, self.symbols, logits)


NEVER_SEEN = -1e4
"""Added to the weight of a cell that shares no unit, before the softmax: finite in every dtype."""

NEVER = -20.0
"""Logit of what cannot be: finite, so that losses that are not to count it multiply it by 0."""


def check_declared(
    units: Sequence[Sequence[int]], interchangeable: Sequence[int], symbols: Sequence[int], cells: int, vocab_size: int
) -> None:
    """Raise `ValueError` if this is not what a puzzle of so many cells and tokens can declare about itself."""
    if not units:
        raise ValueError("mixer=units needs a puzzle that declares its units; mixer=mlp is for every puzzle")
    for of in units:
        if len(of) != cells:
            raise ValueError(f"units name the unit of each of {cells} cells, got {len(of)}")
    for name, tokens in (("interchangeable", interchangeable), ("symbols", symbols)):
        if len(set(tokens)) < len(tokens) or not all(0 <= token < vocab_size for token in tokens):
            raise ValueError(f"{name} must be distinct tokens within 0 to {vocab_size - 1}, got {list(tokens)}")
    if not symbols:
        raise ValueError("symbols names no token that a cell can turn out to hold")
