"""Where instances come from: a generator whose sets are cached, or files of the public CSV schema."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_rl.envs.cache import cached
from latent_rl.envs.csv_format import Labels, read_csv, read_rows
from latent_rl.envs.puzzle import Instances, PuzzleError, Split

Generate = Callable[[int, int, np.random.Generator], Instances]
"""Of the sizes of training and test set and the only source of randomness: all instances, those of training first."""

GenerateMore = Callable[[int, Instances, np.random.Generator], Instances]
"""Of a number, the instances that there are already, and the only source of randomness: so many others."""

DEFAULT_VALIDATION = 1000

_VALIDATION_STREAM = 1
"""Beside the seed, what the validation set is drawn with: neither train nor test feel whether there is one."""


class Source(ABC):
    """Gives a puzzle its instances; they are made or read when they are first asked for, and kept.

    Attributes:
        has_validation: whether there is a validation split.
    """

    has_validation: bool = False

    def instances(self, split: Split) -> Instances:
        """All instances of a split, on the CPU; the same ones at every call.

        Raises:
            PuzzleError: if they cannot be generated, or if a file is missing or malformed.
        """
        if split not in self._loaded:
            self._loaded.update(self.load(split))
        return self._loaded[split]

    def labels(self, split: Split) -> Labels:
        """What is known of the puzzles of a split beside their cells; nothing by default."""
        return {}

    @cached_property
    def _loaded(self) -> dict[Split, Instances]:
        return {}

    @abstractmethod
    def load(self, split: Split) -> dict[Split, Instances]:
        """A split, with those that come with it."""


class Generated(Source):
    """Instances from a generator, or from the cache if they were generated before.

    Args:
        name: of the puzzle; start of the cached file's name.
        generate: makes the instances of train and test at once, so that no two are the same.
        train, test: how many.
        seed: of the generator.
        version: of the generator; another one when the same seed gives other instances.
        options: whatever else the instances depend on, as JSON values.
        cache_dir: see `cached`.
        validation: how many instances for validation; 0 for no such split.
        more: draws them, after train and test, which stay as they are without. By default there are no others: so many
            of the training instances are held out, drawn with `seed`.

    Raises:
        PuzzleError: if nothing would be left to train on.
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
        validation: int = 0,
        more: GenerateMore | None = None,
    ) -> None:
        self.name = name
        self.generate, self.more = generate, more
        self.train, self.test, self.validation, self.seed = train, test, validation, seed
        self.parameters = {**options, "version": version, "train": train, "test": test, "seed": seed}
        self.cache_dir = cache_dir
        self.has_validation = validation > 0
        if more is None:
            _check_held_out(name, validation, train)

    def load(self, split: Split) -> dict[Split, Instances]:
        """Train and test, or validation alone if it is drawn after them; from the cache or generated into it."""
        if split == "validation" and self.more is not None:
            parameters = {**self.parameters, "validation": self.validation}
            (found,) = cached(self.name, parameters, self._draw_more, self.cache_dir, ("validation",))
            return {"validation": found}
        train, test = cached(self.name, self.parameters, self._split, self.cache_dir)
        if self.more is not None or not self.validation:
            return {"train": train, "test": test}
        held_out = _validation_rng(self.seed).permutation(len(train))[: self.validation]
        is_held_out = torch.zeros(len(train), dtype=torch.bool)
        is_held_out[torch.from_numpy(held_out)] = True
        return {"train": train[~is_held_out], "validation": train[is_held_out], "test": test}

    def _split(self) -> tuple[Instances, Instances]:
        everything = self.generate(self.train, self.test, np.random.default_rng(self.seed))
        return everything[: self.train], everything[self.train :]

    def _draw_more(self) -> tuple[Instances]:
        known = Instances.cat([self.instances("train"), self.instances("test")])
        return (self.more(self.validation, known, _validation_rng(self.seed)),)


class CsvFiles(Source):
    """Instances from a file for training and one for testing, which share no puzzle.

    Args:
        train_file, test_file: CSV, plain or gzip.
        train, test: how many rows to draw of each; None for all.
        prove: a part of the puzzle's rule that takes long, of inputs int64 `[N, L]` and the file's name: the first row
            that breaks it and how it does, or None. It is asked last, and of the rows that were drawn.
        validation: how many rows of `train_file` are held out for validation: rows that were not drawn for training,
            and where these do not suffice, rows that were; None for 1,000, but at most a tenth of the file, and one of
            several at least.
        seed: of drawing.
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
        validation: int | None = 0,
        seed: int = 0,
        **reading: Any,
    ) -> None:
        self.files = (train_file, test_file)
        self.counts = (train, test)
        self.prove = prove
        self.validation = validation
        self.seed = seed
        self.reading = reading
        self.has_validation = validation != 0

    def load(self, split: Split) -> dict[Split, Instances]:
        """All splits; `PuzzleError` if a file is malformed or they share a puzzle."""
        rows = read_rows(self.files[0], **self.reading)
        kept = rows.draw(self.counts[0], self.seed)
        held_out = self._hold_out(len(rows.lines), kept)
        validation, validation_lines, validation_labels = rows.instances(held_out)
        # A puzzle may stand in a file twice.
        held_back = set(_keys(validation))
        others = np.setdiff1d(kept, held_out)
        fresh = np.array([key not in held_back for key in _keys(rows.instances(others)[0])], dtype=bool)
        train, train_lines, train_labels = rows.instances(others[fresh])
        del rows
        test, test_lines, test_labels = read_csv(self.files[1], limit=self.counts[1], seed=self.seed, **self.reading)
        check_disjoint(Instances.cat([train, validation]), test, f"{self.files[0]} and {self.files[1]}")
        drawn = (
            (self.files[0], train, train_lines),
            (self.files[1], test, test_lines),
            (self.files[0], validation, validation_lines),
        )
        for file, instances, lines in drawn if self.prove is not None else ():
            if len(instances) and (fault := self.prove(instances.inputs, str(file))) is not None:
                raise PuzzleError(f"{file}, line {lines[fault[0]]}: {fault[1]}")
        self._labels = {"train": train_labels, "validation": validation_labels, "test": test_labels}
        return {"train": train, "validation": validation, "test": test}

    def labels(self, split: Split) -> Labels:
        """The columns `source` and `rating` of a split's rows."""
        self.instances(split)
        return self._labels[split]

    def _hold_out(self, count: int, kept: np.ndarray) -> np.ndarray:
        """Numbers of the rows for validation, ascending, of `count` rows of which those in `kept` are for training."""
        # Of few rows one, or what is said to be chosen on validation puzzles would be chosen on nothing.
        wanted = max(min(1, count - 1), default_held_out(count)) if self.validation is None else self.validation
        rng = _validation_rng(self.seed)
        spare = rng.permutation(np.setdiff1d(np.arange(count), kept))
        _check_held_out(str(self.files[0]), wanted - len(spare), len(kept))
        return np.sort(np.concatenate([spare, rng.permutation(kept)])[:wanted])


def default_held_out(train: int, most: int = DEFAULT_VALIDATION) -> int:
    """How many of `train` instances are held out for validation unless somebody says: `most`, at most a tenth."""
    return min(most, train // 10)


def _validation_rng(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, _VALIDATION_STREAM])


def _check_held_out(where: str, held_out: int, train: int) -> None:
    if held_out >= train:
        raise PuzzleError(
            f"{where}: validation holds out {held_out} of {train} training puzzles and leaves none; lower validation"
        )


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
