"""Matrices that are turned into others by a rule that leaves no choice."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from latent_rl.envs.options import Count, Seed
from latent_rl.envs.reasoning_gym import items
from latent_rl.envs.reasoning_gym.board import Board

_DISTANCES = "0123456789abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"


class _Matrix(Board):
    """A board with a rule that says of every cell whether it is right."""

    def violations(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Cells that break the rule, float32 `[B]`."""
        return self.offending(inputs, answers).sum(-1).float()


class BinaryMatrix(_Matrix):
    """Task `binary_matrix`: how far every cell is from the nearest 0, in steps to one of four neighbours.

    The cells that are not 0 are blanks; distances from 10 on are letters.

    Args:
        size: rows and columns.
        p_zero: share of zeros.
        train, test, validation: how many puzzles.
        seed: of the draw.
        cache_dir: see `cache.cached`.

    Raises:
        PuzzleError: see `items.items`.
    """

    def __init__(
        self,
        size: Annotated[int, Field(ge=2, le=18)] = 6,
        p_zero: float = 0.25,
        train: Count = 10_000,
        test: Count = 1_000,
        validation: Count = 1_000,
        seed: Seed = 0,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        name = f"reasoning_gym-binary_matrix-{size}x{size}"
        super().__init__(name, "_." + _DISTANCES[: 2 * size - 1], [["0."] * size] * size)
        config = {"min_n": size, "max_n": size, "p_zero": p_zero}
        counts = {"train": train, "test": test, "validation": validation}
        self.source = items.items(
            "binary_matrix", self._read, config, self.name, **counts, seed=seed, cache_dir=cache_dir
        )

    def offending(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Cells that are not one further than their nearest neighbour, or not 0 where 0 was given: bool `[B, L]`.

        Where no cell is, all distances are right: from every cell a way leads down to a 0.
        """
        (zero,) = self.encode("0")
        distances = self.rows(answers) - zero
        # A number larger than any distance around the board and in place of what is no distance.
        far = len(self.symbols)
        around = F.pad(distances.where(distances >= 0, far), (1, 1, 1, 1), value=far)
        nearest = torch.stack((around[:, :-2, 1:-1], around[:, 2:, 1:-1], around[:, 1:-1, :-2], around[:, 1:-1, 2:]))
        right = torch.where(self.rows(inputs) == zero, 0, nearest.amin(0) + 1)
        return (distances != right).flatten(1)

    def _read(self, item: Mapping[str, Any]) -> items.Pair:
        metadata = item["metadata"]
        matrix, distances = (sum(metadata[name], []) for name in ("matrix", "solution"))
        question = "".join("." if cell else "0" for cell in matrix)
        return self.encode(question), self.encode("".join(_DISTANCES[distance] for distance in distances))

    def _tokens_by_character(self) -> dict[str, int]:
        """As reasoning-gym writes the blanks, 1, too."""
        known = super()._tokens_by_character()
        return known | {"1": known["."]}


class RotateMatrix(_Matrix):
    """Task `rotate_matrix`: a matrix of digits, turned clockwise.

    The first cell of the last row says by how many quarter turns, 0 to 3.

    Args:
        size: rows and columns.
        min_rotations, max_rotations: least and greatest number of quarter turns; 5 is 1.
        train, test, validation: how many puzzles.
        seed: of the draw.
        cache_dir: see `cache.cached`.

    Raises:
        PuzzleError: see `items.items`.
    """

    def __init__(
        self,
        size: Annotated[int, Field(ge=2, le=30)] = 5,
        min_rotations: int = 0,
        max_rotations: int = 3,
        train: Count = 10_000,
        test: Count = 1_000,
        validation: Count = 1_000,
        seed: Seed = 0,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        name = f"reasoning_gym-rotate_matrix-{size}x{size}"
        super().__init__(name, "_" + _DIGITS + "+", [[_DIGITS] * size] * size + [["0123"] + ["+"] * (size - 1)])
        config = {"min_n": size, "max_n": size, "min_rotations": min_rotations, "max_rotations": max_rotations}
        counts = {"train": train, "test": test, "validation": validation}
        self.source = items.items(
            "rotate_matrix", self._read, config, self.name, **counts, seed=seed, cache_dir=cache_dir
        )

    def offending(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Cells that do not hold what the turn brings there, bool `[B, L]`."""
        given = self.rows(inputs)
        matrix = given[:, :-1]
        turned = torch.stack([torch.rot90(matrix, -turns, (1, 2)) for turns in range(4)])
        turns = (given[:, -1, 0] - self.encode("0")[0]) % 4
        right = torch.cat((turned[turns, torch.arange(len(inputs), device=inputs.device)], given[:, -1:]), dim=1)
        return answers != right.flatten(1)

    def free_cells(self, inputs: Tensor) -> Tensor:
        """The matrix, bool `[B, L]`."""
        free = torch.ones_like(inputs, dtype=torch.bool)
        free[:, -self.grid_shape[1] :] = False
        return free

    def _read(self, item: Mapping[str, Any]) -> items.Pair:
        metadata = item["metadata"]
        clue = str(metadata["num_rotations"] % 4).ljust(self.grid_shape[1], "+")
        question, answer = (
            self.encode("".join(map(str, sum(metadata[name], []))) + clue) for name in ("matrix", "solution")
        )
        return question, answer


class GameOfLife(_Matrix):
    """Task `game_of_life`: a board of Conway's game, 1 for life, some steps later; its opposite edges meet.

    Args:
        size: rows and columns.
        filled_cells: how often a random cell is brought to life; by default a third of the cells.
        simulation_steps: how many steps later.
        train, test, validation: how many puzzles.
        seed: of the draw.
        cache_dir: see `cache.cached`.

    Raises:
        PuzzleError: see `items.items`.
    """

    def __init__(
        self,
        size: Annotated[int, Field(ge=3, le=30)] = 6,
        filled_cells: int | None = None,
        simulation_steps: Annotated[int, Field(ge=1)] = 1,
        train: Count = 5_000,
        test: Count = 500,
        validation: Count = 500,
        seed: Seed = 0,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(f"reasoning_gym-game_of_life-{size}x{size}", "_01", [["01"] * size] * size)
        self.steps = simulation_steps
        config = {
            "grid_size_x": size,
            "grid_size_y": size,
            "filled_cells": size * size // 3 if filled_cells is None else filled_cells,
            "simulation_steps": simulation_steps,
        }
        counts = {"train": train, "test": test, "validation": validation}
        self.source = items.items(
            "game_of_life", self._read, config, self.name, **counts, seed=seed, cache_dir=cache_dir
        )

    def offending(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Cells that do not hold what the game brings there, bool `[B, L]`."""
        dead, alive = self.encode("01")
        board = (self.rows(inputs) == alive).long()
        for _ in range(self.steps):
            lines = board + board.roll(1, 1) + board.roll(-1, 1)
            block = lines + lines.roll(1, 2) + lines.roll(-1, 2)  # a cell and its eight neighbours
            board = ((block == 3) | ((board == 1) & (block == 4))).long()
        return answers != torch.where(board.flatten(1) == 1, alive, dead)

    def free_cells(self, inputs: Tensor) -> Tensor:
        """All cells, bool `[B, L]`."""
        return torch.ones_like(inputs, dtype=torch.bool)

    def _read(self, item: Mapping[str, Any]) -> items.Pair:
        # The board itself stands in the question alone, as rows of a JSON list behind a sentence with another one.
        question = item["question"].rsplit("\n\n", 1)[1]
        return tuple(self.encode("".join(c for c in text if c in "01")) for text in (question, item["answer"]))
