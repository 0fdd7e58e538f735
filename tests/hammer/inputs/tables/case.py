"""One input to one program, and what should come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROGRAMS = ("train", "evaluate", "solve", "analyze", "compare", "halt")

SMALL = (
    "network.width=16",
    "env.options.train=500",
    "env.options.test=100",
    "tracking.enabled=false",
    "budget.seconds=null",
    "budget.updates=6",
    "device=cpu",
    "threads=1",
)
"""Settings of a run that takes a second."""

Expected = Literal["refused", "accepted", "either"]
"""`refused`: exit code 2, one line, nothing left; `accepted`: exit code 0; `either`: one of the two, properly."""


@dataclass(frozen=True)
class Material:
    """What cases start from, made once.

    Attributes:
        run: run directory of a small model for 4x4 Sudoku, trained for a few updates.
        train, test: CSV files of 4x4 Sudoku, of its puzzles.
        maze_train, maze_test: CSV files of 5x5 mazes.
        board: a puzzle of the test set, in one line.
    """

    run: Path
    train: Path
    test: Path
    maze_train: Path
    maze_test: Path
    board: str

    @classmethod
    def in_folder(cls, folder: Path) -> Material:
        """The material that `material.make` left in a folder."""
        return cls(
            folder / "runs" / "small",
            *(folder / f"{name}.csv" for name in ("train", "test", "maze_train", "maze_test")),
            board=(folder / "board.txt").read_text(),
        )


@dataclass(frozen=True)
class Case:
    """An input and the answer that it deserves.

    Attributes:
        area: the row of the report that it is counted in.
        name: what is wrong (or good) about it, unique within its area.
        program: one of `PROGRAMS`.
        arguments: of the command line; relative paths lie in a folder of the case's own, and
            `{room}` stands for one above it that is the case's own too.
        prepare: writes files into that folder (the first argument) before the program starts.
        stdin: what the program reads there.
        expected: see `Expected`.
        named: the error line must hold one of these words; empty: any line will do.
        harmless: where an acceptance is right only under a condition, that condition, asked in the folder afterwards.
        real: start a process of its own, as a shell would.
    """

    area: str
    name: str
    program: str
    arguments: tuple[str, ...]
    prepare: Callable[[Path, Material], None] | None = None
    stdin: bytes = b""
    expected: Expected = "refused"
    named: tuple[str, ...] = ()
    harmless: Callable[[Path, Material], bool] | None = None
    real: bool = False
