"""What the boards made of reasoning-gym's items have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from latent_rl.envs.puzzle import Puzzle, PuzzleError

BLANK = 1
"""Token of a cell to fill, where a board has such cells."""

BLANK_CHARACTERS = "._*"


class Board(Puzzle):
    """A board whose rule counts what is wrong, and which is solved if nothing is.

    Where the rule of the game needs more than the cells to fill, such as sums or inequalities, it stands on the board
    too, in cells that are given.

    Args:
        name: of the puzzle.
        symbols: see `Puzzle`.
        allowed: for every row and cell the symbols that a puzzle may give there.
    """

    def __init__(self, name: str, symbols: str, allowed: Sequence[Sequence[str]]) -> None:
        self.name = name
        self.symbols = symbols
        self.grid_shape = (len(allowed), len(allowed[0]))
        self.allowed = [cell for row in allowed for cell in row]

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Whether nothing is wrong with answers, bool `[B]`."""
        return self.violations(inputs, answers) == 0

    def free_cells(self, inputs: Tensor) -> Tensor:
        """The cells to fill, bool `[B, L]`."""
        return inputs == BLANK

    def changed(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Cells that were given and are not kept, bool `[B, L]`."""
        return (inputs != answers) & ~self.free_cells(inputs)

    def check_input(self, tokens: Tensor) -> None:
        """Raise `PuzzleError` if a symbol stands where it has no meaning."""
        columns = self.grid_shape[1]
        for cell, token in enumerate(tokens.tolist()):
            if (symbol := self.symbols[token]) not in self.allowed[cell]:
                row, column = divmod(cell, columns)
                raise PuzzleError(
                    f"{self.name}: row {row + 1}, column {column + 1} holds {symbol!r}; "
                    f"allowed there: {' '.join(self.allowed[cell])}"
                )

    def encode(self, text: str) -> list[int]:
        """The tokens of a board that is written with a symbol a cell and nothing else."""
        return [self.symbols.index(character) for character in text]

    def rows(self, tokens: Tensor) -> Tensor:
        """Boards `[B, L]` as `[B, rows, columns]`."""
        return tokens.view(-1, *self.grid_shape)

    def _tokens_by_character(self) -> dict[str, int]:
        spelled = dict.fromkeys(BLANK_CHARACTERS, BLANK) if "." in self.symbols else {}
        return spelled | super()._tokens_by_character()


def missing(numbers: Tensor, low: int, high: int) -> Tensor:
    """How many of the numbers `low` to `high` are missing in the last dimension: int64 `[...]` of int64 `[..., N]`."""
    wanted = torch.arange(low, high + 1, device=numbers.device)
    return (~(numbers.unsqueeze(-1) == wanted).any(-2)).sum(-1)
