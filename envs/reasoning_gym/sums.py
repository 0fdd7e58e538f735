"""Boards whose rows and columns have to add up: the sums stand beside and below, a digit a cell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from latent_rl.envs.options import Count, Seed
from latent_rl.envs.puzzle import PuzzleError
from latent_rl.envs.reasoning_gym import items
from latent_rl.envs.reasoning_gym.board import BLANK, Board

_SYMBOLS = "_.0123456789+"
_ZERO = _SYMBOLS.index("0")
_DIGITS = "0123456789"


class _Sums(Board):
    """A square board with the sums of its rows at its right and those of its columns below, tens before ones.

    Args:
        name: of the puzzle.
        side: rows and columns without the sums.
        cells: what a puzzle may give in them.
        more: rows below the sums, what it may give there.
    """

    def __init__(self, name: str, side: int, cells: str, more: Sequence[Sequence[str]] = ()) -> None:
        corner = ["+", "+"]
        rows = [[cells] * side + [_DIGITS] * 2] * side + [[_DIGITS] * side + corner] * 2
        super().__init__(name, _SYMBOLS, [*rows, *more])
        self.side = side

    def split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The numbers in the cells `[B, side, side]` (none: below 0), the sums of rows and of columns `[B, side]`."""
        numbers = self.rows(tokens) - _ZERO
        side = self.side
        beside, below = numbers[:, :side, side : side + 2], numbers[:, side : side + 2, :side]
        return numbers[:, :side, :side], 10 * beside[..., 0] + beside[..., 1], 10 * below[:, 0] + below[:, 1]

    def write(self, cells: Sequence[Sequence[str]], of_rows: Sequence[int], of_columns: Sequence[int]) -> str:
        """The board as text, a symbol a cell."""
        lines = ["".join(row) + f"{total:02}" for row, total in zip(cells, of_rows, strict=True)]
        below = ["".join(f"{total:02}"[place] for total in of_columns) + "++" for place in (0, 1)]
        return "".join([*lines, *below])


class Kakurasu(_Sums):
    """Task `kakurasu`: choose cells so that their places add up to the sum of every row and column.

    A chosen cell, 1, counts its column's number for its row and its row's number for its column; the others are 0.
    Every puzzle has one solution.

    Args:
        size: rows and columns.
        p_ones: share of chosen cells.
        train, test, validation: how many puzzles.
        seed: of the draw.
        cache_dir: see `cache.cached`.

    Raises:
        PuzzleError: see `items.items`.
    """

    def __init__(
        self,
        size: Annotated[int, Field(ge=3, le=9)] = 5,
        p_ones: float = 0.3,
        train: Count = 10_000,
        test: Count = 1_000,
        validation: Count = 1_000,
        seed: Seed = 0,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(f"reasoning_gym-kakurasu-{size}x{size}", size, ".01")
        config = {"min_rows": size, "max_rows": size, "min_cols": size, "max_cols": size, "p_ones": p_ones}
        counts = {"train": train, "test": test, "validation": validation}
        self.source = items.items("kakurasu", self._read, config, self.name, **counts, seed=seed, cache_dir=cache_dir)

    def violations(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """By how much the sums are missed, cells that are neither 0 nor 1, givens that were not kept: float32 `[B]`."""
        _, of_rows, of_columns = self.split(inputs)
        numbers, _, _ = self.split(answers)
        chosen = (numbers == 1).long()
        weights = torch.arange(1, self.side + 1, device=answers.device)
        missed = ((chosen * weights).sum(2) - of_rows).abs() + ((chosen.mT * weights).sum(2) - of_columns).abs()
        neither = ((numbers != 0) & (numbers != 1)).sum((1, 2))
        return (missed.sum(-1) + neither + self.changed(inputs, answers).sum(-1)).float()

    def _read(self, item: Mapping[str, Any]) -> items.Pair:
        metadata = item["metadata"]
        sums = metadata["row_sums"], metadata["col_sums"]
        solution = self.write([[str(cell) for cell in row] for row in metadata["solution"]], *sums)
        return self.encode(self.write([["."] * self.side] * self.side, *sums)), self.encode(solution)


class Survo(_Sums):
    """Task `survo`: put the numbers that are left over, below the board, into its blanks so that the sums come out.

    reasoning-gym accepts one answer only, also where others are right; puzzles that have several are left out here.

    Args:
        size: rows and columns, the sums counted as one of each as in reasoning-gym.
        min_empty, max_empty: least and greatest number of blanks.
        max_num: numbers are 1 to this.
        train, test, validation: how many puzzles.
        seed: of the draw.
        cache_dir: see `cache.cached`.

    Raises:
        PuzzleError: see `items.items`.
    """

    def __init__(
        self,
        size: Annotated[int, Field(ge=4, le=9)] = 4,
        min_empty: Annotated[int, Field(ge=1)] = 3,
        max_empty: Annotated[int, Field(le=9)] = 5,
        max_num: Annotated[int, Field(ge=2, le=9)] = 9,
        train: Count = 10_000,
        test: Count = 1_000,
        validation: Count = 1_000,
        seed: Seed = 0,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        name = f"reasoning_gym-survo-{size}x{size}"
        if not min_empty <= max_empty:
            raise PuzzleError(f"{name}: min_empty must be at most max_empty, got {min_empty} and {max_empty}")
        numbers = _DIGITS[1 : max_num + 1]
        side, width = size - 1, size + 1
        rows_left = -(-max_empty // width)
        super().__init__(name, side, "." + numbers, [["+" + numbers] * width] * rows_left)
        self.max_num = max_num
        config = {
            "min_board_size": size,
            "max_board_size": size,
            "min_empty": min_empty,
            "max_empty": max_empty,
            "max_num": max_num,
        }
        counts = {"train": train, "test": test, "validation": validation}
        self.source = items.items("survo", self._read, config, self.name, **counts, seed=seed, cache_dir=cache_dir)

    def violations(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """What is wrong with answers, float32 `[B]`.

        By how much the sums are missed, numbers that are used too often, blanks without a number, and givens that were
        not kept.
        """
        _, of_rows, of_columns = self.split(inputs)
        numbers, _, _ = self.split(answers)
        numbers = numbers.where((numbers >= 1) & (numbers <= self.max_num), 0)
        missed = (numbers.sum(2) - of_rows).abs() + (numbers.sum(1) - of_columns).abs()
        wanted = torch.arange(1, self.max_num + 1, device=answers.device).view(-1, 1, 1)
        put = numbers.masked_fill(self.rows(inputs)[:, : self.side, : self.side] != BLANK, 0)
        left = self.rows(inputs)[:, self.side + 2 :] - _ZERO
        used, there = ((place.unsqueeze(1) == wanted).sum((2, 3)) for place in (put, left))
        too_often = (used - there).clamp(min=0).sum(-1)
        none = (numbers == 0).sum((1, 2))
        return (missed.sum(-1) + too_often + none + self.changed(inputs, answers).sum(-1)).float()

    def _read(self, item: Mapping[str, Any]) -> items.Pair | None:
        metadata, side = item["metadata"], self.side
        puzzle, solution = (np.array(metadata[name]) for name in ("puzzle", "solution"))
        sums = solution[:side, side].tolist(), solution[side, :side].tolist()
        left = sorted(metadata["candidate_numbers"])
        if _count_solutions(puzzle[:side, :side], *sums, left) > 1:
            return None
        room = self.seq_len - (side + 2) ** 2
        below = "".join(map(str, left)).ljust(room, "+")
        question, answer = (
            self.write([[str(number or ".") for number in row] for row in board[:side, :side].tolist()], *sums) + below
            for board in (puzzle, solution)
        )
        return self.encode(question), self.encode(answer)


def _count_solutions(board: np.ndarray, of_rows: Sequence[int], of_columns: Sequence[int], left: Sequence[int]) -> int:
    """How many ways there are to fill the zeros of a board with the numbers that are left; 2 for several."""
    blanks = [tuple(place) for place in np.argwhere(board == 0).tolist()]
    last_in_row, last_in_column = {row: (row, column) for row, column in blanks}, {}
    for row, column in blanks:
        last_in_column[column] = (row, column)
    rows, columns = (np.array(of_rows) - board.sum(1)).tolist(), (np.array(of_columns) - board.sum(0)).tolist()
    there = {number: left.count(number) for number in left}

    def fill(index: int) -> int:
        if index == len(blanks):
            return 1
        row, column = place = blanks[index]
        found = 0
        for number in there:
            if not there[number] or number > min(rows[row], columns[column]):
                continue
            if last_in_row[row] == place and rows[row] != number:
                continue
            if last_in_column[column] == place and columns[column] != number:
                continue
            for counts, key, amount in ((there, number, 1), (rows, row, number), (columns, column, number)):
                counts[key] -= amount
            found += fill(index + 1)
            for counts, key, amount in ((there, number, 1), (rows, row, number), (columns, column, number)):
                counts[key] += amount
            if found > 1:
                return 2
        return found

    return fill(0)
