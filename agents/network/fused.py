"""The formulas that a network pass spends its time on, each with a backward pass written out.

What automatic differentiation would keep and walk through again, the passes here keep once: of a norm only its result
and a scale, of a gated MLP only the product with its first weight. All of them work along either dimension, so that
nothing is transposed. On a CPU the gradient of a gated MLP is computed for a part of the rows at a time, which then
stays in the cache. A compiler is given the plain formulas: it fuses what it has derived itself better than what is
written out.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

NORM_EPS = 1e-5

PART = 2**18
"""Numbers of the widest tensor in a part of a backward pass: a megabyte in float32. Up to four parts are one."""


def rms_norm(x: Tensor, dim: int = -1) -> Tensor:
    """Root-mean-square norm `x / sqrt(mean(x^2) + 1e-5)` along a dimension, without learned weights.

    Args:
        x: float, any shape; the mean is taken in float32 or better.
        dim: what is normalised.

    Returns:
        The shape and dtype of `x`.
    """
    if is_derived(x):
        wide = at_least_float32(x)
        return (wide * (wide.square().mean(dim, keepdim=True) + NORM_EPS).rsqrt()).to(x.dtype)
    return _RMSNorm.apply(x, dim)


def gated_norm(x: Tensor, gate_up: Tensor, down: Tensor, dim: int = 1) -> Tensor:
    """A gated MLP with its residual and a norm, `rms_norm(x + down(silu(gate(x)) * up(x)))`, along one dimension.

    Args:
        x: float `[N, F]` for `dim=1`, `[F, N]` for `dim=0`: F features of N independent rows or columns.
        gate_up: float `[2 I, F]`, the weights of `gate` above those of `up`.
        down: float `[F, I]`.
        dim: which dimension holds the features.

    Returns:
        The shape of `x`. All dtypes are the same.
    """
    if is_derived(x):
        gate, up = (x @ gate_up.t() if dim else gate_up @ x).chunk(2, dim)
        hidden = F.silu(gate) * up
        return rms_norm(x + (hidden @ down.t() if dim else down @ hidden), dim)
    if needs_gradient(x, gate_up, down):
        return _GatedNorm.apply(x, gate_up, down, dim)
    others, result = 1 - dim, torch.empty_like(x)
    for start, length in _parts(x, gate_up, dim):
        part = x.narrow(others, start, length)
        gate, up = (part @ gate_up.t() if dim else gate_up @ part).chunk(2, dim)
        hidden = F.silu(gate).mul_(up)
        summed = torch.addmm(part, hidden, down.t()) if dim else torch.addmm(part, down, hidden)
        result.narrow(others, start, length).copy_(normalise(summed, dim)[0])
    return result


def needs_gradient(*tensors: Tensor) -> bool:
    """Whether what is computed from the tensors will be walked back through."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def is_derived(x: Tensor) -> bool:
    """Whether the plain formulas are better: for a compiler, and under autocast, which changes dtypes in between."""
    device = x.device.type
    # The meta device has no autocast, and asking it is an error.
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.compiler.is_compiling() or autocast


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, in float32 if its dtype is a smaller one."""
    return x if x.dtype == torch.float64 else x.float()


def normalise(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The norm of `x` along a dimension, written into `x` if that is wide enough, and the scale that made it."""
    wide = at_least_float32(x)
    scale = (wide * wide).mean(dim, keepdim=True).add_(NORM_EPS).rsqrt_()
    return (wide.mul_(scale) if wide is x else (wide * scale).to(x.dtype)), scale


def norm_gradient(gradient: Tensor, normed: Tensor, scale: Tensor, dim: int) -> Tensor:
    """The gradient of what was normalised, given that of the result: `s (g - n mean(g n))` with `n = s x`."""
    wide, normed = at_least_float32(gradient), at_least_float32(normed)
    along = (wide * normed).mean(dim, keepdim=True)
    return torch.addcmul(wide, normed, along, value=-1).mul_(scale).to(gradient.dtype)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, dim: int) -> Tensor:
        wide = at_least_float32(x)
        scale = (wide * wide).mean(dim, keepdim=True).add_(NORM_EPS).rsqrt_()
        normed = (wide * scale).to(x.dtype)
        ctx.dim = dim
        ctx.save_for_backward(normed, scale)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return norm_gradient(gradient, *ctx.saved_tensors, ctx.dim), None


class _GatedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, gate_up: Tensor, down: Tensor, dim: int) -> Tensor:
        both = x @ gate_up.t() if dim else gate_up @ x
        gate, up = both.chunk(2, dim)
        hidden = F.silu(gate).mul_(up)
        summed = torch.addmm(x, hidden, down.t()) if dim else torch.addmm(x, down, hidden)
        normed, scale = normalise(summed, dim)
        ctx.dim = dim
        ctx.save_for_backward(x, gate_up, down, both, normed, scale)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, gate_up, down, both, normed, scale = ctx.saved_tensors
        dim, others = ctx.dim, 1 - ctx.dim
        to_x, to_gate_up, to_down = torch.empty_like(x), torch.zeros_like(gate_up), torch.zeros_like(down)
        for start, length in _parts(x, gate_up, dim):
            to_sum = norm_gradient(*(one.narrow(others, start, length) for one in (gradient, normed, scale)), dim)
            part, (gate, up) = x.narrow(others, start, length), both.narrow(others, start, length).chunk(2, dim)
            to_both = torch.empty_like(both.narrow(others, start, length), memory_format=torch.contiguous_format)
            to_gate, to_up = to_both.chunk(2, dim)
            to_hidden = to_sum @ down if dim else down.t() @ to_sum
            activated = F.silu(gate)
            torch.mul(to_hidden, activated, out=to_up)
            torch.ops.aten.silu_backward.grad_input(to_hidden.mul_(up), gate, grad_input=to_gate)
            hidden = activated.mul_(up)
            if dim:
                torch.addmm(to_sum, to_both, gate_up, out=to_x.narrow(0, start, length))
                to_gate_up.addmm_(to_both.t(), part)
                to_down.addmm_(to_sum.t(), hidden)
            else:
                torch.addmm(to_sum, gate_up.t(), to_both, out=to_x.narrow(1, start, length))
                to_gate_up.addmm_(to_both, part.t())
                to_down.addmm_(to_sum, hidden.t())
        return to_x, to_gate_up, to_down, None


def _parts(x: Tensor, gate_up: Tensor, dim: int) -> list[tuple[int, int]]:
    """The rows or columns that are computed at a time: where each part starts, and its length."""
    whole, inner = x.shape[1 - dim], gate_up.shape[0]
    # A sum over parts would be rounded at every part, which half precision has no digits for; a GPU wants them all.
    one = x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or whole * inner <= 4 * PART
    size = max(1, whole) if one else max(64, PART // inner)
    return [(start, min(size, whole - start)) for start in range(0, whole, size)]
