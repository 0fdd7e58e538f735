"""ARC tasks: folders of JSON files and Kaggle's pair of them, with every mistake that people make in them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tables.case import Case, Material
from tables.options import train

AREA = "ARC tasks"
PAIR = {"input": [[1, 0, 2]], "output": [[2, 0, 1]]}
TASK: dict[str, Any] = {"train": [PAIR, {"input": [[3, 0, 4]], "output": [[4, 0, 3]]}], "test": [
    {"input": [[5, 0, 6]], "output": [[6, 0, 5]]}]}  # fmt: skip


def cases() -> Iterator[Case]:
    """All of this page."""
    for wrong, task in _tasks().items():
        content = task if isinstance(task, bytes) else json.dumps(task).encode()

        def folder_of_one(folder: Path, _: Material, content: bytes = content) -> None:
            (folder / "tasks").mkdir()
            (folder / "tasks" / "bad.json").write_bytes(content)

        yield Case(AREA, f"a task file: {wrong}", "train", train("Arc", test="tasks"), folder_of_one, named=("bad",))
    for wrong, (challenges, solutions) in _kaggle().items():

        def pair(folder: Path, _: Material, first: Any = challenges, second: Any = solutions) -> None:
            for name, content in (("challenges", first), ("solutions", second)):
                if content is not None:
                    data = content if isinstance(content, bytes) else json.dumps(content).encode()
                    (folder / f"bad_{name}.json").write_bytes(data)

        yield Case(
            AREA, f"Kaggle's pair: {wrong}", "train", train("Arc", test="bad_challenges.json"), pair, named=("bad_",)
        )
    yield from _folders()


def _changed(edit: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    task = copy.deepcopy(TASK)
    edit(task)
    return task


def _cell(value: Any) -> dict[str, Any]:
    return _changed(lambda task: task["train"][0]["input"][0].__setitem__(1, value))


def _grid(value: Any, where: str = "input") -> dict[str, Any]:
    return _changed(lambda task: task["train"][0].__setitem__(where, value))


def _tasks() -> dict[str, Any]:
    whole = json.dumps(TASK).encode()
    found: dict[str, Any] = {f"cut off at {share}%": whole[: len(whole) * share // 100] for share in range(5, 100, 8)}
    found |= {
        f"a cell is {value!r}": _cell(value)
        for value in (10, -1, 1.5, "1", None, True, [1], {}, 10**30, 256, -256, float("nan"), float("inf"))
    }
    found |= {
        f"a grid is {value!r}": _grid(value) for value in (None, 5, "abc", [], [[]], [5], {}, [[1], [1, 2]], [[], [1]])
    }
    found |= {f"an output is {value!r}": _grid(value, "output") for value in (None, [], [[1], [2, 3]], "x", [["a"]])}
    found |= {
        "a grid of 31 rows": _grid([[1]] * 31),
        "a grid of 31 columns": _grid([[1] * 31]),
        "a grid of a million cells": _grid([[1] * 1000] * 1000),
        "a grid larger than the canvas": _grid([[1] * 9] * 9),
        "nothing": b"",
        "null": b"null",
        "a number": b"5",
        "a list": b"[]",
        "an empty object": b"{}",
        "no train": {"test": TASK["test"]},
        "no test": {"train": TASK["train"]},
        "an empty train": {**TASK, "train": []},
        "an empty test": {**TASK, "test": []},
        "a train that is an object": {**TASK, "train": {}},
        "a train that is null": {**TASK, "train": None},
        "a test that is a text": {**TASK, "test": "abc"},
        "a pair that is a list": {**TASK, "train": [[1, 2]]},
        "a pair that is null": {**TASK, "train": [None]},
        "a pair without an input": {**TASK, "train": [{"output": [[1]]}]},
        "a pair without an output": {**TASK, "train": [{"input": [[1]]}]},
        "a test without an input": {**TASK, "test": [{"output": [[1]]}]},
        "a key twice": b'{"train": [], "train": [], "test": []}',
        "a comma too many": whole[:-1] + b",}",
        "single quotes": whole.replace(b'"', b"'"),
        "a comment": b"// a task\n" + whole,
        "two documents": whole + whole,
        "UTF-16": whole.decode().encode("utf-16"),
        "Latin-1": b'{"gr\xf6\xdfe": 1}',
        "a NUL": whole + b"\x00",
        "a deep nest": b'{"train": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "a number of 10,000 digits": b'{"train": ' + b"9" * 10_000 + b"}",
        "random bytes": bytes(range(128, 256)),
        "HTML": b"<html>404</html>",
        "a test pair that is a demonstration and asks for something else": {
            **TASK, "test": [{"input": PAIR["input"], "output": [[9, 9, 9]]}]
        },
    }  # fmt: skip
    # The last one is odd but sound; what becomes of it is the reader's to decide, so it is no mistake here.
    del found["a test pair that is a demonstration and asks for something else"]
    return found


def _kaggle() -> dict[str, tuple[Any, Any]]:
    hidden = {**TASK, "test": [{"input": [[5, 0, 6]]}]}
    sound, answers = {"one": hidden}, {"one": [[[6, 0, 5]]]}
    whole = json.dumps(sound).encode()
    return {
        **{f"challenges cut off at {share}%": (whole[: len(whole) * share // 100], answers) for share in (10, 50, 90)},
        **{
            f"solutions cut off at {share}%": (sound, json.dumps(answers).encode()[: 30 * share // 100])
            for share in (10, 50)
        },
        "challenges that are a list": ([hidden], answers),
        "challenges that are empty": ({}, {}),
        "a task that is null": ({"one": None}, answers),
        "solutions of another task": (sound, {"two": [[[6, 0, 5]]]}),
        "solutions that are empty": (sound, {}),
        "solutions that are a list": (sound, []),
        "a solution too many": (sound, {"one": [[[6]], [[5]]]}),
        "no solution": (sound, {"one": []}),
        "a solution that is null": (sound, {"one": [None]}),
        "solutions that are null": (sound, {"one": None}),
        "a solution that is no grid": (sound, {"one": ["abc"]}),
        "a solution with a colour of 12": (sound, {"one": [[[12]]]}),
        "a solution that is ragged": (sound, {"one": [[[1], [1, 2]]]}),
    }


def _folders() -> Iterator[Case]:
    def write(folder: Path, name: str, task: Any) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(task))

    def empty(folder: Path, _: Material) -> None:
        (folder / "tasks").mkdir()

    def texts(folder: Path, _: Material) -> None:
        empty(folder, _)
        (folder / "tasks" / "readme.txt").write_text("hello")

    def two(folder: Path, _: Material) -> None:
        write(folder, "tasks/a/one.json", TASK)
        write(folder, "tasks/b/one.json", {**TASK, "test": [PAIR]})

    def leaking(folder: Path, _: Material) -> None:
        write(folder, "tasks/one.json", TASK)
        write(folder, "more/one.json", TASK)

    def nested(folder: Path, _: Material) -> None:
        (folder / "tasks" / "bad.json").mkdir(parents=True)

    def dangling(folder: Path, _: Material) -> None:
        empty(folder, _)
        (folder / "tasks" / "bad.json").symlink_to("nowhere.json")

    for wrong, prepare, more in (
        ("is empty", empty, {}),
        ("holds no JSON", texts, {}),
        ("holds one name twice", two, {}),
        ("holds a folder called .json", nested, {}),
        ("holds a link to nothing", dangling, {}),
        ("is trained on too", leaking, {"train": "more"}),
        ("is its own training set", leaking, {"train": "tasks"}),
        ("has none of the names", leaking, {"names": "[two]"}),
        ("has not all of the names", leaking, {"names": "[one, two]"}),
        ("has a name that is a text", leaking, {"names": "one"}),
    ):
        yield Case(AREA, f"a folder that {wrong}", "train", train("Arc", test="tasks", **more), prepare)
