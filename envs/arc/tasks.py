"""Tasks of ARC-AGI as they are published: folders of task files, ConceptARC's corpus, and Kaggle's pair of files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from latent_rl.envs.puzzle import PuzzleError

COLOURS = 10
LARGEST_SIDE = 30
MINI = "mini"
"""The name of the dozen easy tasks of ARC-AGI-1 that come with this package."""

_CHALLENGES, _SOLUTIONS = "_challenges.json", "_solutions.json"
_LAYOUTS = "a folder of task files, or Kaggle's ..._challenges.json (its ..._solutions.json beside it, if there is one)"


class Pair(NamedTuple):
    """An input grid and its output, uint8 `[rows, columns]` of colours 0 to 9; the output is None if nobody told."""

    input: np.ndarray
    output: np.ndarray | None


@dataclass(frozen=True)
class Task:
    """A task: `demonstrations` show what is to be done, `tests` ask for it. `file` is where it was read."""

    name: str
    demonstrations: tuple[Pair, ...]
    tests: tuple[Pair, ...]
    file: Path

    def same_content(self, other: Task) -> bool:
        """Whether both hold the same pairs in the same order."""
        ours, theirs = (
            [[grid if grid is None else grid.tolist() for grid in pair] for pair in (*task.demonstrations, *task.tests)]
            for task in (self, other)
        )
        return ours == theirs and len(self.tests) == len(other.tests)


def read_tasks(sources: Sequence[str | os.PathLike[str]]) -> dict[str, Task]:
    """The tasks of all sources, by name, sources in their order and the tasks of each by name.

    Args:
        sources: each a folder that holds task files `<name>.json`, at any depth; a file `…_challenges.json` in
            Kaggle's format, with `…_solutions.json` beside it if the answers are known; or `"mini"`.

    Raises:
        PuzzleError: if a source is missing or empty, a file is no JSON, a task is malformed, or two tasks of one name
            differ; the message names the file and the place in it.
    """
    tasks: dict[str, Task] = {}
    for source in sources:
        for task in _read_source(source):
            known = tasks.setdefault(task.name, task)
            if not known.same_content(task):
                raise PuzzleError(
                    f"task {task.name!r} stands in {known.file} and in {task.file} with different content: "
                    "a name must mean one task; leave out one of them"
                )
    return tasks


def _read_source(source: str | os.PathLike[str]) -> Iterable[Task]:
    if source == MINI:
        with resources.as_file(resources.files("latent_rl.envs.arc") / "data" / f"arc-mini{_CHALLENGES}") as path:
            return _read_kaggle(path)
    path = Path(source)
    if path.is_dir():
        files = sorted(path.rglob("*.json"))
        if not files:
            raise PuzzleError(f"{path}: no task files (*.json) in this folder")
        return [_task(file.stem, _read_json(file), None, file) for file in files]
    if path.name.endswith(_CHALLENGES):
        return _read_kaggle(path)
    raise PuzzleError(f"{path}: {'no source of ARC tasks' if path.exists() else 'no such source'}; give {_LAYOUTS}")


def _read_kaggle(path: Path) -> list[Task]:
    challenges = _mapping(_read_json(path), path, "task names")
    if not challenges:
        raise PuzzleError(f"{path}: no tasks")
    answers_file = path.with_name(path.name.removesuffix(_CHALLENGES) + _SOLUTIONS)
    answers: dict[str, Any] = {}
    if answers_file.exists():
        answers = _mapping(_read_json(answers_file), answers_file, "task names")
        strange = sorted(set(challenges) ^ set(answers))
        if strange:
            lacking = answers_file if strange[0] in challenges else path
            raise PuzzleError(
                f"{lacking}: task {_brief(strange[0])} is missing; it stands in the other file of the pair"
            )
        for name, outputs in answers.items():
            if outputs is None:
                raise PuzzleError(f"{answers_file}, task {_brief(name)}: expected a list of grids, got null")
    return [_task(name, challenges[name], answers.get(name), path) for name in sorted(challenges)]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_key_twice)
    except FileNotFoundError:
        raise PuzzleError(f"{path}: no such file; give {_LAYOUTS}") from None
    except json.JSONDecodeError as error:
        raise PuzzleError(f"{path}, line {error.lineno}: no valid JSON, is the file cut off? ({error.msg})") from None
    except (OSError, ValueError, RecursionError) as error:
        raise PuzzleError(f"{path}: cannot be read as JSON: {error}") from None


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; Python's reader would silently keep the last of two equal keys."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{_brief(twice)} stands in one object twice")
    return found


def _mapping(value: Any, where: object, of: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PuzzleError(f"{where}: expected an object of {of}, got {_kind(value)}")
    return value


def _task(name: str, content: Any, answers: Any, file: Path) -> Task:
    """A task from its JSON value; `answers` are the outputs of its tests where a file of their own holds them."""
    where = f"{file}, task {_brief(name)}"
    content = _mapping(content, where, "'train' and 'test'")
    parts = {}
    for key, meaning in (("train", "demonstrations"), ("test", "test inputs")):
        if key not in content:
            raise PuzzleError(f"{where}: the key {key!r} is missing")
        if not isinstance(content[key], list) or not content[key]:
            raise PuzzleError(f"{where}: {key!r} must be a list of {meaning} that is not empty")
        parts[key] = [
            _pair(pair, f"{where}, {key} pair {number}", key == "train") for number, pair in enumerate(content[key], 1)
        ]
    if answers is not None:
        if not isinstance(answers, list) or len(answers) != len(parts["test"]):
            count = len(answers) if isinstance(answers, list) else _kind(answers)
            raise PuzzleError(f"{where}: {len(parts['test'])} test inputs, but the solutions file has {count}")
        parts["test"] = [
            Pair(pair.input, _grid(answer, f"{where}, solution {number}"))
            for number, (pair, answer) in enumerate(zip(parts["test"], answers, strict=True), 1)
        ]
    return Task(name, tuple(parts["train"]), tuple(parts["test"]), file)


def _pair(value: Any, where: str, output_needed: bool) -> Pair:
    value = _mapping(value, where, "'input' and 'output'")
    for key in ("input", "output") if output_needed else ("input",):
        if key not in value:
            raise PuzzleError(f"{where}: the key {key!r} is missing")
    given = _grid(value["input"], f"{where}, input")
    return Pair(given, _grid(value["output"], f"{where}, output") if "output" in value else None)


def _grid(value: Any, where: str) -> np.ndarray:
    if not (isinstance(value, list) and value and all(isinstance(row, list) and row for row in value)):
        raise PuzzleError(f"{where}: a grid must be a list of rows, none of them empty")
    rows, columns = len(value), len(value[0])
    if max(rows, columns) > LARGEST_SIDE:
        raise PuzzleError(f"{where}: {rows} x {columns} cells; a grid has at most {LARGEST_SIDE} x {LARGEST_SIDE}")
    for number, row in enumerate(value, 1):
        if len(row) != columns:
            raise PuzzleError(f"{where}: row {number} has {len(row)} cells, row 1 has {columns}")
        for cell in row:
            if type(cell) is not int or not 0 <= cell < COLOURS:
                raise PuzzleError(
                    f"{where}: row {number} holds {_brief(cell)}; colours are the integers 0 to {COLOURS - 1}"
                )
    return np.array(value, dtype=np.uint8)


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text"}.get(type(value), _brief(value))


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 50 else f"{text[:40]}…{text[-5:]}"
