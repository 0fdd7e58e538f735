"""Any puzzle on a grid that a file holds questions and answers of."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from latent_rl.envs.grid.reader import Row, read_rows
from latent_rl.envs.options import Count, Seed
from latent_rl.envs.puzzle import IGNORE, PAD, Instances, Puzzle, PuzzleError, Split
from latent_rl.envs.sources import default_held_out

_PADDING = "_ ·□∅"
"""Characters for padding; the first that no puzzle uses."""


class Grid(Puzzle):
    """Puzzles from a file with the columns `question`, `answer` and, unless boards are square, `rows` and `columns`.

    One character is one cell, in reading order. Boards may differ in size: smaller ones lie at the top left of the
    largest, the rest is padding. No rule is known: an answer is solved if it equals the key.

    Args:
        file: CSV (plain or gzip), a JSON list, or one JSON object a line.
        test_file: puzzles to test on; by default they are drawn from `file`.
        train: puzzles to train on; by default all that are left.
        test: puzzles to test on; by default 1,000, but at most a tenth of the file, or all of `test_file`.
        validation: puzzles of `file` to choose by, likewise; 0: none.
        seed: of the draw.

    Raises:
        PuzzleError: if a file is missing or malformed, names a question twice with different answers, or has too few.
    """

    has_rule = False

    def __init__(
        self,
        file: str | os.PathLike[str] | None = None,
        test_file: str | os.PathLike[str] | None = None,
        train: Count | None = None,
        test: Count | None = None,
        validation: Count | None = None,
        seed: Seed = 0,
    ) -> None:
        if file is None:
            raise PuzzleError("grid: needs a file of puzzles: env.options.file=puzzles.csv")
        rows = _distinct(read_rows(file))
        tested = [] if test_file is None else _distinct(read_rows(test_file))
        everything = [*rows, *tested]
        self.shapes = {row.shape for row in everything}
        self.grid_shape = (max(height for height, _ in self.shapes), max(width for _, width in self.shapes))
        used = sorted({character for row in everything for character in row.question + row.answer})
        padding = next((character for character in _PADDING if character not in used), None)
        if padding is None:
            raise PuzzleError(f"grid: {file} uses all of {_PADDING!r}, and padding needs one of them")
        self.symbols = (padding, *used)
        self.name = f"grid-{self.grid_shape[0]}x{self.grid_shape[1]}"
        held_out = default_held_out(len(rows))
        validation = held_out if validation is None else validation
        if validation < 0:
            raise PuzzleError(f"grid: validation must be at least 0, got {validation}")
        test = (held_out if test_file is None else len(tested)) if test is None else test
        left = len(rows) - validation - (test if test_file is None else 0)
        train = left if train is None else train
        if min(train, test) < 1 or train > left or test > len(tested or rows):
            others = f", {test_file} {len(tested):,}" if tested else ""
            raise PuzzleError(
                f"grid: {file} holds {len(rows):,} different puzzles{others}: too few for {max(1, train):,} to "
                f"train on, {validation:,} to choose by and {max(1, test):,} to test on"
            )
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(rows))
        parts: dict[Split, list[Row]] = {}
        for split, count in (("test", 0 if tested else test), ("validation", validation), ("train", train)):
            parts[split] = [rows[number] for number in order[:count]]
            order = order[count:]
        if tested:
            _check_unknown(tested, rows)
            parts["test"] = [tested[number] for number in np.sort(rng.permutation(len(tested))[:test])]
        self._splits = {split: self._instances(part) for split, part in parts.items()}

    @property
    def has_validation(self) -> bool:
        """Whether puzzles were held out to choose by."""
        return len(self._splits["validation"]) > 0

    def instances(self, split: Split) -> Instances:
        """All instances of a split; no question is in two of them."""
        return self._splits[split]

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """False: whether an answer is right, only the key tells."""
        return torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)

    def parse(self, text: str) -> Tensor:
        """The tokens of a puzzle in reading order; in lines, where boards of several shapes have as many cells."""
        height, width = self.grid_shape
        if len(self.shapes) == 1:
            return super().parse(text)
        lines = [line for line in text.splitlines() if line]
        shape = (len(lines), len(lines[0]) if lines else 0)
        if len(lines) == 1:
            fits = [shape for shape in self.shapes if shape[0] * shape[1] == len(lines[0])]
            if len(fits) != 1:
                raise PuzzleError(
                    f"{self.name}: {len(lines[0])} cells fit {len(fits)} of its shapes: write it in lines"
                )
            shape = fits[0]
        if shape[0] > height or shape[1] > width or (len(lines) > 1 and len(set(map(len, lines))) > 1):
            raise PuzzleError(f"{self.name}: expected lines of one length, at most {height} of at most {width} cells")
        return self._tokens("".join(lines), shape)

    def _instances(self, rows: Sequence[Row]) -> Instances:
        if not rows:
            return Instances.of(*torch.zeros(2, 0, self.seq_len))
        inputs = torch.stack([self._tokens(row.question, row.shape) for row in rows])
        keys = torch.stack([self._tokens(row.answer, row.shape) for row in rows])
        return Instances.of(inputs, keys.masked_fill(keys == PAD, IGNORE))

    def _tokens(self, characters: str, shape: tuple[int, int]) -> Tensor:
        """Tokens int64 `[L]` of a board at the top left of the canvas."""
        token_of = self._tokens_by_character()
        unknown = [character for character in characters if character not in token_of]
        if unknown:
            allowed = " ".join(sorted(token_of))
            raise PuzzleError(f"{unknown[0]!r} is no symbol of {self.name}; allowed: {allowed}")
        canvas = torch.full(self.grid_shape, PAD, dtype=torch.int64)
        canvas[: shape[0], : shape[1]] = torch.tensor([token_of[character] for character in characters]).view(shape)
        return canvas.flatten()


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """Every question once."""
    first: dict[tuple[str, tuple[int, int]], Row] = {}
    for row in rows:
        known = first.setdefault((row.question, row.shape), row)
        if known.answer != row.answer:
            raise PuzzleError(f"{row.where}: the question of {known.where} again, with another answer")
    return list(first.values())


def _check_unknown(tested: Sequence[Row], rows: Sequence[Row]) -> None:
    """Raise `PuzzleError` if a row to test on is among the others."""
    known = {(row.question, row.shape): row for row in rows}
    for row in tested:
        if (row.question, row.shape) in known:
            raise PuzzleError(f"{row.where}: also a puzzle to train on, {known[row.question, row.shape].where}")
