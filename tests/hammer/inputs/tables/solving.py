"""Puzzles typed by hand: on the command line, from standard input, and from a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tables.case import Case, Material
from tables.configuration import with_run

AREA = "puzzles by hand"


def cases() -> Iterator[Case]:
    """All of this page."""
    for wrong, board in _boards().items():
        if len(board) < 100_000 and "\x00" not in board and not board.startswith("-"):
            yield Case(AREA, f"argument: {wrong}", "solve", ("run", "--steps", "1", board), with_run)
        yield Case(AREA, f"stdin: {wrong}", "solve", ("run", "--steps", "1"), with_run, board.encode())
    for wrong, content in _bytes().items():
        yield Case(AREA, f"stdin: {wrong}", "solve", ("run", "--steps", "1"), with_run, content)

        def write(folder: Path, material: Material, content: bytes = content) -> None:
            with_run(folder, material)
            (folder / "boards.txt").write_bytes(content)

        yield Case(AREA, f"file: {wrong}", "solve", ("run", "--steps", "1", "--file", "boards.txt"), write)
    for wrong, name in {
        "missing": "none.txt",
        "a folder": "run",
        "under a file": "run/config.yaml/x",
        "of too long a name": "a" * 300,
        "of far too long a name": "a" * 5000,
        "of an empty name": "",
        "the configuration": "run/config.yaml",
        "the checkpoint": "run/checkpoint/model.pt",
        "zeros without end": "/dev/zero",
        "empty": "/dev/null",
    }.items():
        yield Case(AREA, f"a file: {wrong}", "solve", ("run", "--steps", "1", "--file", name), with_run)
    good = "321...32.12.23.1"
    yield Case(AREA, "two puzzles as arguments", "solve", ("run", good, good), with_run)
    yield Case(AREA, "an argument and a file", "solve", ("run", good, "--file", "run/config.yaml"), with_run)
    for option in ("--png", "--gif"):
        name = f"two puzzles and {option}"
        yield Case(
            AREA,
            name,
            "solve",
            ("run", option, f"x{option.replace('--', '.')}"),
            with_run,
            f"{good}\n{good}\n".encode(),
        )


def _boards() -> dict[str, str]:
    return {
        "nothing": "",
        "a space": " ",
        "empty lines": "\n\n\n",
        "one cell": "1",
        "a cell too few": "321...32.12.23.",
        "a cell too many": "321...32.12.23.11",
        "9x9 cells": "." * 81,
        "a digit too large": "521...32.12.23.1",
        "a letter": "32a...32.12.23.1",
        "a minus": "32-...32.12.23.1",
        "a digit twice in a row": "33....32.12.23.1",
        "a digit twice in a column": "3.........1.3...",
        "a digit twice in a box": "3....3..........",
        "no solution": "123........4....",
        "no solution, no conflict": "1...2...3....4..",
        "full and wrong": "1234341221434322",
        "full-width digits": "３２１...32.12.23.1",
        "Arabic digits": "٣٢١...32.12.23.1",
        "superscripts": "³²¹...32.12.23.1",
        "an emoji": "32\U0001f600...32.12.23.1",
        "a combining accent": "321\u0301..32.12.23.1",
        "an escape": "32\x1b...32.12.23.1",
        "a bell": "\x07" * 16,
        "a NUL": "32\x00...32.12.23.1",
        "markup": "[bold]321...32.12.[/]",
        "a closing tag": "[/b]",
        "a slash": "/",
        "a sentence": "please solve this one for me",
        "JSON": '{"board": [1, 2, 3]}',
        "a path": "puzzles/one.txt",
        "commas": "3,2,1,.,.,.,3,2,.,1,2,.,2,3,.,1,",
        "quotes": '"321...32.12.23.1',
        "a hundred thousand characters": "1" * 100_001,
        "a hundred thousand letters": "x" * 100_001,
        "a word of 5,000 letters": "x" * 5000,
        "five rows": "321.\n..32\n.12.\n23.1\n1234",
        "three rows": "321.\n..32\n.12.",
        "two boards, the second one bad": "321...32.12.23.1\n321...32.12.23.x",
        "two boards, the second one unsolvable": "321...32.12.23.1\n123........4....",
        "a hundred good boards and a bad one": "321...32.12.23.1\n" * 100 + "33....32.12.23.1",
        "frames alone": "+--+--+\n|  |  |\n+--+--+",
        "a right-to-left mark": "\u202e321...32.12.23.x",
        "tabs and letters": "3\t2\t1\tx",
    }


def _bytes() -> dict[str, bytes]:
    return {
        "Latin-1": b"gr\xf6\xdfe",
        "a stray byte": b"321...32.12.23.\xff",
        "UTF-16": "321...32.12.23.1".encode("utf-16"),
        "random bytes": bytes(range(256)),
        "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "a gzip": b"\x1f\x8b\x08\x00" + bytes(50),
        "zeros": bytes(10_000),
        "a megabyte of ones": b"1" * 2**20,
        "a megabyte of lines": b"1\n" * 2**19,
    }
