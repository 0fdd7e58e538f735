"""Rows of a file of puzzles: CSV, plain or gzip, a JSON list, or one JSON object a line."""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latent_rl.envs.puzzle import PuzzleError

NEEDED, SHAPE = ("question", "answer"), ("rows", "columns")


class Row(NamedTuple):
    """One puzzle of a file: where it stands, its characters in reading order, and its shape (rows, columns)."""

    where: str
    question: str
    answer: str
    shape: tuple[int, int]


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """All rows of a file; columns beside question, answer, rows and columns are left alone.

    Raises:
        PuzzleError: if the file is missing, is none of the formats, or holds a row that is no puzzle; the message names
            the file and the line, or the number of the entry.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except FileNotFoundError:
        raise PuzzleError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise PuzzleError(f"{path}: cannot be read as text: {error}") from error
    entries = _json_entries(path, text) if text.lstrip()[:1] in ("[", "{") else _csv_entries(path, text)
    rows = [_row(where, entry) for where, entry in entries]
    if not rows:
        raise PuzzleError(f"{path}: no puzzles")
    return rows


def _csv_entries(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(text.splitlines(keepends=True))
    try:
        header = list(reader.fieldnames or ())
        reader.fieldnames = [str(name).strip().lower() for name in header]
        missing = [name for name in NEEDED if name not in reader.fieldnames]
        if missing:
            found = ",".join(map(str, header))[:60] or "nothing"
            raise PuzzleError(f"{path}, line 1: the header lacks {' and '.join(missing)}; it is {found}")
        for entry in reader:
            yield f"{path}, line {reader.line_num}", entry
    except csv.Error as error:
        raise PuzzleError(f"{path}, line {reader.line_num}: cannot be read as CSV: {error}") from error


def _json_entries(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if text.lstrip().startswith("["):
        try:
            entries = json.loads(text)
        except ValueError as error:
            raise PuzzleError(f"{path}: cannot be read as JSON: {error}") from error
        yield from ((f"{path}, entry {number}", entry) for number, entry in enumerate(entries, start=1))
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield f"{path}, line {number}", json.loads(line)
            except ValueError as error:
                raise PuzzleError(f"{path}, line {number}: cannot be read as JSON: {error}") from error


def _row(where: str, entry: Mapping[str, Any]) -> Row:
    if not isinstance(entry, Mapping):
        raise PuzzleError(f"{where}: expected an object with question and answer, got {str(entry)[:60]!r}")
    texts = [entry.get(name) for name in NEEDED]
    for name, text in zip(NEEDED, texts, strict=True):
        if not isinstance(text, str) or not text:
            raise PuzzleError(f"{where}: {name} is missing or no text")
        if "\n" in text or "\r" in text:
            raise PuzzleError(f"{where}: {name} holds a line break; write the cells in reading order and nothing else")
    question, answer = texts
    if len(question) != len(answer):
        raise PuzzleError(f"{where}: the question has {len(question)} cells, the answer {len(answer)}")
    given = [entry.get(name) for name in SHAPE]
    if all(value in (None, "") for value in given):
        side = math.isqrt(len(question))
        if side * side != len(question):
            raise PuzzleError(f"{where}: {len(question)} cells are no square: add the columns rows and columns")
        return Row(where, question, answer, (side, side))
    try:
        rows, columns = (int(value) for value in given)
    except (TypeError, ValueError):
        raise PuzzleError(
            f"{where}: rows and columns must be whole numbers, got {given[0]!r} and {given[1]!r}"
        ) from None
    if rows < 1 or columns < 1 or rows * columns != len(question):
        raise PuzzleError(f"{where}: {rows} rows and {columns} columns are not {len(question)} cells")
    return Row(where, question, answer, (rows, columns))
