"""ARC in one dimension: find out what is done to rows of colours, and do it to another row."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from latent_rl.envs.options import Count, Seed
from latent_rl.envs.puzzle import Puzzle
from latent_rl.envs.reasoning_gym import items
from latent_rl.envs.reasoning_gym.board import Board

_COLOURS = "0123456789"


class Arc1D(Board):
    """Task `arc_1d`: pairs of rows show what is done to a row; the last row of the board is to be filled.

    The demonstrations stand on the board, each an input above its output, then the test input. So nothing has to be
    learned of a single task, and there are no puzzle embeddings: the tasks of a test are new draws of some dozens of
    kinds of task. Only the key tells whether an answer is right (`has_rule` is False).

    Args:
        size: colours in a row.
        num_train: demonstrations.
        train, test, validation: how many puzzles.
        seed: of the draw.
        cache_dir: see `cache.cached`.

    Raises:
        PuzzleError: see `items.items`.
    """

    has_rule = False
    violations = Puzzle.violations

    def __init__(
        self,
        size: Annotated[int, Field(ge=8, le=30)] = 10,
        num_train: Annotated[int, Field(ge=1, le=10)] = 3,
        train: Count = 20_000,
        test: Count = 1_000,
        validation: Count = 1_000,
        seed: Seed = 0,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        rows = [[_COLOURS] * size] * (2 * num_train + 1) + [["."] * size]
        super().__init__(f"reasoning_gym-arc_1d-{size}", "_." + _COLOURS, rows)
        config = {"min_size": size, "max_size": size, "num_train": num_train}
        counts = {"train": train, "test": test, "validation": validation}
        self.source = items.items("arc_1d", self._read, config, self.name, **counts, seed=seed, cache_dir=cache_dir)

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """False: whether an answer is right, only the key tells."""
        return torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)

    def _read(self, item: Mapping[str, Any]) -> items.Pair:
        metadata = item["metadata"]
        shown = [row for pair in metadata["train_examples"] for row in (pair["input"], pair["output"])]
        test = metadata["test_example"]
        question = "".join("".join(map(str, row)) for row in (*shown, test["input"]))
        answer = "".join(map(str, test["output"]))
        return self.encode(question + "." * len(answer)), self.encode(question + answer)
