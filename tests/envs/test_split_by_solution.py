"""Splits by solution: classes of solutions as mathematics counts them, and none on both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latent_rl.envs import Instances, check_puzzle
from latent_rl.envs.classes import classes, held_out
from latent_rl.envs.nqueens import NQueens
from latent_rl.envs.nqueens.puzzle import QUEEN, _classes
from latent_rl.envs.nqueens.solver import all_solutions
from latent_rl.envs.puzzle import PuzzleError
from latent_rl.envs.sudoku import Sudoku
from latent_rl.envs.sudoku.generator import grid_classes, reduced_grids


def test_classes_of_grids_and_boards_are_as_many_as_is_known() -> None:
    """OEIS A109741 (4x4: 2 classes), 49 of 6x6 with 2x3 boxes; A002562 for queens."""
    for box_shape, count in (((2, 2), 2), ((2, 3), 49)):
        assert grid_classes(box_shape).max() + 1 == count
    queens = {size: int(_classes(all_solutions(size)).max()) + 1 for size in range(4, 10)}
    assert queens == {4: 1, 5: 2, 6: 1, 7: 6, 8: 12, 9: 46}


def test_held_out_are_whole_classes_some_but_never_all() -> None:
    class_of = classes([np.array([1, 0, 2, 4, 3, 5])])
    assert len(set(class_of)) == 4 and class_of[0] == class_of[1] and class_of[3] == class_of[4]
    seen = set()
    for seed in range(20):
        apart = held_out(class_of, seed)
        assert 0 < apart.sum() < len(apart)
        assert all(len(set(apart[class_of == one])) == 1 for one in range(4))
        seen.add(tuple(apart))
    assert len(seen) > 1, "the seed decides which"
    assert not held_out(np.zeros(5, dtype=np.int64), 0).any()


def reduced(digits: np.ndarray) -> bytes:
    """A grid with its digits called 1, 2, 3, ... in the order of its first row."""
    size = int(digits.max())
    names = np.zeros(size + 1, dtype=np.uint8)
    names[digits[:size]] = np.arange(1, size + 1)
    return names[digits].tobytes()


@pytest.mark.parametrize("size", [4, 6])
def test_sudokus_to_test_have_grids_of_classes_of_their_own(tmp_path: Path, size: int) -> None:
    puzzle = Sudoku(size, train=300, test=100, validation=100, split_by="solution", cache_dir=tmp_path, seed=3)
    check_puzzle(puzzle)
    number = {grid.tobytes(): index for index, grid in enumerate(reduced_grids(puzzle.box_shape))}
    class_of = grid_classes(puzzle.box_shape)

    def found(instances: Instances) -> set[int]:
        return {int(class_of[number[reduced(row)]]) for row in (instances.solution - 1).numpy()}

    train, validation, test = (found(puzzle.instances(split)) for split in ("train", "validation", "test"))
    assert not test & (train | validation)
    assert validation <= train or size == 6
    assert [len(puzzle.instances(split)) for split in ("train", "validation", "test")] == [300, 100, 100]
    again = Sudoku(size, train=300, test=100, validation=100, split_by="solution", cache_dir=tmp_path / "new", seed=3)
    assert (again.instances("test").inputs == puzzle.instances("test").inputs).all()


def test_no_board_of_queens_to_test_can_be_completed_by_a_solution_of_training(tmp_path: Path) -> None:
    puzzle = NQueens(8, train=1000, test=100, split_by="solution", cache_dir=tmp_path)
    known = (puzzle.instances("train").solution == QUEEN).unique(dim=0)
    test = puzzle.instances("test")
    givens = (test.inputs == QUEEN).float()
    # A board is a part of a solution if all its queens are.
    shared = givens @ known.float().T
    assert (shared.max(1).values < givens.sum(1)).all()
    assert puzzle.is_solved(test.inputs, test.solution).all()
    plain = NQueens(8, train=1000, test=100, cache_dir=tmp_path)
    assert not (plain.instances("test").inputs == test.inputs).all()


def test_where_it_would_change_nothing_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PuzzleError, match="split_by=solution changes nothing: no two generated puzzles share a grid"):
        Sudoku(9, split_by="solution")
    with pytest.raises(PuzzleError, match="size at most 10"):
        NQueens(12, split_by="solution")
    lonely = NQueens(6, train=5, test=5, validation=0, split_by="solution", cache_dir=tmp_path)
    with pytest.raises(PuzzleError, match="only 0 boards for test"):
        lonely.instances("test")
