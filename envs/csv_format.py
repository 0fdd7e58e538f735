"""The CSV schema of the public data sets: files are read with every row checked, and written."""

from __future__ import annotations

import csv
import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import torch

from latent_rl.envs.puzzle import IGNORE, Instances, PuzzleError

HEADER = ("source", "question", "answer", "rating")
"""The columns of the public data sets sudoku-extreme and maze-30x30-hard; source and rating only tell puzzles apart."""

Labels = dict[str, list[str]]
"""What is said of each of `N` puzzles beside its cells, as text: lists of `N`, by name."""

FindFault = Callable[[torch.Tensor, torch.Tensor], "tuple[int, str] | None"]
"""Of inputs and solutions, int64 `[N, L]`: the first row that breaks the puzzle's rule and how it does, or None."""

_ROWS_AT_ONCE = 50_000  # bounds the memory that strings take before they become tokens
_NO_TOKEN = IGNORE - 1  # in a look-up table: no character of the alphabet


def read_csv(
    path: str | os.PathLike[str],
    *,
    puzzle_name: str,
    cell_count: int,
    question_tokens: Mapping[str, int],
    answer_tokens: Mapping[str, int],
    find_fault: FindFault | None = None,
    limit: int | None = None,
    seed: int = 0,
    how_to_get: str = "",
) -> tuple[Instances, np.ndarray, Labels]:
    """Read instances from a CSV file with the header `source,question,answer,rating`, plain or gzip.

    Args:
        path: the file; gzip is recognised by its content.
        puzzle_name: for error messages, such as `"sudoku-9x9"`.
        cell_count: `L`, the number of characters in every question and answer.
        question_tokens: the token of each character that a question may hold.
        answer_tokens: the token of each character that an answer may hold; `IGNORE` for cells that do not count.
        find_fault: the puzzle's rule, applied to many rows at once.
        limit: keep this many rows, drawn without replacement with `seed`, in file order; None keeps all. All rows
            are checked either way.
        how_to_get: added to the message if the file is missing.

    Returns:
        As `Rows.instances`.

    Raises:
        PuzzleError: if the file is missing, unreadable, empty or smaller than `limit`, or if a row is malformed; the
            message names the file and the line.
    """
    reading = {"puzzle_name": puzzle_name, "cell_count": cell_count, "question_tokens": question_tokens}
    rows = read_rows(path, **reading, answer_tokens=answer_tokens, find_fault=find_fault, how_to_get=how_to_get)
    return rows.instances(rows.draw(limit, seed))


class Rows(NamedTuple):
    """The rows of a file, checked, as tokens int16: questions and answers `[N, L]`, and their lines int64 `[N]`.

    `labels` holds what else the file says of each row, see `Labels`.
    """

    path: Path
    questions: np.ndarray
    answers: np.ndarray
    lines: np.ndarray
    labels: Labels

    def draw(self, limit: int | None, seed: int) -> np.ndarray:
        """Numbers of `limit` rows, drawn without replacement, ascending; of all of them if None."""
        if limit is None:
            return np.arange(len(self.lines))
        if limit > len(self.lines):
            raise PuzzleError(f"{self.path}: {limit} puzzles asked for, but the file has {len(self.lines)}")
        return np.sort(np.random.default_rng(seed).choice(len(self.lines), limit, replace=False))

    def instances(self, numbers: np.ndarray) -> tuple[Instances, np.ndarray, Labels]:
        """The instances in the rows with these numbers, the line that each stands in, int64 `[N]`, and their labels."""
        pair = (torch.from_numpy(column[numbers]) for column in (self.questions, self.answers))
        labels = {name: [column[number] for number in numbers] for name, column in self.labels.items()}
        return Instances.of(*pair), self.lines[numbers], labels


def read_rows(
    path: str | os.PathLike[str],
    *,
    puzzle_name: str,
    cell_count: int,
    question_tokens: Mapping[str, int],
    answer_tokens: Mapping[str, int],
    find_fault: FindFault | None = None,
    how_to_get: str = "",
) -> Rows:
    """All rows of a CSV file; see `read_csv`."""
    path = Path(path)
    rows: dict[str, list[np.ndarray]] = {"question": [], "answer": [], "line": []}
    labels: Labels = {"source": [], "rating": []}
    try:
        with _open_text(path) as file:
            for lines, sources, questions, answers, ratings in _row_blocks(file, path, puzzle_name, cell_count):
                labels["source"] += sources
                labels["rating"] += ratings
                rows["line"].append(np.array(lines))
                rows["question"].append(_encode(questions, question_tokens, path, lines, "question"))
                rows["answer"].append(_encode(answers, answer_tokens, path, lines, "answer"))
                if find_fault is not None:
                    pair = (torch.from_numpy(rows[column][-1]).long() for column in ("question", "answer"))
                    if (fault := find_fault(*pair)) is not None:
                        raise PuzzleError(f"{path}, line {lines[fault[0]]}: {fault[1]}")
    except FileNotFoundError:
        raise PuzzleError(f"{path}: no such file" + (f"; {how_to_get}" if how_to_get else "")) from None
    except OSError as error:
        raise PuzzleError(f"{path}: cannot be read as CSV text: {error.strerror or error}") from error
    if not rows["line"]:
        raise PuzzleError(f"{path}: no puzzles after the header line")
    questions, answers, lines = (np.concatenate(rows[column]) for column in ("question", "answer", "line"))
    _check_one_answer_each(questions, answers, lines, path)
    return Rows(path, questions, answers, lines, labels)


def write_csv(path: str | os.PathLike[str], rows: Iterable[tuple[str, str, str, str | int]]) -> None:
    """Write rows of (source, question, answer, rating) under the header line; gzip if the name ends in `.gz`."""
    path = Path(path)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows)


def _open_text(path: Path) -> TextIO:
    with open(path, "rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    # utf-8-sig: spreadsheet programs put a byte-order mark in front of the header.
    return (gzip.open if is_gzip else open)(path, "rt", encoding="utf-8-sig", newline="")


def _row_blocks(
    file: TextIO, path: Path, puzzle_name: str, cell_count: int
) -> Iterator[tuple[list[int], list[str], list[str], list[str], list[str]]]:
    """Blocks of line numbers and the columns of `HEADER`, rows of the right shape; empty lines are skipped."""
    rows = _numbered_rows(file, path)
    _, header = next(rows, (1, []))
    if tuple(header) != HEADER:
        raise PuzzleError(f"{path}, line 1: the header must be {','.join(HEADER)}, got {_brief(','.join(header))}")
    numbered = ((line, row) for line, row in rows if row)
    while block := list(islice(numbered, _ROWS_AT_ONCE)):
        for line, row in block:
            if len(row) != len(HEADER):
                raise PuzzleError(f"{path}, line {line}: {len(HEADER)} fields expected, got {len(row)}")
            for column, text in zip(HEADER[1:3], row[1:3], strict=True):
                if len(text) != cell_count:
                    raise PuzzleError(
                        f"{path}, line {line}: {puzzle_name} has {cell_count} cells, the {column} has {len(text)}"
                    )
        # A few hundred sources and ratings name millions of rows: each text is kept once.
        columns = (
            [sys.intern(row[column]) if column in (0, 3) else row[column] for _, row in block] for column in range(4)
        )
        yield [line for line, _ in block], *columns


def _numbered_rows(file: TextIO, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Every row with its line; a file that is cut off, damaged or no text is named with the line where that shows."""
    reader = csv.reader(file)
    try:
        yield from ((reader.line_num, row) for row in reader)
    except csv.Error as error:
        raise PuzzleError(f"{path}, line {reader.line_num}: cannot be read as CSV text: {error}") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        # Bytes are unpacked and decoded in blocks: the fault lies in one of the next lines.
        raise PuzzleError(f"{path}, after line {reader.line_num}: cannot be read as CSV text: {error}") from error


def _brief(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _encode(texts: list[str], token_of: Mapping[str, int], path: Path, lines: list[int], column: str) -> np.ndarray:
    """Tokens int16 `[N, L]` of strings of one length `L`."""
    characters = np.array(texts, dtype=f"U{len(texts[0])}").view(np.uint32).reshape(len(texts), -1)
    table = np.full(max(map(ord, token_of)) + 2, _NO_TOKEN, dtype=np.int16)
    for character, token in token_of.items():
        table[ord(character)] = token
    tokens = table[np.minimum(characters, len(table) - 1)]
    wrong = tokens == _NO_TOKEN
    if wrong.any():
        row, cell = np.argwhere(wrong)[0]
        allowed = " ".join("space" if character == " " else character for character in sorted(token_of))
        raise PuzzleError(
            f"{path}, line {lines[row]}: {texts[row][cell]!r} at position {cell + 1} of the {column}; "
            f"allowed: {allowed}"
        )
    return tokens


def _check_one_answer_each(questions: np.ndarray, answers: np.ndarray, lines: np.ndarray, path: Path) -> None:
    """A question that occurs with two different answers has two solutions: no answer to it can be called wrong."""
    keys = np.ascontiguousarray(questions).view(np.dtype((np.void, questions[0].nbytes))).ravel()
    order = np.argsort(keys, kind="stable")
    first, second = order[:-1], order[1:]
    repeated = keys[first] == keys[second]
    first, second = first[repeated], second[repeated]
    differs = (answers[first] != answers[second]).any(axis=1)
    if differs.any():
        at = second[differs].argmin()
        raise PuzzleError(
            f"{path}, line {lines[second[differs][at]]}: the question of line {lines[first[differs][at]]} again, "
            "with another answer; a puzzle must have one solution"
        )
