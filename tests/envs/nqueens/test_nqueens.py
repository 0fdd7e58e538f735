from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_rl.envs import PuzzleError, check_puzzle
from latent_rl.envs.nqueens.puzzle import EMPTY, QUEEN, NQueens
from latent_rl.envs.nqueens.solver import all_solutions, can_complete, random_solutions

NUMBER_OF_SOLUTIONS = {4: 2, 5: 10, 6: 4, 7: 40, 8: 92, 9: 352, 10: 724}  # OEIS A000170


def obeys_the_rule(board: list[int], size: int) -> bool:
    """The rule in plain Python: N queens, none attacking another."""
    queens = [divmod(cell, size) for cell, token in enumerate(board) if token == QUEEN]
    apart = all(
        a[0] != b[0] and a[1] != b[1] and abs(a[0] - b[0]) != abs(a[1] - b[1]) for a in queens for b in queens if a != b
    )
    return len(queens) == size and apart and set(board) <= {EMPTY, QUEEN}


def board_of(columns, size: int) -> torch.Tensor:
    board = torch.full((size, size), EMPTY)
    board[torch.arange(len(columns)), torch.as_tensor(columns)] = QUEEN
    return board.flatten()


@pytest.mark.parametrize(("size", "count"), NUMBER_OF_SOLUTIONS.items())
def test_all_solutions_are_found_and_accepted(size, count):
    boards = torch.stack([board_of(columns, size) for columns in all_solutions(size).tolist()])
    assert len(boards.unique(dim=0)) == count
    assert NQueens(size).is_solved(torch.full_like(boards, EMPTY), boards).all()


def test_near_misses_of_every_solution_are_refused():
    size = 8
    puzzle = NQueens(size)
    boards = torch.stack([board_of(columns, size) for columns in all_solutions(size).tolist()])
    empty = torch.full_like(boards, EMPTY)
    for cell in range(size * size):
        changed = boards.clone()
        changed[:, cell] = QUEEN + EMPTY - changed[:, cell]  # a queen more or a queen less
        assert not puzzle.is_solved(empty, changed).any()
    for token in (0, 3):
        changed = torch.where((boards == EMPTY) & ((boards == EMPTY).cumsum(-1) == 1), token, boards)
        assert not puzzle.is_solved(empty, changed).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 9), st.integers(0, 2**32 - 1))
def test_the_batched_rule_is_the_plain_rule(size, seed):
    # Permutations, so that rows and columns are right and the diagonals decide; some with one queen moved.
    rng = np.random.default_rng(seed)
    solutions = all_solutions(size)
    rows = [rng.permutation(size) for _ in range(16)] + [rng.choice(solutions) for _ in range(8)]
    boards = torch.stack([board_of(columns, size) for columns in rows])
    moved = boards.clone()
    moved[:, rng.integers(size * size)] = QUEEN
    boards = torch.cat((boards, moved))
    expected = [obeys_the_rule(board, size) for board in boards.tolist()]
    assert NQueens(size).is_solved(torch.full_like(boards, EMPTY), boards).tolist() == expected


def test_an_answer_must_keep_the_givens_but_need_not_be_the_key():
    puzzle = NQueens(5)
    first, second = (board_of(columns, 5) for columns in ([0, 2, 4, 1, 3], [0, 3, 1, 4, 2]))
    corner = board_of([0], 5)
    assert puzzle.is_solved(torch.stack((corner, corner)), torch.stack((first, second))).all()
    assert puzzle.is_solved(torch.stack((first, first)), torch.stack((first, second))).tolist() == [True, False]


@pytest.mark.parametrize("size", [11, 16, 24])
def test_random_solutions_obey_the_rule_and_differ(size):
    solutions = random_solutions(size, 40, np.random.default_rng(0))
    boards = [board_of(columns, size).tolist() for columns in solutions.tolist()]
    assert all(obeys_the_rule(board, size) for board in boards)
    assert len(np.unique(solutions, axis=0)) > 30


def test_the_papers_sets(tmp_path):
    puzzle = NQueens(cache_dir=tmp_path)
    train, validation, test = (puzzle.instances(split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (7000, 200, 200)
    # What is held out has as many queens, by and large, as what is learned from.
    held_out, kept = ((boards.inputs == QUEEN).sum(1).float() for boards in (validation, train))
    assert abs(float(held_out.mean() - kept.mean())) < 0.3 and held_out.min() == 1
    inputs = torch.cat((train.inputs, validation.inputs, test.inputs))
    assert len(inputs.unique(dim=0)) == 7400
    assert puzzle.is_solved(train.inputs, train.solution).all()
    counts = (inputs == QUEEN).sum(1).bincount().tolist()
    # 64 boards have one queen, 736 = 92 * 8 seven; what they lack goes to the others in equal parts.
    assert counts[:2] == [0, 64] and counts[7] == 736
    assert max(counts[3:7]) - min(counts[3:7]) <= 1 and len(counts) == 8
    assert len(train.solution.unique(dim=0)) == 92


def test_large_boards_are_different_and_reproducible(tmp_path):
    def make(seed: int, folder: str) -> NQueens:
        return NQueens(12, train=300, test=50, seed=seed, cache_dir=tmp_path / folder)

    puzzle = make(0, "a")
    train, test = puzzle.instances("train"), puzzle.instances("test")
    assert len(torch.cat((train.inputs, test.inputs)).unique(dim=0)) == 350
    assert puzzle.is_solved(train.inputs, train.solution).all()
    assert set((train.inputs == QUEEN).sum(1).tolist()) == set(range(1, 12))
    assert torch.equal(make(0, "b").instances("train").inputs, train.inputs)
    assert not torch.equal(make(1, "a").instances("train").inputs, train.inputs)


@pytest.mark.parametrize("size", [4, 6, 11])
def test_it_conforms(size, tmp_path):
    check_puzzle(NQueens(size, train=20, test=8, cache_dir=tmp_path))


def test_every_board_there_is_can_be_had_but_not_one_more(tmp_path):
    everything = NQueens(4, train=20, test=8, cache_dir=tmp_path)
    sizes = [len(everything.instances(split)) for split in ("train", "validation", "test")]
    assert sizes == [18, 2, 8] and sum(sizes) == 28  # 2 solutions, 14 subsets each
    with pytest.raises(PuzzleError, match=r"20 \+ 9 boards asked for, but only 28 exist"):
        NQueens(4, train=20, test=9, cache_dir=tmp_path).instances("train")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 3}, "size must be at least 4"), ({"train": 0}, "must be at least 1, got 0 and 200")],
)
def test_impossible_options(options, message):
    with pytest.raises(PuzzleError, match=message):
        NQueens(**options)


def test_attacking_givens_are_named():
    puzzle = NQueens(5)
    for text, place in (
        ("Q...Q ..... ..... ..... .....", "row 1, column 1 and at row 1, column 5"),
        (".Q... ..... ..... .Q... .....", "row 1, column 2 and at row 4, column 2"),
        ("..... ...Q. ..... .Q... .....", "row 2, column 4 and at row 4, column 2"),
    ):
        with pytest.raises(PuzzleError, match=place):
            puzzle.check_input(puzzle.parse(text))


@pytest.mark.parametrize("size", [4, 5, 6])
def test_completion_agrees_with_the_list_of_solutions(size):
    solutions = all_solutions(size)
    for row in range(size):
        for column in range(size):
            possible = bool((solutions[:, row] == column).any())
            assert can_complete(size, {row: column}, nodes=10_000) is possible
    corner = torch.full((16,), EMPTY)
    corner[0] = QUEEN
    with pytest.raises(PuzzleError, match="the 1 given queens cannot be completed to 4"):
        NQueens(4).check_input(corner)
    assert can_complete(20, {}, nodes=1) is None


def test_spellings():
    puzzle = NQueens(4)
    expected = board_of([1, 3, 0, 2], 4)
    for text in (
        ".Q.. ...Q Q... ..Q.",
        "0q00\n000q\nq000\n00q0",
        "_1__|___1|1___|__1_",
        "+----+\n|.Q..|\n|...Q|Q.....Q.",
    ):
        assert torch.equal(puzzle.parse(text), expected)
    assert torch.equal(puzzle.parse(puzzle.render(expected)), expected)
    with pytest.raises(PuzzleError, match="line 1, column 2: 'K' is no symbol"):
        puzzle.parse(".K..")


def test_how_much_is_wrong_counts_diagonals_and_givens_that_are_gone():
    puzzle, empty = NQueens(4), torch.full((1, 16), EMPTY)
    assert puzzle.violations(empty, board_of([1, 3, 0, 2], 4)[None]) == 0
    assert puzzle.violations(empty, board_of([0, 1, 2, 3], 4)[None]) == 3  # four on one diagonal
    assert puzzle.violations(empty, board_of([0, 2, 1, 3], 4)[None]) == 2  # two on each of two diagonals
    assert puzzle.violations(board_of([0], 4)[None], board_of([1, 3, 0, 2], 4)[None]) == 1
