"""The two formulas that a network pass spends its time on, each with a backward pass written out.

What automatic differentiation would keep and walk through again, the passes here keep once: of a norm only its result
and a scale, of a gated MLP only the product with its first weight. Both work along either dimension, so that nothing is
transposed. A compiler is given the plain formulas: it fuses what it has derived itself better than what is written out.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

NORM_EPS = 1e-5


def rms_norm(x: Tensor, dim: int = -1) -> Tensor:
    """Root-mean-square norm `x / sqrt(mean(x^2) + 1e-5)` along a dimension, without learned weights.

    Args:
        x: float, any shape; the mean is taken in float32 or better.
        dim: what is normalised.

    Returns:
        The shape and dtype of `x`.
    """
    if _is_derived(x):
        wide = _at_least_float32(x)
        return (wide * (wide.square().mean(dim, keepdim=True) + NORM_EPS).rsqrt()).to(x.dtype)
    return _RMSNorm.apply(x, dim)


def gated_residual(x: Tensor, gate_up: Tensor, down: Tensor, dim: int = 1) -> Tensor:
    """A gated MLP with its residual: `x + down(silu(gate(x)) * up(x))` along one dimension of a matrix.

    Args:
        x: float `[N, F]` for `dim=1`, `[F, N]` for `dim=0`: F features of N independent rows or columns.
        gate_up: float `[2 I, F]`, the weights of `gate` above those of `up`.
        down: float `[F, I]`.
        dim: which dimension holds the features.

    Returns:
        The shape of `x`. All dtypes are the same.
    """
    if _is_derived(x):
        gate, up = (x @ gate_up.t() if dim else gate_up @ x).chunk(2, dim)
        hidden = F.silu(gate) * up
        return x + (hidden @ down.t() if dim else down @ hidden)
    return _GatedResidual.apply(x, gate_up, down, dim)


def _is_derived(x: Tensor) -> bool:
    """Whether the plain formulas are better: for a compiler, and under autocast, which changes dtypes in between."""
    device = x.device.type
    # The meta device has no autocast, and asking it is an error.
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.compiler.is_compiling() or autocast


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, dim: int) -> Tensor:
        wide = _at_least_float32(x)
        scale = (wide * wide).mean(dim, keepdim=True).add_(NORM_EPS).rsqrt_()
        normed = (wide * scale).to(x.dtype)
        ctx.dim = dim
        ctx.save_for_backward(normed, scale)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        normed, scale = ctx.saved_tensors
        wide, normed = _at_least_float32(gradient), _at_least_float32(normed)
        # With n = s x: dL/dx = s (g - n mean(g n)).
        along = (wide * normed).mean(ctx.dim, keepdim=True)
        return torch.addcmul(wide, normed, along, value=-1).mul_(scale).to(gradient.dtype), None


class _GatedResidual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, gate_up: Tensor, down: Tensor, dim: int) -> Tensor:
        both = x @ gate_up.t() if dim else gate_up @ x
        gate, up = both.chunk(2, dim)
        hidden = F.silu(gate).mul_(up)
        ctx.dim = dim
        ctx.save_for_backward(x, gate_up, down, both)
        return torch.addmm(x, hidden, down.t()) if dim else torch.addmm(x, down, hidden)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, gate_up, down, both = ctx.saved_tensors
        dim = ctx.dim
        gate, up = both.chunk(2, dim)
        to_hidden = gradient @ down if dim else down.t() @ gradient
        activated = F.silu(gate)
        to_both = torch.empty_like(both)
        to_gate, to_up = to_both.chunk(2, dim)
        torch.mul(to_hidden, activated, out=to_up)
        torch.ops.aten.silu_backward.grad_input(to_hidden.mul_(up), gate, grad_input=to_gate)
        hidden = activated.mul_(up)
        if dim:
            return torch.addmm(gradient, to_both, gate_up), to_both.t() @ x, gradient.t() @ hidden, None
        return torch.addmm(gradient, gate_up.t(), to_both), to_both @ x.t(), gradient @ hidden.t(), None


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
