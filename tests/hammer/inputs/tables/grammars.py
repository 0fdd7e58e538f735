"""Inputs that Hypothesis makes: whatever comes, a program works or says in one line why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tables.case import SMALL, Case, Material
from tables.configuration import kinds, with_run
from tables.options import FAMILIES, train

AREA = "grammars"
T = TypeVar("T")
LITTLE = (*SMALL, "collector.num_envs=8", "budget.updates=1", "env.options.train=20", "env.options.test=5")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "null", "~", ".inf", "1e999", "0x1f", "1:30", "yes", "[/b]", "../x", "a" * 400, "\u202e"]),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                      max_size=3), max_leaves=6)  # fmt: skip
yaml_text = st.text(alphabet="{}[]:,-&*!|>#?%@`'\"\n \tabc01.~<=", min_size=1, max_size=40)


def cases() -> Iterator[Case]:
    """All of this page: the same ones every time."""
    # Counts and durations that are sound and large would train for ever; wrong types are what is sought here.
    keys = [key for key in kinds() if not key.startswith(("budget", "tracking.enabled", "tracking.uri"))]
    # A folder elsewhere is none of the case's own.
    drawn = st.tuples(st.sampled_from(keys), values).filter(lambda one: not str(one[1]).startswith("/"))
    for number, (key, value) in enumerate(examples(drawn, 60)):
        yield _train(f"setting {number}: {key}", (*LITTLE, f"{key}={json.dumps(value)}"))
    for number, text in enumerate(examples(yaml_text, 40)):

        def write(folder: Path, _: Material, text: str = text) -> None:
            (folder / "mine.yaml").write_text(text)

        yield Case(AREA, f"YAML {number}", "train", ("--config", "mine.yaml", *LITTLE), write, expected="either")
    for number, text in enumerate(examples(yaml_text, 40)):
        yield _train(f"argument {number}", (*LITTLE, f"name={text}"))
    for number, text in enumerate(examples(st.text(alphabet="a=.:[]{}\"'&*- \n0", min_size=1, max_size=12), 40)):
        if not text.startswith("-"):
            yield _train(f"word {number}", (*LITTLE, text))
    for family, options in FAMILIES.items():
        drawn = st.tuples(st.sampled_from([name for name in options if "dir" not in name]), values)
        for number, (option, value) in enumerate(examples(drawn, 20)):
            yield _train(f"{family} {number}: {option}", train(family, **{option: json.dumps(value)}))
    boards = st.text(alphabet="1234.", min_size=16, max_size=16) | st.text(alphabet="1234.0 \n|+-x", max_size=40)
    for number, board in enumerate(examples(boards, 60)):
        arguments = ("run", "--steps", "1")
        yield Case(AREA, f"board {number}", "solve", arguments, with_run, board.encode(), expected="either")
    rows = st.lists(st.text(alphabet="1234.,\"'\n\r\x00é", max_size=40), min_size=1, max_size=5)
    for number, lines in enumerate(examples(rows, 40)):

        def table(folder: Path, material: Material, lines: list[str] = lines) -> None:
            text = material.train.read_text() + "\n".join(lines)
            (folder / "train.csv").write_text(text, newline="")
            (folder / "test.csv").write_bytes(material.test.read_bytes())

        arguments = train("Sudoku", train_file="train.csv", test_file="test.csv")
        yield Case(AREA, f"rows {number}", "train", arguments, table, expected="either")
    grids = st.lists(st.lists(values, max_size=3), max_size=3) | values
    tasks = st.fixed_dictionaries(
        {
            part: st.lists(st.fixed_dictionaries({"input": grids, "output": grids}), max_size=2)
            for part in ("train", "test")
        }
    )
    for number, task in enumerate(examples(tasks | values, 40)):

        def folder_of_one(folder: Path, _: Material, task: object = task) -> None:
            (folder / "tasks").mkdir()
            (folder / "tasks" / "one.json").write_text(json.dumps(task))

        yield Case(AREA, f"ARC {number}", "train", train("Arc", test="tasks"), folder_of_one, expected="either")


def _train(name: str, arguments: tuple[str, ...]) -> Case:
    return Case(AREA, name, "train", arguments, expected="either")


def examples(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """`count` draws of a strategy, the same ones every time."""
    found: list[T] = []

    @settings(
        max_examples=count, derandomize=True, database=None, phases=[Phase.generate], deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def draw(value: T) -> None:
        found.append(value)

    draw()
    return found[:count]
