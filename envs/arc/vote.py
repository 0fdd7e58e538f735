"""The views of ARC's tasks, which are trained on and vote: images under a symmetry and a permutation of colours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from latent_rl.envs.arc.canvas import SYMMETRIES, Augmentation, decode
from latent_rl.envs.arc.tasks import COLOURS
from latent_rl.envs.puzzle import IGNORE, PAD, Instances
from latent_rl.envs.vote import Question, Vote

if TYPE_CHECKING:
    from latent_rl.envs.arc.puzzle import Arc


class ArcVote(Vote):
    """View `k` of a task is its image under the symmetry and the permutation of colours that `k` and `seed` say.

    They are the same for every task, and colour 0 stays; view 0 is the task itself.

    Args:
        puzzle: knows the test inputs.
        views: how many, the tasks themselves included.
        seed: of their draw.
    """

    def __init__(self, puzzle: Arc, views: int, seed: int) -> None:
        self.puzzle = puzzle
        self.views = views
        self.seed = seed

    @property
    def questions(self) -> Sequence[Question]:
        """The test inputs, in the order of the test instances."""
        return self.puzzle.questions

    def view(self, instances: Instances, number: Tensor) -> Instances:
        """View `number` (int64 `[B]`) of instances `[B]` that are view 0, in the corner of the canvas."""
        return self.image(instances, self.augmentation(number), number)

    def undo(self, answers: Tensor, number: Tensor) -> Tensor:
        """Answers int64 `[B, L]` to views `number` as answers to the tasks themselves; see `canvas.crop`."""
        return self.augmentation(number).undo(answers)

    def grids(self, answers: Tensor, number: Tensor) -> list[np.ndarray]:
        """Answers int64 `[B, L]` to views `number`, as grids of the tasks themselves."""
        return decode(self.undo(answers, number))

    def augmentation(self, number: Tensor) -> Augmentation:
        """What makes views `number` (int64 `[B]`), in the corner of the canvas."""
        if self._tables[0].device != number.device:
            # Once, not at every draw: sending a table to a device waits for it.
            self._tables = tuple(table.to(number.device) for table in self._tables)
        symmetry, colours = (table[number] for table in self._tables)
        return Augmentation(symmetry, colours, number.new_zeros(len(number), 2))

    def image(self, instances: Instances, augmentation: Augmentation, number: Tensor) -> Instances:
        """Instances `[B]` that are view 0 under an augmentation that is view `number` of the tasks at any place."""
        solutions = augmentation.apply(instances.solution.clamp(min=PAD))
        return Instances(
            inputs=augmentation.apply(instances.inputs),
            solution=solutions.masked_fill(solutions == PAD, IGNORE),
            puzzle_id=instances.puzzle_id + number,
        )

    @cached_property
    def _tables(self) -> tuple[Tensor, Tensor]:
        """Symmetry `[views]` and colours `[views, 10]` of each view, all different.

        Drawn one after the other: with fewer augmentations, those that there are stay the same.
        """
        rng = np.random.default_rng(self.seed)
        found = {(0, *range(COLOURS)): None}
        while len(found) < self.views:
            found[(int(rng.integers(SYMMETRIES)), 0, *(rng.permutation(COLOURS - 1) + 1).tolist())] = None
        table = torch.tensor(list(found))
        return table[:, 0], table[:, 1:]
