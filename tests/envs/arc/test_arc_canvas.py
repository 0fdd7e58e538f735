"""Grids on the canvas, as the official code writes and reads them; every augmentation has an exact inverse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_rl.envs.arc.canvas import (
    END,
    FLIPS_COLUMNS,
    FLIPS_ROWS,
    SYMMETRIES,
    TRANSPOSES,
    Augmentation,
    crop,
    decode,
    encode,
)
from latent_rl.envs.puzzle import PAD


def test_a_grid_is_marked_where_it_ends() -> None:
    board = encode(np.array([[0, 9, 3], [1, 2, 3]], dtype=np.uint8), side=4).view(4, 4)
    assert board.tolist() == [[2, 11, 5, END], [3, 4, 5, END], [END, END, END, PAD], [PAD] * 4]
    assert encode(np.full((4, 4), 7, dtype=np.uint8), side=4).unique().tolist() == [9]


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        (["22.", "22.", "..."], (2, 2)),
        ([".22", "222", "222"], (0, 0)),  # the corner decides
        (["222", "2..", "2.."], (1, 3)),  # 1 x 3 before 3 x 1: the first of equal areas
        (["222", "22.", "2.."], (2, 2)),
        (["222", "2_2", "222"], (1, 3)),
        (["222", "222", "222"], (3, 3)),
    ],
)
def test_crop_finds_the_official_rectangle(rows: list[str], size: tuple[int, int]) -> None:
    tokens = {"2": 2, ".": END, "_": PAD}
    canvas = torch.tensor([[tokens[cell] for row in rows for cell in row]])
    assert tuple(int(length) for length in crop(canvas)) == size
    assert decode(canvas)[0].shape == size


@st.composite
def placed_grids(draw: st.DrawFn) -> tuple[np.ndarray, int, list[int], int, tuple[int, int]]:
    """A grid, a symmetry, colours, the side of a canvas, and a place where the image has room."""
    side = draw(st.integers(1, 30))
    rows, columns = draw(st.integers(1, side)), draw(st.integers(1, side))
    seed = draw(st.integers(0, 2**32 - 1))
    grid = np.random.default_rng(seed).integers(0, 10, (rows, columns), dtype=np.uint8)
    symmetry = draw(st.integers(0, SYMMETRIES - 1))
    colours = [0, *draw(st.permutations(range(1, 10)))]
    height, width = (columns, rows) if symmetry & TRANSPOSES else (rows, columns)
    offset = draw(st.integers(0, side - height)), draw(st.integers(0, side - width))
    return grid, symmetry, colours, side, offset


@settings(max_examples=150, deadline=None)
@given(placed_grids())
def test_augmentations_do_what_numpy_does_and_are_undone_exactly(case: tuple) -> None:
    grid, symmetry, colours, side, offset = case
    image = np.array(colours, dtype=np.uint8)[grid]
    image = np.flip(image, [axis for axis, bit in ((0, FLIPS_ROWS), (1, FLIPS_COLUMNS)) if symmetry & bit])
    image = image.T if symmetry & TRANSPOSES else image

    canvas = encode(grid, side).unsqueeze(0)
    augmentation = Augmentation(*(torch.tensor([value]) for value in (symmetry, colours, offset)))
    placed = augmentation.apply(canvas)
    top, left = offset
    board = placed.view(side, side)
    corner = encode(image, side).view(side, side)
    assert torch.equal(board[top:, left:], corner[: side - top, : side - left])
    assert (board[:top] == PAD).all() and (board[:, :left] == PAD).all()
    assert torch.equal(augmentation.undo(placed), canvas)


def test_rows_of_a_batch_do_not_mix() -> None:
    grids = [np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(4, dtype=np.uint8).reshape(2, 2)]
    canvases = torch.stack([encode(grid, 5) for grid in grids])
    both = Augmentation(
        torch.tensor([4, 3]), torch.tensor([list(range(10)), [0, *range(9, 0, -1)]]), torch.eye(2).long()
    )
    one_by_one = [
        Augmentation(both.symmetry[row : row + 1], both.colours[row : row + 1], both.offset[row : row + 1])
        for row in range(2)
    ]
    alone = torch.cat([each.apply(canvases[row : row + 1]) for row, each in enumerate(one_by_one)])
    assert torch.equal(both.apply(canvases), alone)


def test_a_canvas_without_a_grid_stays_empty() -> None:
    nothing = torch.full((1, 9), PAD)
    turned = Augmentation(torch.tensor([5]), torch.arange(10).unsqueeze(0), torch.tensor([[1, 1]]))
    assert torch.equal(turned.apply(nothing), nothing)
    assert torch.equal(turned.undo(nothing), nothing)
