"""Futoshiki: a Latin square with signs between neighbours that say which is the larger."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from latent_rl.envs.options import Count, Seed
from latent_rl.envs.reasoning_gym import items
from latent_rl.envs.reasoning_gym.board import BLANK, Board, missing

_DIGITS = "123456789"
_SIGNS = "+<>^v"
"""Between cells: nothing; the left one is smaller, larger; the upper one is smaller, larger."""


class Futoshiki(Board):
    """Task `futoshiki`: every row and column holds each number once, and the signs between neighbours are obeyed.

    The `size` x `size` cells stand in every other row and column of a board of `2 size - 1`, and between them the
    signs: `<`, `>`, and between rows `^` (the upper one is smaller) and `v`; `+` where there is none. Every puzzle has
    one solution.

    Args:
        size: numbers in a row.
        min_difficulty, max_difficulty: 0 to 3, how many signs there are: each pair of neighbours has one with
            probability 0.03 + 0.07 times the difficulty.
        train, test, validation: how many puzzles; of 4x4 a hundred take a second to make.
        seed: of the draw.
        cache_dir: see `cache.cached`.

    Raises:
        PuzzleError: see `items.items`.
    """

    def __init__(
        self,
        size: Annotated[int, Field(ge=4, le=9)] = 4,
        min_difficulty: int = 0,
        max_difficulty: int = 3,
        train: Count = 5_000,
        test: Count = 500,
        validation: Count = 500,
        seed: Seed = 0,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        digits, side = _DIGITS[:size], 2 * size - 1
        kinds = {(0, 0): "." + digits, (0, 1): "+<>", (1, 0): "+^v", (1, 1): "+"}
        super().__init__(
            f"reasoning_gym-futoshiki-{size}x{size}",
            "_." + digits + _SIGNS,
            [[kinds[row % 2, column % 2] for column in range(side)] for row in range(side)],
        )
        self.size = size
        config = {
            "min_board_size": size,
            "max_board_size": size,
            "min_difficulty": min_difficulty,
            "max_difficulty": max_difficulty,
        }
        counts = {"train": train, "test": test, "validation": validation}
        self.source = items.items("futoshiki", self._read, config, self.name, **counts, seed=seed, cache_dir=cache_dir)

    def violations(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Numbers missing in rows and columns, signs that are not obeyed, and givens that were not kept: `[B]`."""
        given, board = self.rows(inputs), self.rows(answers)
        numbers = board[:, ::2, ::2]
        wrong = self.changed(inputs, answers).sum(-1)
        # Columns as rows of the transposed board: [B, size, size] numbers, [B, size, size - 1] signs.
        for lines, signs, kinds in (
            (numbers, given[:, ::2, 1::2], "<>"),
            (numbers.mT, given[:, 1::2, ::2].mT, "^v"),
        ):
            smaller, larger = self.encode(kinds)
            left, right = lines[..., :-1], lines[..., 1:]
            disobeyed = ((signs == smaller) & (left >= right)) | ((signs == larger) & (left <= right))
            wrong = wrong + missing(lines, BLANK + 1, BLANK + self.size).sum(-1) + disobeyed.sum((-2, -1))
        return wrong.float()

    def _read(self, item: Mapping[str, Any]) -> items.Pair:
        metadata = item["metadata"]
        between = {}
        for row, column, below, right, sign in metadata["constraints"]:
            between[row + below, column + right] = sign if row == below else {"<": "^", ">": "v"}[sign]
        inputs, solution = (self._board(metadata[name], between) for name in ("puzzle", "solution"))
        return inputs, solution

    def _board(self, numbers: Sequence[Sequence[int]], between: Mapping[tuple[int, int], str]) -> list[int]:
        """Tokens of numbers (0 for a blank), and of the signs by their place on the board."""
        side = 2 * self.size - 1
        board = [[between.get((row, column), "+") for column in range(side)] for row in range(side)]
        for row, line in enumerate(numbers):
            board[2 * row][::2] = [str(number or ".") for number in line]
        return self.encode("".join("".join(line) for line in board))

    def _tokens_by_character(self) -> dict[str, int]:
        """As reasoning-gym writes the signs between rows, too."""
        known = super()._tokens_by_character()
        return known | {"∧": known["^"], "∨": known["v"]}
