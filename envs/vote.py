"""Answers by vote: a test input is answered in several views, and the answers, taken back, vote on its answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from latent_rl.envs.puzzle import Instances


@dataclass(frozen=True)
class Question:
    """Which test input an instance of the test split is: `number` counts from 0; `answer` is None if nobody told."""

    task: str
    number: int
    answer: np.ndarray | None


class Vote(ABC):
    """The views of a puzzle's test inputs, and how answers to them are made comparable; see `Puzzle.vote`.

    Attributes:
        views: how many views of a test input there are; view 0 is the test input itself.
    """

    views: int

    @property
    @abstractmethod
    def questions(self) -> Sequence[Question]:
        """What each instance of the test split asks, in their order."""

    @abstractmethod
    def view(self, instances: Instances, number: Tensor) -> Instances:
        """View `number` (int64 `[B]`) of instances `[B]` that are view 0."""

    @abstractmethod
    def grids(self, answers: Tensor, number: Tensor) -> list[np.ndarray]:
        """What answers int64 `[B, L]` to views `number` (int64 `[B]`) say about the test inputs themselves.

        Returns:
            `B` arrays uint8 `[rows, columns]`; equal ones are votes for the same, one of no cells is a spoilt vote.
        """
