"""Where instances come from: a generator whose sets are cached, or files of the public CSV schema."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from latent_rl.envs.cache import cached
from latent_rl.envs.csv_format import read_csv
from latent_rl.envs.puzzle import Instances, PuzzleError, Split

Generate = Callable[[int, int, np.random.Generator], Instances]
"""Of the sizes of training and test set and the only source of randomness: all instances, those of training first."""


class Source(ABC):
    """Gives a puzzle its instances; they are made or read when they are first asked for, and kept."""

    def instances(self, split: Split) -> Instances:
        """All instances of a split, on the CPU; the same ones at every call.

        Raises:
            PuzzleError: if they cannot be generated, or if a file is missing or malformed.
        """
        return self._sets[("train", "test").index(split)]

    @cached_property
    def _sets(self) -> tuple[Instances, Instances]:
        return self.load()

    @abstractmethod
    def load(self) -> tuple[Instances, Instances]:
        """The training set and the test set."""


class Generated(Source):
    """Instances from a generator, or from the cache if they were generated before.

    Args:
        name: of the puzzle; start of the cached file's name.
        generate: makes all instances at once, so that no two are the same.
        train, test: how many.
        seed: of the generator.
        version: of the generator; another one when the same seed gives other instances.
        options: whatever else the instances depend on, as JSON values.
        cache_dir: see `cached`.
    """

    def __init__(
        self,
        name: str,
        generate: Generate,
        *,
        train: int,
        test: int,
        seed: int,
        version: int,
        options: Mapping[str, Any],
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.name = name
        self.generate = generate
        self.train, self.test, self.seed = train, test, seed
        self.parameters = {**options, "version": version, "train": train, "test": test, "seed": seed}
        self.cache_dir = cache_dir

    def load(self) -> tuple[Instances, Instances]:
        """Both sets, read from the cache or generated into it."""
        return cached(self.name, self.parameters, self._split, self.cache_dir)

    def _split(self) -> tuple[Instances, Instances]:
        everything = self.generate(self.train, self.test, np.random.default_rng(self.seed))
        return everything[: self.train], everything[self.train :]


class CsvFiles(Source):
    """Instances from a file for training and one for testing, which share no puzzle.

    Args:
        train_file, test_file: CSV, plain or gzip.
        train, test: how many rows to draw of each; None for all.
        prove: a part of the puzzle's rule that takes long, of inputs int64 `[N, L]` and the file's name: the first row
            that breaks it and how it does, or None. It is asked last, and of the rows that were drawn.
        reading: how to read both, see `read_csv`.
    """

    def __init__(
        self,
        train_file: str | os.PathLike[str],
        test_file: str | os.PathLike[str],
        *,
        train: int | None,
        test: int | None,
        prove: Callable[[Tensor, str], tuple[int, str] | None] | None = None,
        **reading: Any,
    ) -> None:
        self.files = (train_file, test_file)
        self.counts = (train, test)
        self.prove = prove
        self.reading = reading

    def load(self) -> tuple[Instances, Instances]:
        """Both files; `PuzzleError` if one is malformed or they share a puzzle."""
        found = [
            read_csv(file, limit=count, **self.reading) for file, count in zip(self.files, self.counts, strict=True)
        ]
        (train, _), (test, _) = found
        check_disjoint(train, test, f"{self.files[0]} and {self.files[1]}")
        if self.prove is not None:
            for file, (instances, lines) in zip(self.files, found, strict=True):
                if (fault := self.prove(instances.inputs, str(file))) is not None:
                    raise PuzzleError(f"{file}, line {lines[fault[0]]}: {fault[1]}")
        return train, test


def check_disjoint(train: Instances, test: Instances, where: str) -> None:
    """Raise `PuzzleError` if a puzzle of `test` is also one of `train`, by puzzle id and inputs."""
    held_out = {key: number for number, key in enumerate(_keys(test))}
    shared = {held_out[key] for key in _keys(train) if key in held_out}
    if shared:
        raise PuzzleError(
            f"{where}: training and test set share {len(shared)} puzzles, the first is test puzzle {min(shared) + 1}"
        )


def _keys(instances: Instances) -> Iterator[tuple[int, bytes]]:
    rows = (row.tobytes() for row in instances.inputs.cpu().numpy())
    return zip(instances.puzzle_id.tolist(), rows, strict=True)
