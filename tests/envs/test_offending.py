"""Cells that break the rule: none in a solution, some wherever something that is there is wrong; they are framed."""

from __future__ import annotations

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from latent_rl.envs import Puzzle, puzzle_from_id
from latent_rl.envs.renderer import VERMILLION

PUZZLES = {
    "sudoku": ("latent_rl/Sudoku-v0", {"size": 6, "train": 20, "test": 20, "validation": 0}),
    "queens": ("latent_rl/NQueens-v0", {"size": 6, "train": 20, "test": 5, "validation": 0}),
    "maze": ("latent_rl/Maze-v0", {"size": 5, "train": 20, "test": 20, "validation": 0}),
}


@pytest.fixture(params=PUZZLES)
def puzzle(request, tmp_path) -> Puzzle:
    name, options = PUZZLES[request.param]
    return puzzle_from_id(name, **options, **({} if request.param == "queens" else {"cache_dir": tmp_path}))


def test_none_in_puzzles_and_solutions(puzzle: Puzzle) -> None:
    found = puzzle.instances("train")
    assert puzzle.marks_offending
    for answers in (found.inputs, found.solution):
        offending = puzzle.offending(found.inputs, answers)
        assert offending.shape == answers.shape and offending.dtype == torch.bool and not offending.any()


def test_whatever_is_marked_is_a_violation(puzzle: Puzzle) -> None:
    found = puzzle.instances("train")
    generator = torch.Generator().manual_seed(0)
    wrong = torch.randint(1, puzzle.vocab_size, found.inputs.shape, generator=generator)
    few = torch.rand(found.inputs.shape, generator=generator) < 0.1
    answers = torch.where(few, wrong, found.solution)
    marked = puzzle.offending(found.inputs, answers).any(-1)
    assert marked.any() and (puzzle.violations(found.inputs, answers)[marked] > 0).all()


def test_a_digit_that_stands_twice_is_marked_both_times() -> None:
    name, options = PUZZLES["sudoku"]
    puzzle = puzzle_from_id(name, **options)
    board = torch.full((1, 36), 1)
    board[0, 0] = board[0, 4] = 5  # a row
    board[0, 20] = board[0, 26] = 3  # a column, another box
    board[0, 35] = 5  # alone
    assert puzzle.offending(torch.ones_like(board), board)[0].nonzero().flatten().tolist() == [0, 4, 20, 26]
    given = torch.ones_like(board)
    given[0, 35] = 4
    assert puzzle.offending(given, board)[0, 35]


def test_attacking_queens_are_marked() -> None:
    name, options = PUZZLES["queens"]
    puzzle = puzzle_from_id(name, **options)
    empty = torch.full((1, 36), 1)
    board = empty.clone()
    board[0, [0, 14, 23]] = 2  # (0, 0) and (2, 2) on a diagonal; (3, 5) attacked by nobody
    assert puzzle.offending(empty, board)[0].nonzero().flatten().tolist() == [0, 14]


def test_they_are_framed_and_the_legend_says_so(puzzle: Puzzle) -> None:
    found = puzzle.instances("train")[:1]
    # Every free cell the last symbol: the same digit, a queen, a path.
    answer = torch.where(puzzle.free_cells(found.inputs), puzzle.vocab_size - 1, found.inputs)[0]
    wanted = int(puzzle.offending(found.inputs, answer.unsqueeze(0)).sum())
    assert wanted > 0
    figure = puzzle.renderer.trajectory(found.inputs[0], None, answer.unsqueeze(0), torch.ones(1))
    framed = [
        patch
        for patch in figure.axes[1].patches
        if isinstance(patch, Rectangle) and not patch.get_fill() and to_hex(patch.get_edgecolor()) == VERMILLION.lower()
    ]
    assert len(framed) == wanted
    assert "breaks the rule" in [text.get_text() for text in figure.legends[0].texts]
