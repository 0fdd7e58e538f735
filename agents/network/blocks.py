"""The shared network: post-norm blocks that mix positions by attention or by an MLP (TRM, arXiv 2510.04871)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_rl.agents.network.attending import attention_norm
from latent_rl.agents.network.fused import gated_norm, rms_norm

ROPE_THETA = 10_000.0
# Standard deviation of a unit normal truncated to [-2, 2]; dividing by it restores the asked-for deviation.
TRUNCATED_STD = 0.8796256610342398


def truncated_normal_(tensor: Tensor, std: float) -> Tensor:
    """Fill with a normal truncated at two deviations, rescaled so that the result has deviation `std`, in place."""
    scale = std / TRUNCATED_STD
    return nn.init.trunc_normal_(tensor, std=scale, a=-2 * scale, b=2 * scale)


class Linear(nn.Linear):
    """A linear map with LeCun truncated-normal weights and no bias, as everywhere in TRM but in the q head.

    It computes in the dtype of what it is given: bfloat16 features meet weights that are rounded to bfloat16.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        truncated_normal_(self.weight, 1 / math.sqrt(self.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """`[*B, in_features]` to `[*B, out_features]`."""
        return F.linear(x, self.weight.to(x.dtype))


def rotary_table(length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions 0 .. length-1, each float32 `[length, head_width]`."""
    frequencies = ROPE_THETA ** (-torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


class BoardConvolution(nn.Module):
    """A depthwise convolution over the board and a SiLU: every feature looks at the cells around its own.

    The short convolution of the Universal Reasoning Model (arXiv 2512.14693), which runs along the sequence there, in
    the two dimensions of a board. The positions in front of the cells have no place on the board and stay as they are.

    Args:
        features: F.
        kernel: cells across, odd.
        grid_shape: rows and columns of the board.
    """

    def __init__(self, features: int, kernel: int, grid_shape: tuple[int, int]) -> None:
        super().__init__()
        self.grid_shape = grid_shape
        self.depthwise = nn.Conv2d(features, features, kernel, padding=kernel // 2, groups=features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, P + R C, F]` to the same shape."""
        rows, columns = self.grid_shape
        front, cells = x.split((x.shape[1] - rows * columns, rows * columns), dim=1)
        board = cells.transpose(1, 2).unflatten(-1, self.grid_shape)
        mixed = self.depthwise._conv_forward(board, self.depthwise.weight.to(x.dtype), None)
        mixed = F.silu(mixed).flatten(-2).transpose(1, 2)
        return torch.cat((front, mixed), dim=1)


class SwiGLU(nn.Module):
    """Gated MLP with its residual and a norm: `rms_norm(x + down(silu(gate(x)) * up(x)))`.

    The inner width is 2/3 of `expansion * width`, rounded to an integer, then up to a multiple of `multiple_of`.
    With `kernel`, a `BoardConvolution` stands before `down`.
    """

    def __init__(
        self,
        width: int,
        expansion: float,
        multiple_of: int,
        kernel: int = 0,
        grid_shape: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        inner = math.ceil(round(expansion * width * 2 / 3) / multiple_of) * multiple_of
        self.gate_up = Linear(width, 2 * inner)
        self.convolution = BoardConvolution(inner, kernel, grid_shape) if kernel else None
        self.down = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the features of `[*B, width]`; with a convolution, of `[B, P + R C, width]`. Returns the same shape."""
        if self.convolution is None:
            return gated_norm(x.flatten(0, -2), *self._weights(x)).view_as(x)
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return rms_norm(x + self.down(self.convolution(F.silu(gate) * up)))

    def across(self, x: Tensor) -> Tensor:
        """Mix positions: the MLP and its norm run along the first dimension of `[width, *B]`; the same shape."""
        return gated_norm(x.flatten(1), *self._weights(x), dim=0).view_as(x)

    def _weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.gate_up.weight.to(x.dtype), self.down.weight.to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention over all positions with its residual and a norm, with or without rotary positions."""

    def __init__(self, width: int, heads: int, length: int, rotary: bool) -> None:
        super().__init__()
        if width % heads or (width // heads) % 2:
            raise ValueError(f"width {width} cannot be split into {heads} heads of an even width")
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)
        self.rotary = rotary
        if rotary:
            cos, sin = rotary_table(length, width // heads)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, length, D]` to the same shape."""
        rotary = (self.cos.to(x.dtype), self.sin.to(x.dtype)) if self.rotary else None
        return attention_norm(x, self.qkv.weight.to(x.dtype), self.out.weight.to(x.dtype), self.heads, rotary)


class Block(nn.Module):
    """One layer: mix positions, norm, gated MLP, norm; the norm follows the residual sum.

    With MLP mixing the first norm runs along the positions, not along the width, as in the official code.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        expansion: float,
        length: int,
        mixer: str,
        rotary: bool,
        multiple_of: int,
        kernel: int = 0,
        grid_shape: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads, length, rotary) if mixer == "attention" else None
        self.position_mlp = SwiGLU(length, expansion, multiple_of) if mixer == "mlp" else None
        self.mlp = SwiGLU(width, expansion, multiple_of, kernel, grid_shape)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, length, D]` to the same shape."""
        if self.attention is not None:
            return self.mlp(self.attention(x))
        # Positions in front, [length, B, D]: both MLPs are then plain matrix products of what lies in memory.
        x = self.position_mlp.across(x.transpose(0, 1).contiguous())
        if self.mlp.convolution is not None:
            return self.mlp(x.transpose(0, 1).contiguous())
        return self.mlp(x).transpose(0, 1)


class SharedNetwork(nn.Module):
    """The one network that every update of a latent goes through. One call on one puzzle is one *network pass*."""

    def __init__(self, layers: int, **block_options: object) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(**block_options) for _ in range(layers))

    def forward(self, latent: Tensor, injection: Tensor) -> Tensor:
        """Update `latent` given `injection`, both `[B, P + L, D]`; returns the same shape."""
        x = latent + injection
        for block in self.blocks:
            x = block(x)
        return x
