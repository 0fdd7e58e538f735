"""Self-attention with its residual and a norm: for few cells on a CPU with a backward pass written out.

A board has few cells, so the table of who looks at whom is small: it is kept, where the kernels made for long sequences
would compute it again. Rotary positions turn pairs of features; with the pairs side by side that is one multiplication
of complex numbers. The features of queries and keys are put side by side by reordering the rows of their weights, which
changes no product of a query with a key; the weights of queries also take in the scale of these products.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from latent_rl.agents.network.fused import is_derived, needs_gradient, norm_gradient, normalise, rms_norm

LARGEST_TABLE = 2**23
"""Numbers in the table of who looks at whom up to which it is kept: 32 megabytes in float32."""


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to `[..., length, head_width]`, pairing the first with the second half of a head."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def attention_norm(x: Tensor, qkv: Tensor, out: Tensor, heads: int, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
    """Self-attention over all positions, `rms_norm(x + out(attention(qkv(x))))`.

    Args:
        x: float `[B, L, D]`.
        qkv: float `[3 D, D]`, weights of all queries above those of all keys and values, head by head.
        out: float `[D, D]`.
        heads: of equal width D / heads.
        rotary: cosines and sines, each `[L, D / heads]`, whose second half repeats the first; None for none.

    Returns:
        The shape of `x`. All dtypes are the same.
    """
    batch, length, width = x.shape
    # A compiler is not asked about the size: an exported step takes any.
    plain = is_derived(x) or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64)
    if plain or batch * heads * length**2 > LARGEST_TABLE:
        query, key, value = F.linear(x, qkv).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        if rotary is not None:
            query, key = rotate(query, *rotary), rotate(key, *rotary)
        mixed = _mixed(query, key, value)
        return rms_norm(x + F.linear(mixed.transpose(1, 2).flatten(-2), out))
    turn = None if rotary is None else torch.complex(*(part[:, : part.shape[1] // 2] for part in rotary))
    if needs_gradient(x, qkv, out):
        return _AttentionNorm.apply(x, qkv, out, turn, heads)
    rows = x.reshape(-1, width)
    parts = _split(rows @ _arranged(qkv, heads, turn).t(), turn, batch, heads)
    mixed = F.scaled_dot_product_attention(*parts, scale=1.0).transpose(1, 2).reshape(-1, width)
    return normalise(torch.addmm(rows, mixed, out.t()), 1)[0].view_as(x)


def _mixed(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Values `[B, heads, L, D / heads]` that every position has gathered from all.

    In half precision the kernel that a CPU has for this takes up to 50 times as long back as forth
    (`docs/experiments.md`), so where there is a way back the table of a board is written out.
    """
    slow_back = query.device.type == "cpu" and query.element_size() < 4 and needs_gradient(query, key, value)
    if not slow_back or query.shape[0] * query.shape[1] * query.shape[2] ** 2 > LARGEST_TABLE:
        return F.scaled_dot_product_attention(query, key, value)
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    return scores.float().softmax(-1).to(value.dtype) @ value


class _AttentionNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, qkv: Tensor, out: Tensor, turn: Tensor | None, heads: int) -> Tensor:
        batch, length, width = x.shape
        rows = x.reshape(-1, width)
        weights = _arranged(qkv, heads, turn)
        parts = _split(rows @ weights.t(), turn, batch, heads)
        query, key, value = parts.flatten(1, 2)
        table = torch.bmm(query, key.mT)
        torch.softmax(table, -1, out=table)
        mixed = torch.bmm(table, value).view(parts.shape[1:]).transpose(1, 2).reshape(-1, width)
        normed, scale = normalise(torch.addmm(rows, mixed, out.t()), 1)
        ctx.heads = heads
        ctx.save_for_backward(rows, weights, out, turn, parts, table, mixed, normed, scale)
        return normed.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        rows, weights, out, turn, parts, table, mixed, normed, scale = ctx.saved_tensors
        batch, length, width = gradient.shape
        to_sum = norm_gradient(gradient.reshape(-1, width), normed, scale, 1)
        query, key, value = parts.flatten(1, 2)
        to_mixed = (to_sum @ out).view(batch, length, ctx.heads, -1).transpose(1, 2).reshape(query.shape)
        to_scores = torch.bmm(to_mixed, value.mT)
        to_scores = torch.ops.aten._softmax_backward_data(to_scores, table, -1, table.dtype)
        to_parts = torch.empty_like(parts)
        to_query, to_key, to_value = to_parts.flatten(1, 2)
        torch.bmm(to_scores, key, out=to_query)
        torch.bmm(to_scores.mT, query, out=to_key)
        torch.bmm(table.mT, to_mixed, out=to_value)
        to_all = _joined(to_parts, turn)
        to_weights = _arranged(to_all.t() @ rows, ctx.heads, turn, back=True)
        to_x = torch.addmm(to_sum, to_all, weights).view_as(gradient)
        return to_x, to_weights, to_sum.t() @ mixed, None, None


def _arranged(qkv: Tensor, heads: int, turn: Tensor | None, *, back: bool = False) -> Tensor:
    """Weights `[3 D, D]`, those of queries scaled, with both features of a rotary pair side by side.

    With `back`, of a gradient that of the weights as they were: scaled too, and half a head between the features.
    """
    width = qkv.shape[1]
    both = qkv[: 2 * width]
    if turn is not None:
        half = width // heads // 2
        both = both.unflatten(0, (2 * heads, half, 2) if back else (2 * heads, 2, half)).transpose(1, 2)
        both = both.reshape(2 * width, width)
    return torch.cat((both[:width] * (width // heads) ** -0.5, both[width:], qkv[2 * width :]))


def _split(together: Tensor, turn: Tensor | None, batch: int, heads: int) -> Tensor:
    """Queries, keys and values `[3, B, heads, L, D / heads]`, the former two turned, of `[B L, 3 D]`."""
    together = together.view(batch, -1, 3, heads, together.shape[1] // 3 // heads).permute(2, 0, 3, 1, 4)
    if turn is None:
        return together.contiguous()
    parts = together.new_empty(together.shape)
    torch.mul(_complex(together[:2]), turn, out=_complex(parts[:2]))
    parts[2] = together[2]
    return parts


def _joined(parts: Tensor, turn: Tensor | None) -> Tensor:
    """The gradient `[B L, 3 D]`, given that of what `_split` made of it."""
    _, batch, heads, length, head_width = parts.shape
    together = parts.new_empty(batch, length, 3, heads, head_width)
    places = together.permute(2, 0, 3, 1, 4)
    if turn is None:
        places.copy_(parts)
    else:
        torch.mul(_complex(parts[:2]), turn.conj().resolve_conj(), out=_complex(places[:2]))
        places[2] = parts[2]
    return together.view(batch * length, -1)


def _complex(x: Tensor) -> Tensor:
    """Pairs side by side as complex numbers, in the same memory."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))
