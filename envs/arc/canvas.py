"""ARC grids on a square canvas of tokens, and their symmetries, colour permutations and translations, on tensors.

A canvas is `[S, S]` in reading order: padding, and one grid of colours whose lower and right edge are marked by a line
of `END`, where the canvas has room for it. This is the encoding of the official code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latent_rl.envs.arc.tasks import COLOURS
from latent_rl.envs.puzzle import PAD

END = 1
"""Token of the line that marks where a grid ends."""

FIRST_COLOUR = 2
"""Token of colour 0; colour `c` is token `c + 2`."""

SYMMETRIES = 8
TRANSPOSES, FLIPS_ROWS, FLIPS_COLUMNS = 4, 2, 1
"""Bits of a symmetry's number: rows and columns are flipped first, then the grid is transposed."""


@dataclass(frozen=True)
class Augmentation:
    """A symmetry, a permutation of colours and a place on the canvas for each of `B` grids.

    Attributes:
        symmetry: int64 `[B]`, 0 to 7; 0 leaves the grid as it is.
        colours: int64 `[B, 10]`, the new colour of each colour.
        offset: int64 `[B, 2]`, the row and column of the canvas where the grid begins.
    """

    symmetry: Tensor
    colours: Tensor
    offset: Tensor

    def apply(self, canvases: Tensor) -> Tensor:
        """Images of canvases int64 `[B, S * S]` whose grids begin in the upper left corner."""
        height, width = crop(canvases)
        return _place(canvases, height, width, self.symmetry, self.colours, self.offset)

    def undo(self, canvases: Tensor) -> Tensor:
        """The exact inverse of `apply`; the grid of any canvas int64 `[B, S * S]` is what `crop` finds at `offset`."""
        moved = _shifted(canvases, self.offset)
        height, width = crop(moved)
        # T F = F' T: transposing after the flips is transposing before them, with the two flips exchanged.
        exchanged = (
            TRANSPOSES
            + FLIPS_ROWS * _has(self.symmetry, FLIPS_COLUMNS).long()
            + FLIPS_COLUMNS * _has(self.symmetry, FLIPS_ROWS).long()
        )
        inverse = torch.where(_has(self.symmetry, TRANSPOSES), exchanged, self.symmetry)
        return _place(moved, height, width, inverse, self.colours.argsort(-1), torch.zeros_like(self.offset))


def encode(grid: np.ndarray, side: int) -> Tensor:
    """The canvas, int64 `[side * side]`, of a grid uint8 `[rows, columns]`, which begins in the upper left corner."""
    rows, columns = grid.shape
    canvas = torch.full((side, side), PAD, dtype=torch.int64)
    canvas[:rows, :columns] = torch.from_numpy(grid.astype(np.int64)) + FIRST_COLOUR
    canvas[rows : rows + 1, :columns] = END
    canvas[:rows, columns : columns + 1] = END
    return canvas.flatten()


def decode(canvases: Tensor) -> list[np.ndarray]:
    """The grids, uint8 `[rows, columns]`, that `crop` finds on canvases int64 `[B, S * S]`; `[0, 0]` where none is."""
    side = side_of(canvases)
    tokens = (canvases.view(-1, side, side) - FIRST_COLOUR).cpu().numpy()
    sizes = torch.stack(crop(canvases), dim=-1).tolist()
    return [board[:rows, :columns].astype(np.uint8) for board, (rows, columns) in zip(tokens, sizes, strict=True)]


def crop(canvases: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width, int64 `[B]` each, of the largest rectangle of colours in the upper left corner of a canvas.

    The first of several with the same area counts, from few rows to many; (0, 0) if the corner holds no colour. Which
    is how the official evaluator reads an answer.
    """
    side = side_of(canvases)
    is_colour = canvases.view(-1, side, side) >= FIRST_COLOUR
    # The width of a rectangle of r rows is the shortest run of colours at the start of its rows.
    runs = is_colour.long().cumprod(-1).sum(-1)
    widths = runs.cummin(-1).values
    areas = widths * torch.arange(1, side + 1, device=canvases.device)
    best = areas.argmax(-1)
    width = widths.gather(1, best.unsqueeze(1)).squeeze(1)
    return torch.where(width > 0, best + 1, 0), width


def side_of(canvases: Tensor) -> int:
    """`S` of canvases `[B, S * S]`."""
    return round(canvases.shape[-1] ** 0.5)


def turned_size(height: Tensor, width: Tensor, symmetry: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width of grids after a symmetry."""
    transposes = _has(symmetry, TRANSPOSES)
    return torch.where(transposes, width, height), torch.where(transposes, height, width)


def _has(symmetry: Tensor, bit: int) -> Tensor:
    return (symmetry & bit) > 0


def _place(
    canvases: Tensor, height: Tensor, width: Tensor, symmetry: Tensor, colours: Tensor, offset: Tensor
) -> Tensor:
    """Canvases `[B, S * S]` with the images of the grids `[height, width]` in the upper left corners of `canvases`."""
    side = side_of(canvases)
    rows, columns = (size.view(-1, 1, 1) for size in turned_size(height, width, symmetry))
    row, column = _places(side, offset)
    in_rows, in_columns = (row >= 0) & (row < rows), (column >= 0) & (column < columns)
    # A grid of no cells has no edge either.
    ends = ((row == rows) & in_columns) | ((column == columns) & in_rows)

    transposes, flips_rows, flips_columns = (
        _has(symmetry, bit).view(-1, 1, 1) for bit in (TRANSPOSES, FLIPS_ROWS, FLIPS_COLUMNS)
    )
    source_row, source_column = torch.where(transposes, column, row), torch.where(transposes, row, column)
    source_row = torch.where(flips_rows, height.view(-1, 1, 1) - 1 - source_row, source_row)
    source_column = torch.where(flips_columns, width.view(-1, 1, 1) - 1 - source_column, source_column)
    source = source_row.clamp(0, side - 1) * side + source_column.clamp(0, side - 1)
    taken = canvases.gather(1, source.flatten(1)).view_as(source)
    recoloured = colours.gather(1, (taken - FIRST_COLOUR).clamp(0, COLOURS - 1).flatten(1)).view_as(source)
    outside = torch.where(ends, END, PAD)
    return torch.where(in_rows & in_columns, recoloured + FIRST_COLOUR, outside).flatten(1)


def _shifted(canvases: Tensor, offset: Tensor) -> Tensor:
    """Canvases whose upper left corner is the old cell `offset`; what was not on the old canvas is padding."""
    side = side_of(canvases)
    row, column = _places(side, -offset)
    source = (row.clamp(max=side - 1) * side + column.clamp(max=side - 1)).flatten(1)
    kept = ((row < side) & (column < side)).flatten(1)
    return torch.where(kept, canvases.gather(1, source), PAD)


def _places(side: int, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every cell, counted from `offset` `[B, 2]`, broadcast to int64 `[B, side, side]` each."""
    lines = torch.arange(side, device=offset.device)
    row = lines.view(1, -1, 1) - offset[:, 0].view(-1, 1, 1)
    column = lines.view(1, 1, -1) - offset[:, 1].view(-1, 1, 1)
    return torch.broadcast_tensors(row, column)
