"""N-Queens: complete a board on which some of N queens stand already, so that no two attack each other."""

from __future__ import annotations

import os
from itertools import combinations
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from latent_rl.envs.classes import SplitBy, classes, held_out
from latent_rl.envs.nqueens.solver import all_solutions, can_complete, random_solutions
from latent_rl.envs.options import Count, Seed
from latent_rl.envs.puzzle import Instances, Puzzle, PuzzleError
from latent_rl.envs.sources import Generated, default_held_out

EMPTY, QUEEN = 1, 2

_GENERATOR_VERSION = 1
_DEFAULT_VALIDATION = 200
_ENUMERATED = 10
"""Largest board on which all solutions, and all partial boards, are listed: 724 solutions, 0.7 million subsets."""

_SEARCH_NODES = 20_000
"""Effort that `check_input` spends on the question whether the givens can be completed."""


class NQueens(Puzzle):
    """Partial boards of N queens; the DIS paper (arXiv 2511.16886) has 7,200 of 8x8 to learn from and 200 to test.

    A partial board holds 1 to N - 1 queens of a solution. Each number of queens occurs equally often while the boards
    with so many last (on 8x8 only 64 boards have one queen). All boards of train and test are different, but on a
    small board they share solutions: 8x8 has 92 in all, so that a test asks for completion, not for new solutions.

    Up to 10x10 the boards with a given number of queens are drawn uniformly from all that exist, and the key uniformly
    from their completions. On larger boards the solution is drawn first, by a random search that can reach every
    solution but is not exactly uniform, and the queens to show after it.

    A board may have several completions; `is_solved` accepts each of them, `quality` compares with the key.

    Args:
        size: N, at least 4.
        train: boards to train on.
        test: boards to test on, all different from the former.
        seed: of the random draw.
        cache_dir: where the boards are kept; default: `LATENT_RL_CACHE`, else `~/.cache/latent_rl`.
        validation: boards to choose by, default 200. Up to 10x10 they are held out of those in `train`, at most a tenth
            of them by default: boards with few or many queens are all taken, and what is left over has none of them.
            On larger boards they are drawn after the others. 0: none.
        split_by: `solution`: up to 10x10, some classes of solutions that are images of each other under the board's
            symmetries are for the test set alone. Its boards have no completion among the others, so that none can be
            solved by remembering; they show more queens than those of training, which leave more completions open.

    Raises:
        PuzzleError: on a size or a count out of range; from `instances`, if fewer boards exist than are asked for.
    """

    symbols = "_.Q"

    def __init__(
        self,
        size: Annotated[int, Field(le=100)] = 8,
        train: Count = 7200,
        test: Count = 200,
        seed: Seed = 0,
        cache_dir: str | os.PathLike[str] | None = None,
        validation: Count | None = None,
        split_by: SplitBy = "puzzle",
    ) -> None:
        if size < 4:
            raise PuzzleError(f"nqueens: size must be at least 4, smaller boards have no partial solution; got {size}")
        if train < 1 or test < 1:
            raise PuzzleError(f"nqueens: train and test must be at least 1, got {train} and {test}")
        if validation is not None and validation < 0:
            raise PuzzleError(f"nqueens: validation must be at least 0, got {validation}")
        enumerated = size <= _ENUMERATED
        if split_by == "solution" and not enumerated:
            raise PuzzleError(f"nqueens: split_by=solution needs all solutions listed: size at most {_ENUMERATED}")
        self._split_by, self._seed = split_by, seed
        if validation is None:
            validation = default_held_out(train, _DEFAULT_VALIDATION) if enumerated else _DEFAULT_VALIDATION
        self.name = f"nqueens-{size}x{size}"
        self.grid_shape = (size, size)
        places = [divmod(square, size) for square in range(size * size)]
        self.units = (
            tuple(row for row, _ in places),
            tuple(column for _, column in places),
            tuple(row + column for row, column in places),
            tuple(row - column + size - 1 for row, column in places),
        )
        self.source = Generated(
            self.name,
            self._generate,
            train=train,
            test=test,
            seed=seed,
            version=_GENERATOR_VERSION,
            options={"size": size} | ({"split_by": split_by} if split_by == "solution" else {}),
            cache_dir=cache_dir,
            validation=validation,
            more=None if enumerated else self._generate_more,
        )

    def _generate(self, train: int, test: int, rng: np.random.Generator) -> Instances:
        size = self.grid_shape[0]
        if self._split_by == "solution":
            solutions, shown = self._draw_split(train, test, rng)
        elif size <= _ENUMERATED:
            solutions, shown = _draw_enumerated(all_solutions(size), train + test, rng)
        else:
            solutions, shown = _draw_searched(size, train + test, rng)
        if len(solutions) < train + test:
            raise PuzzleError(
                f"{self.name}: {train} + {test} boards asked for, but "
                + (f"only {len(solutions)} exist" if size <= _ENUMERATED else f"only {len(solutions)} were found")
                + "; lower train or test"
            )
        keys = torch.from_numpy(_boards(solutions, np.ones_like(shown)))
        return Instances.of(torch.from_numpy(_boards(solutions, shown)), keys)

    def _draw_split(self, train: int, test: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Keys and what is shown of them, those of training first, by classes of solutions."""
        everything = all_solutions(self.grid_shape[0])
        apart = held_out(_classes(everything), self._seed)
        parts = (
            _draw_enumerated(everything[~apart], train, rng),
            _draw_enumerated(everything[apart], test, rng, without=everything[~apart]),
        )
        for wanted, (keys, _), where in zip((train, test), parts, ("train", "test"), strict=True):
            if len(keys) < wanted:
                there_are = f"with split_by=solution there are only {len(keys)} boards"
                raise PuzzleError(f"{self.name}: {there_are} for {where}, {wanted} were asked for")
        return np.concatenate([keys for keys, _ in parts]), np.concatenate([shown for _, shown in parts])

    def _generate_more(self, count: int, known: Instances, rng: np.random.Generator) -> Instances:
        shown = {row.tobytes() for row in known.inputs.numpy()}
        solutions, queens = _draw_searched(self.grid_shape[0], len(known) + count, rng)
        boards, keys = _boards(solutions, queens), _boards(solutions, np.ones_like(queens))
        fresh = np.flatnonzero([board.tobytes() not in shown for board in boards])[:count]
        if len(fresh) < count:
            raise PuzzleError(
                f"{self.name}: {count} other boards asked for, but only {len(fresh)} were found; lower validation"
            )
        return Instances.of(torch.from_numpy(boards[fresh]), torch.from_numpy(keys[fresh]))

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Whether answers hold exactly N queens, none attacking another, and every queen that was given."""
        size = self.grid_shape[0]
        queens = answers == QUEEN
        complete = ((answers == EMPTY) | queens).all(-1)
        keeps = (queens | (inputs != QUEEN)).all(-1)
        board = queens.view(-1, size, size).long()
        straight = (board.sum(1) == 1).all(-1) & (board.sum(2) == 1).all(-1)
        falling, rising = _antidiagonal_sums(board.flip(-1)), _antidiagonal_sums(board)
        return complete & keeps & straight & (falling <= 1).all(-1) & (rising <= 1).all(-1)

    def violations(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """What is wrong with answers, float32 `[B]`.

        Rows and columns without a queen, queens too many in rows, columns and diagonals, given queens that are gone,
        and cells that are neither empty nor a queen.
        """
        size = self.grid_shape[0]
        queens = answers == QUEEN
        board = queens.view(-1, size, size).long()
        straight = ((board.sum(1) - 1).abs() + (board.sum(2) - 1).abs()).sum(-1)
        diagonals = torch.cat((_antidiagonal_sums(board.flip(-1)), _antidiagonal_sums(board)), dim=-1)
        crowded = (diagonals - 1).clamp(min=0).sum(-1)
        gone = ((inputs == QUEEN) & ~queens).sum(-1)
        neither = ((answers != EMPTY) & ~queens).sum(-1)
        return (straight + crowded + gone + neither).float()

    def offending(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Queens that another one attacks, given queens that are gone, and what is neither: bool `[B, L]`."""
        queens = answers == QUEEN
        lines = torch.tensor(self.units, device=answers.device)
        itself = torch.eye(self.seq_len, dtype=torch.bool, device=answers.device)
        attacks = (lines.unsqueeze(1) == lines.unsqueeze(2)).any(0) & ~itself
        attacked = queens & (queens.float() @ attacks.float() > 0)
        return attacked | ((inputs == QUEEN) & ~queens) | ((answers != EMPTY) & ~queens)

    def free_cells(self, inputs: Tensor) -> Tensor:
        """All cells without a given queen, bool `[B, L]`."""
        return inputs != QUEEN

    def check_input(self, tokens: Tensor) -> None:
        """Raise `PuzzleError` if two given queens attack each other or the givens have no completion.

        The search for a completion is exact where it ends within its budget, in practice up to N of about 30; givens
        that it can neither complete nor refute are let through.
        """
        size = self.grid_shape[0]
        queens = [divmod(cell, size) for cell in (tokens == QUEEN).nonzero().flatten().tolist()]
        for (row, column), (other_row, other_column) in combinations(queens, 2):
            if row == other_row or column == other_column or abs(row - other_row) == abs(column - other_column):
                raise PuzzleError(
                    f"{self.name}: the queens at row {row + 1}, column {column + 1} and at row {other_row + 1}, "
                    f"column {other_column + 1} attack each other"
                )
        if can_complete(size, dict(queens), _SEARCH_NODES) is False:
            raise PuzzleError(f"{self.name}: the {len(queens)} given queens cannot be completed to {size}")

    def _tokens_by_character(self) -> dict[str, int]:
        """Empty is `.`, `0` or `_`, a queen `Q`, `q` or `1`; `-` is skipped, because people draw borders with it."""
        return {".": EMPTY, "0": EMPTY, "_": EMPTY, "Q": QUEEN, "q": QUEEN, "1": QUEEN}


def _antidiagonal_sums(board: Tensor) -> Tensor:
    """Sums along all `row + column = const`: `[B, N, N]` to `[B, 2N - 1]`."""
    count, size, _ = board.shape
    # Rows of 2N cells, read in lines of 2N - 1: every row moves one cell further right than the one above.
    flat = F.pad(board, (0, size)).view(count, 2 * size * size)
    return flat[:, :-size].reshape(count, size, 2 * size - 1).sum(1)


def _boards(solutions: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Tokens `[M, N * N]` of the queens in columns `solutions` `[M, N]`, one a row, where `shown` `[M, N]`."""
    columns = np.arange(solutions.shape[1])
    queens = (solutions[:, :, None] == columns) & shown.astype(bool)[:, :, None]
    return np.where(queens, QUEEN, EMPTY).reshape(len(solutions), -1)


def _classes(solutions: np.ndarray) -> np.ndarray:
    """The class of each of all solutions `[S, N]` under rotations and reflections of the board, int64 `[S]`."""
    number = {tuple(solution): index for index, solution in enumerate(solutions.tolist())}
    # Upside down, and across the falling diagonal, where rows become columns: these two generate the other symmetries.
    images = (solutions[:, ::-1], np.argsort(solutions, axis=1))
    return classes([np.array([number[tuple(row)] for row in image.tolist()]) for image in images])


def _draw_enumerated(
    solutions: np.ndarray, count: int, rng: np.random.Generator, without: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` different partial boards, in random order: their keys and what they show, both `[M, N]`.

    Args:
        solutions: of which boards show a part, `[S, N]`.
        count: how many.
        rng: the only source of randomness.
        without: solutions that no board may be a part of, `[U, N]`.
    """
    size = solutions.shape[1]
    subsets = np.arange(1, 2**size - 1)[:, None] >> np.arange(size) & 1  # [S, N]: all but nothing and everything
    owner, subset = np.divmod(rng.permutation(len(solutions) * len(subsets)), len(subsets))
    # A board as a number with a digit a row. The first of equal ones in random order has a random completion as key.
    digits = (solutions[owner] + 1) * subsets[subset]
    _, first = np.unique(digits @ (size + 1) ** np.arange(size), return_index=True)
    first = rng.permutation(first)
    if without is not None:
        digits_without = ((without + 1)[:, None] * subsets).reshape(-1, size)
        taken = digits_without @ (size + 1) ** np.arange(size)
        first = first[~np.isin(digits[first] @ (size + 1) ** np.arange(size), taken)]
    shown = subsets[subset[first]]
    by_number = np.argsort(shown.sum(1), kind="stable")
    numbers = shown.sum(1)[by_number]
    rank = np.empty(len(first), dtype=np.int64)  # position among the boards that show as many queens
    rank[by_number] = np.arange(len(first)) - np.searchsorted(numbers, numbers)
    kept = rng.permutation(np.lexsort((rng.random(len(first)), rank))[:count])
    return solutions[owner[first[kept]]], shown[kept]


def _draw_searched(size: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """As `_draw_enumerated`, for boards with too many solutions to list."""
    found: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    while len(found) < count:
        before, wanted = len(found), max(256, count - len(found))
        solutions = random_solutions(size, wanted, rng)
        numbers = rng.integers(1, size, size=(wanted, 1))
        shown = (rng.random((wanted, size)).argsort(1) < numbers).astype(np.int64)
        for solution, show in zip(solutions, shown, strict=True):
            found.setdefault((np.where(show, solution, -1)).tobytes(), (solution, show))
        if len(found) - before < wanted // 100:
            break  # nearly every board has been drawn before: there are hardly any others
    rows = list(found.values())[:count]
    return np.array([solution for solution, _ in rows]), np.array([show for _, show in rows])
