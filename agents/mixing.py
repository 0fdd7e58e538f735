"""Scattering integers: a hash for what must come out the same wherever and whenever it is computed."""

from __future__ import annotations

import torch
from torch import Tensor


def mix(x: Tensor) -> Tensor:
    """Scatter int64 values over all int64 values: SplitMix64's output function, a bijection (Steele et al. 2014)."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shift_right(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift_right(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift_right(x, 31)


def mix_rows(tokens: Tensor) -> Tensor:
    """One scattered int64 `[*B]` for each row of tokens, int64 `[*B, L]`: of which token stands in which cell."""
    cells = torch.arange(tokens.shape[-1], device=tokens.device)
    # Two rounds, so that neither nearby tokens nor nearby cells share anything of their hash.
    return mix(mix(tokens + mix(cells)).sum(-1))


def _signed(constant: int) -> int:
    """The int64 with the bits of an unsigned constant: PyTorch's int64 products and sums wrap around alike."""
    return constant - (1 << 64) if constant >= 1 << 63 else constant


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: PyTorch's own copies the sign bit of an int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
