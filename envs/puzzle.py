"""What a puzzle is: tokens on a grid, where instances come from, and the rule that says what is solved.

A new puzzle is a subclass of `Puzzle` with a grid shape, an alphabet, instances and a rule; everything else here has
a default. `latent_rl.envs.check_puzzle` tells its author what is wrong with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from latent_rl.envs.errors import PuzzleError

if TYPE_CHECKING:
    from latent_rl.envs.renderer import Renderer
    from latent_rl.envs.sources import Source
    from latent_rl.envs.vote import Vote

PAD = 0
"""Token of a cell that is not part of the puzzle; token 0 of every alphabet, as in the official data sets."""

IGNORE = -100
"""Value in a solution of a cell that does not count, neither in a loss nor in a score."""

Split = Literal["train", "validation", "test"]
"""Puzzles to learn from; to choose by (a price, a threshold, when a target was reached); and to report on, once."""


@dataclass(frozen=True)
class Instances:
    """A batch of puzzle instances, on one device.

    Attributes:
        inputs: int64 `[N, L]`, the tokens that a player is given.
        solution: int64 `[N, L]`, the tokens of the answer key; `IGNORE` where a cell does not count.
        puzzle_id: int64 `[N]`, the row of the puzzle-embedding table; all 0 for puzzles without one.
    """

    inputs: Tensor
    solution: Tensor
    puzzle_id: Tensor

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> Instances:
        return Instances(self.inputs[index], self.solution[index], self.puzzle_id[index])

    def to(self, device: torch.device | str) -> Instances:
        """The same instances on another device."""
        return Instances(self.inputs.to(device), self.solution.to(device), self.puzzle_id.to(device))

    @classmethod
    def cat(cls, parts: Sequence[Instances]) -> Instances:
        """The instances of all parts, one after the other."""
        return cls(
            *(torch.cat([getattr(part, name) for part in parts]) for name in ("inputs", "solution", "puzzle_id"))
        )

    @classmethod
    def of(cls, inputs: Tensor, solution: Tensor) -> Instances:
        """Instances of a puzzle without puzzle embeddings (every id is 0)."""
        ids = torch.zeros(inputs.shape[0], dtype=torch.int64, device=inputs.device)
        return cls(inputs.long(), solution.long(), ids)


class Puzzle(ABC):
    """A family of puzzles that share a grid, an alphabet and a rule.

    Methods on tensors are batched, run on the device of their arguments and never modify them.

    Attributes:
        name: short name for people, for instance `"sudoku-6x6"`.
        grid_shape: `(rows, columns)`; a puzzle has `L = rows * columns` cells, in reading order.
        symbols: one character a token; `symbols[0]` stands for padding.
        source: where the instances come from; None for a puzzle with an `instances` of its own.
        num_puzzle_ids: rows of the puzzle-embedding table; 0 if the family has none.
        ids_digest: a text that changes with the meaning of the puzzle ids, if they have one: embeddings that were
            learned under one digest mean nothing under another.
        has_rule: whether `is_solved` can tell; without a rule only an answer key can, see `judge`.
        vote: makes views of the test inputs that vote on their answers; None where the first answer is the answer.
        units: kinds of units, and for each kind the unit of every cell: of a Sudoku the row, the column and the box of
            each of its L cells. Cells of a unit constrain one another. Empty where nothing is declared.
        interchangeable: tokens that are only names: whatever way they are renamed among themselves, in puzzle and
            answer, the answer stays an answer. Empty for none.
    """

    name: str
    grid_shape: tuple[int, int]
    symbols: Sequence[str]
    source: Source | None = None
    num_puzzle_ids: int = 0
    ids_digest: str = ""
    has_rule: bool = True
    vote: Vote | None = None
    units: tuple[tuple[int, ...], ...] = ()
    interchangeable: tuple[int, ...] = ()

    @cached_property
    def renderer(self) -> Renderer:
        """Draws boards for people; a puzzle that is to look different sets it to a renderer of its own."""
        from latent_rl.envs.renderer import Renderer  # late, because it builds on this module

        return Renderer(self)

    @property
    def seq_len(self) -> int:
        """Number of cells, `L`."""
        return self.grid_shape[0] * self.grid_shape[1]

    @property
    def vocab_size(self) -> int:
        """Number of tokens, padding included."""
        return len(self.symbols)

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation split; by default whether `source` has one.

        A puzzle with `instances` of its own says so itself (`has_validation = True`): asked for a split that it has
        never heard of, it might hand out its test puzzles. See `instances_of`.
        """
        return self.source is not None and self.source.has_validation

    def instances(self, split: Split) -> Instances:
        """All instances of a split, on the CPU; the same ones at every call. By default those of `source`.

        The validation split comes from the training side and shares no puzzle with the other two; see
        `has_validation`.

        Raises:
            PuzzleError: if the data are missing or malformed.
        """
        if self.source is None:
            raise PuzzleError(f"{self.name} has neither a source nor instances of its own")
        return self.source.instances(split)

    def labels(self, split: Split) -> dict[str, list[str]]:
        """What tells the puzzles of a split apart beside their cells: a text for each, by name; to report on kinds.

        By default what `source` knows: the columns `source` and `rating` of files.
        """
        return {} if self.source is None else self.source.labels(split)

    @abstractmethod
    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Whether answers obey the puzzle's own rule and keep its givens, without looking at an answer key.

        Args:
            inputs: int64 `[B, L]`.
            answers: int64 `[B, L]`.

        Returns:
            bool `[B]`.
        """

    @property
    def counts_violations(self) -> bool:
        """Whether `violations` tells more than `is_solved` does."""
        return self.has_rule and type(self).violations is not Puzzle.violations

    def violations(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """How far answers are from obeying the rule, without looking at an answer key: a reward to learn from.

        By default 0 or 1, `is_solved` alone; a puzzle that counts what is wrong can be learned from its rule.

        Args:
            inputs: int64 `[B, L]`.
            answers: int64 `[B, L]`.

        Returns:
            float32 `[B]`, at least 0, and 0 exactly where `is_solved`.
        """
        return (~self.is_solved(inputs, answers)).float()

    def offending(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Cells of answers that break the rule, for people to see: boards are drawn with them framed.

        By default none. What is missing has no cell, so that an answer without any need not be solved.

        Args:
            inputs: int64 `[B, L]`.
            answers: int64 `[B, L]`.

        Returns:
            bool `[B, L]`.
        """
        return torch.zeros_like(answers, dtype=torch.bool)

    @property
    def marks_offending(self) -> bool:
        """Whether `offending` tells anything."""
        return type(self).offending is not Puzzle.offending

    def free_cells(self, inputs: Tensor) -> Tensor:
        """Which cells of an answer are the player's to choose; the others keep their input.

        By default all but padding: who samples answers then samples the givens too, and learns that they must stay.

        Args:
            inputs: int64 `[B, L]`.

        Returns:
            bool `[B, L]`.
        """
        return inputs != PAD

    def judge(self, inputs: Tensor, answers: Tensor, solutions: Tensor) -> Tensor:
        """Whether answers are solved, for who holds the key: by the puzzle's own rule, or by the key if it has none.

        Args:
            inputs: int64 `[B, L]`.
            answers: int64 `[B, L]`.
            solutions: int64 `[B, L]`, `IGNORE` where a cell does not count; where none does, nothing is solved.

        Returns:
            bool `[B]`.
        """
        if self.has_rule:
            return self.is_solved(inputs, answers)
        counted = solutions != IGNORE
        return ((answers == solutions) | ~counted).all(-1) & counted.any(-1)

    def quality(self, answers: Tensor, solutions: Tensor) -> Tensor:
        """How good answers are, in [0, 1]: by default the share of counted cells that equal the key.

        Args:
            answers: int64 `[B, L]`.
            solutions: int64 `[B, L]`, `IGNORE` where a cell does not count.

        Returns:
            float32 `[B]`.
        """
        counted = solutions != IGNORE
        right = (answers == solutions) & counted
        return right.sum(-1).float() / counted.sum(-1).clamp(min=1).float()

    def augment(self, instances: Instances, generator: torch.Generator) -> Instances:
        """Random symmetric images of instances, for training; by default the instances themselves.

        `generator` lives on the device of the instances and is the only source of randomness.
        """
        return instances

    def ids_of(self, inputs: Tensor) -> Tensor:
        """The puzzle ids, int64 `[B]`, of inputs `[B, L]` that a person gave; 0 for puzzles without embeddings.

        Raises:
            PuzzleError: if the family has embeddings and does not know a puzzle.
        """
        return torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)

    def check_input(self, tokens: Tensor) -> None:  # noqa: B027  (a hook; most puzzles need none)
        """Raise `PuzzleError` if the givens (int64 `[L]`) contradict the rule; by default nothing is checked."""

    def parse(self, text: str) -> Tensor:
        """The tokens, int64 `[L]`, of a puzzle as people write it: one symbol a cell in reading order.

        White space and the characters people draw boards with (`|`, `+`, `-`) are skipped unless they are symbols.

        Raises:
            PuzzleError: on an unknown character or a wrong number of cells.
        """
        rows, columns = self.grid_shape
        token_of = self._tokens_by_character()
        tokens = []
        for number, line in enumerate(text.splitlines(), start=1):
            for column, character in enumerate(line, start=1):
                if character in token_of:
                    tokens.append(token_of[character])
                elif not character.isspace() and character not in "|+-":
                    allowed = " ".join(sorted(token_of))
                    raise PuzzleError(
                        f"line {number}, column {column}: {character!r} is no symbol of {self.name}; allowed: {allowed}"
                    )
        if len(tokens) != self.seq_len:
            raise PuzzleError(f"{self.name} has {self.seq_len} cells ({rows} x {columns}), got {len(tokens)}")
        return torch.tensor(tokens, dtype=torch.int64)

    def _tokens_by_character(self) -> dict[str, int]:
        """Characters that `parse` understands; a puzzle may add spellings, such as `0` for an empty cell."""
        return {symbol: token for token, symbol in enumerate(self.symbols) if token != PAD}

    def render(self, tokens: Tensor) -> str:
        """The board as text, one line a row, for tokens int64 `[L]`."""
        rows, columns = self.grid_shape
        cells = [self.symbols[token] for token in tokens.tolist()]
        return "\n".join(" ".join(cells[row * columns : (row + 1) * columns]) for row in range(rows))


def instances_of(puzzle: Puzzle, split: Split) -> Instances:
    """All instances of a split, for who does not know whether the puzzle has a validation split.

    Raises:
        PuzzleError: if it has none, if there is no such split, or if the data are missing or malformed.
    """
    if split not in get_args(Split):
        known = ", ".join(map(repr, get_args(Split)))
        raise PuzzleError(f"unknown split {split!r}; the splits are {known}")
    if split == "validation" and not puzzle.has_validation:
        raise PuzzleError(f"{puzzle.name} has no validation split here, and nothing is chosen on test puzzles")
    return puzzle.instances(split)
