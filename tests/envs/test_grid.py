"""Puzzles of one's own from a file: every format, boards of several sizes, and faults of a file in one line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
import torch

from latent_rl.envs import check_puzzle
from latent_rl.envs.grid import Grid
from latent_rl.envs.puzzle import IGNORE, PAD, PuzzleError

SQUARES = [{"question": question, "answer": question[::-1]} for question in ("ab.c", "..ab", "a.b.", "cab.", "b..a")]
SHAPED = [
    {"question": "ab.", "answer": "abb", "rows": 1, "columns": 3},
    {"question": "a.b.", "answer": "aabb", "rows": 2, "columns": 2},
    {"question": "b", "answer": "a", "rows": 1, "columns": 1},
    {"question": ".b..", "answer": "bbbb", "rows": 2, "columns": 2},
    {"question": "..b", "answer": "bbb", "rows": 3, "columns": 1},
]


def write(path: Path, entries: list[dict], form: str) -> Path:
    if form == "csv":
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, ["note", *entries[0]], restval="")
            writer.writeheader()
            writer.writerows(entries)
    else:
        text = json.dumps(entries) if form == "json" else "\n".join(map(json.dumps, entries))
        path.write_text(text)
    return path


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "csv.gz"])
def test_every_format_gives_the_same_puzzles(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "puzzles", SQUARES, form.removesuffix(".gz"))
    if form.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    puzzle = Grid(path, test=1, validation=1)
    check_puzzle(puzzle)
    assert puzzle.grid_shape == (2, 2) and puzzle.symbols == ("_", ".", "a", "b", "c") and puzzle.has_validation
    splits = [puzzle.instances(split) for split in ("train", "validation", "test")]
    assert [len(one) for one in splits] == [3, 1, 1]
    found = {
        ("".join(puzzle.symbols[token] for token in question), "".join(puzzle.symbols[token] for token in answer))
        for one in splits
        for question, answer in zip(one.inputs.tolist(), one.solution.tolist(), strict=True)
    }
    assert found == {(entry["question"], entry["answer"]) for entry in SQUARES}


def test_boards_of_several_sizes_lie_at_the_top_left(tmp_path: Path) -> None:
    puzzle = Grid(write(tmp_path / "p.csv", SHAPED, "csv"), test=1, validation=0)
    check_puzzle(puzzle)
    assert puzzle.grid_shape == (3, 3) and not puzzle.has_validation
    everything = [row for split in ("train", "test") for row in puzzle.instances(split).inputs.view(-1, 3, 3).tolist()]
    empty, a, b, blank = PAD, 2, 3, 1
    assert [[a, b, blank], [empty] * 3, [empty] * 3] in everything
    assert [[a, blank, empty], [b, blank, empty], [empty] * 3] in everything
    keys = puzzle.instances("train").solution
    assert torch.equal(keys == IGNORE, puzzle.instances("train").inputs == PAD)
    assert puzzle.parse("a.\nb.").view(3, 3).tolist() == [[a, blank, empty], [b, blank, empty], [empty] * 3]
    assert puzzle.parse("a.b.").equal(puzzle.parse("a.\nb."))
    with pytest.raises(PuzzleError, match="3 cells fit 2 of its shapes: write it in lines"):
        puzzle.parse("ab.")
    with pytest.raises(PuzzleError, match="'x' is no symbol of grid-3x3; allowed: . a b"):
        puzzle.parse("a.\nbx")
    with pytest.raises(PuzzleError, match="lines of one length, at most 3 of at most 3"):
        puzzle.parse("ab\nb")


def test_puzzles_to_test_may_have_a_file_of_their_own(tmp_path: Path) -> None:
    path, other = write(tmp_path / "a.csv", SQUARES[:4], "csv"), write(tmp_path / "b.csv", SQUARES[4:], "csv")
    puzzle = Grid(path, other, validation=1)
    assert [len(puzzle.instances(split)) for split in ("train", "validation", "test")] == [3, 1, 1]
    with pytest.raises(PuzzleError, match=r"a\.csv, line 2: also a puzzle to train on, .*a\.csv, line 2"):
        Grid(path, path, validation=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question,reply\nab,ab\n", "line 1: the header lacks answer; it is question,reply"),
        ("question;answer\nab;ab\n", "the header lacks question and answer; it is question;answer"),
        (
            'question,answer\n"ab\ncd","ab\ncd"\n',
            "question holds a line break; write the cells in reading order",
        ),
        ("question,answer\nabcd,abc\n", "line 2: the question has 4 cells, the answer 3"),
        ("question,answer\nabc,abc\n", "line 2: 3 cells are no square: add the columns rows and columns"),
        ("question,answer,rows,columns\nabc,abc,2,2\n", "line 2: 2 rows and 2 columns are not 3 cells"),
        ("question,answer,rows,columns\nabc,abc,x,2\n", "line 2: rows and columns must be whole numbers, got 'x' and"),
        ("question,answer\na,b\na,a\n", "line 3: the question of .* line 2 again, with another answer"),
        ("question,answer\n", "no puzzles"),
        (
            "question,answer\na,b\n",
            "holds 1 different puzzles: too few for 1 to train on, 0 to choose by and 1 to test",
        ),
        ("[1, 2]", "entry 1: expected an object with question and answer, got '1'"),
        ('{"question": "a"}', "line 1: answer is missing or no text"),
        ("[{", "cannot be read as JSON"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(PuzzleError, match=message) as caught:
        Grid(path)
    assert "\n" not in str(caught.value)


def test_without_a_file_it_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(PuzzleError, match="validation must be at least 0, got -1"):
        Grid(write(tmp_path / "p.csv", SQUARES, "csv"), validation=-1)
    with pytest.raises(PuzzleError, match="env.options.file=puzzles.csv"):
        Grid()
    with pytest.raises(PuzzleError, match="no such file"):
        Grid(tmp_path / "none.csv")
