"""The CSV reader names every malformed row; the cache survives damage; splits are disjoint."""

from __future__ import annotations

import gzip
import logging
import os
import stat
from pathlib import Path

import pytest
import torch

from latent_rl.envs import check_puzzle
from latent_rl.envs.cache import cached
from latent_rl.envs.csv_format import read_csv, write_csv
from latent_rl.envs.puzzle import IGNORE, Instances, Puzzle, PuzzleError
from latent_rl.envs.sources import CsvFiles, Generated, check_disjoint

HEADER = "source,question,answer,rating\n"
GOOD = "a,.b,ab,1\n"


def read(path: Path, **options) -> Instances:
    """A puzzle of two cells: questions hold `.`, `a`, `b`; answers `a`, `b` and `?`, which does not count."""
    return read_csv(
        path,
        puzzle_name="pair",
        cell_count=2,
        question_tokens={".": 1, "a": 2, "b": 3},
        answer_tokens={"a": 2, "b": 3, "?": IGNORE},
        **options,
    )[0]


def test_write_and_read_back_plain_and_gzip(tmp_path):
    rows = [("x", ".b", "ab", 3), ("y, quoted", "a.", "a?", "")]
    for name in ("set.csv", "set.csv.gz"):
        write_csv(tmp_path / name, rows)
        instances = read(tmp_path / name)
        assert instances.inputs.tolist() == [[1, 3], [2, 1]]
        assert instances.solution.tolist() == [[2, 3], [2, IGNORE]]
        assert instances.puzzle_id.tolist() == [0, 0]
        assert {tensor.dtype for tensor in (instances.inputs, instances.solution)} == {torch.int64}
    assert gzip.open(tmp_path / "set.csv.gz", "rt").read() == (tmp_path / "set.csv").read_text()


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("question,answer\n", 1, "the header must be source,question,answer,rating"),
        ("", 1, "the header must be"),
        ("a" * 100_000 + "\n", 1, "the header must be source,question,answer,rating, got 'aaa"),
        (HEADER + GOOD + "a" * 200_000 + ",.b,ab,1\n", 3, "field larger than field limit"),
        (HEADER + GOOD + "a,.b\n", 3, "4 fields expected, got 2"),
        (HEADER + GOOD + "a,.b,ab,1,2\n", 3, "4 fields expected, got 5"),
        (HEADER + GOOD + "\n" + "a,.,ab,1\n", 4, "pair has 2 cells, the question has 1"),
        (HEADER + "a,.b,abb,1\n", 2, "pair has 2 cells, the answer has 3"),
        (HEADER + GOOD + "a,.c,ab,1\n", 3, "'c' at position 2 of the question; allowed: . a b"),
        (HEADER + GOOD + "a,.b,.b,1\n", 3, "'.' at position 1 of the answer"),
        (HEADER + GOOD + "a,.\u4e00,ab,1\n", 3, "'\u4e00' at position 2 of the question"),
        (HEADER + GOOD + "a,a.,ab,1\n" + "a,.b,bb,1\n", 4, "the question of line 2 again, with another answer"),
    ],
)
def test_malformed_rows_are_named_by_file_and_line(tmp_path, text, line, complaint):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PuzzleError) as error:
        read(path)
    assert f"{path}, line {line}: " in str(error.value)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_fault_of_the_rule_is_named_by_line(tmp_path):
    path = tmp_path / "set.csv"
    path.write_text(HEADER + GOOD + "\n" + "a,..,bb,1\n")

    def find_fault(inputs, solutions):
        same = solutions[:, 0] == solutions[:, 1]
        return (int(same.int().argmax()), "two equal cells") if same.any() else None

    with pytest.raises(PuzzleError, match="line 4: two equal cells"):
        read(path, find_fault=find_fault)


def test_unreadable_files_are_user_errors(tmp_path):
    with pytest.raises(PuzzleError, match="absent.csv: no such file; ask a friend"):
        read(tmp_path / "absent.csv", how_to_get="ask a friend")
    with pytest.raises(PuzzleError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "empty.csv").write_text(HEADER)
    with pytest.raises(PuzzleError, match="no puzzles after the header"):
        read(tmp_path / "empty.csv")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\xe9,.b,ab,1\n")
    with pytest.raises(PuzzleError, match="cannot be read as CSV text"):
        read(tmp_path / "latin.csv")
    write_csv(tmp_path / "cut.csv.gz", [("a", ".b", "ab", number) for number in range(1000)])
    whole = (tmp_path / "cut.csv.gz").read_bytes()
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PuzzleError, match=r"cut.csv.gz, after line \d+: cannot be read as CSV text"):
        read(tmp_path / "cut.csv.gz")


def test_a_limit_draws_rows_by_seed(tmp_path):
    path = tmp_path / "set.csv"
    questions = [first + second for first in ".ab" for second in ".ab"]
    write_csv(path, [("a", question, question.replace(".", "a"), 0) for question in questions])
    assert len(read(path)) == 9
    draws = [tuple(map(tuple, read(path, limit=4, seed=seed).inputs.tolist())) for seed in range(8)]
    assert draws[0] == tuple(map(tuple, read(path, limit=4, seed=0).inputs.tolist()))
    assert len(set(draws)) > 1
    assert all(len(set(draw)) == 4 for draw in draws)
    with pytest.raises(PuzzleError, match="10 puzzles asked for, but the file has 9"):
        read(path, limit=10)


def instances_of(*rows: list[int]) -> Instances:
    inputs = torch.tensor(rows)
    return Instances(inputs, torch.where(inputs == 1, IGNORE, inputs), torch.arange(len(rows)))


def test_check_disjoint_counts_and_names_shared_puzzles():
    train = instances_of([1, 2], [2, 1], [1, 2])
    check_disjoint(train, instances_of([2, 2]), "here")
    with pytest.raises(PuzzleError, match="here: .* share 2 puzzles, the first is test puzzle 2"):
        check_disjoint(train, instances_of([2, 2], [2, 1], [1, 2]), "here")


class Counted:
    """A generator that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return instances_of([1, 2], [3, 1]), instances_of([2, 2])


def same(left: tuple[Instances, Instances], right: tuple[Instances, Instances]) -> bool:
    fields = ("inputs", "solution", "puzzle_id")
    pairs = [(getattr(a, f), getattr(b, f)) for a, b in zip(left, right, strict=True) for f in fields]
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def test_cache_hits_by_parameters(tmp_path):
    generate = Counted()
    first = cached("pair", {"seed": 0}, generate, tmp_path / "new" / "folder")
    again = cached("pair", {"seed": 0}, generate, tmp_path / "new" / "folder")
    assert generate.calls == 1
    assert same(first, generate()) and same(again, first)
    cached("pair", {"seed": 1}, generate, tmp_path / "new" / "folder")
    assert generate.calls == 3  # the second call was this test's own
    assert sorted(path.suffix for path in (tmp_path / "new" / "folder").iterdir()) == [".npz", ".npz"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_cache_file_is_replaced_with_a_warning(tmp_path, caplog, damage):
    generate = Counted()
    first = cached("pair", {"seed": 0}, generate, tmp_path)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    middle = len(content) // 2
    if damage == "foreign":
        cached("pair", {"seed": 1}, Counted(), tmp_path)
        (other,) = set(tmp_path.iterdir()) - {file}
        content = other.read_bytes()
    damaged = {
        "cut": content[:middle],
        "flipped": content[:60] + bytes(byte ^ 0xFF for byte in content[60:90]) + content[90:],
        "empty": b"",
        "foreign": content,
    }
    file.write_bytes(damaged[damage])
    with caplog.at_level(logging.WARNING):
        assert same(cached("pair", {"seed": 0}, generate, tmp_path), first)
    assert generate.calls == 2
    assert "damaged" in caplog.text and str(file) in caplog.text
    cached("pair", {"seed": 0}, generate, tmp_path)
    assert generate.calls == 2


def test_an_unwritable_cache_is_done_without(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    generate = Counted()
    with caplog.at_level(logging.WARNING):
        assert same(cached("pair", {}, generate, tmp_path / "file" / "below"), generate())
    assert "going on without" in caplog.text and "damaged" not in caplog.text


def test_cache_files_follow_the_umask_and_permission_is_called_so(tmp_path, caplog, monkeypatch):
    before, generate = os.umask(0o022), Counted()
    try:
        first = cached("pair", {"seed": 0}, generate, tmp_path)
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644

    def forbidden(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("numpy.load", forbidden)
    with caplog.at_level(logging.WARNING):
        assert same(cached("pair", {"seed": 0}, generate, tmp_path), first)
    assert "cannot be read (Permission denied)" in caplog.text and "damaged" not in caplog.text


def test_what_kills_left_half_written_is_swept_once_nobody_can_be_writing_it(tmp_path):
    old, new, theirs = (tmp_path / name for name in (f"a.{'0' * 32}.tmp", f"a.{'1' * 32}.tmp", "notes.tmp"))
    for file in (old, new, theirs):
        file.write_bytes(b"half")
    for file in (old, theirs):
        os.utime(file, (0, 0))
    cached("pair", {"seed": 0}, Counted(), tmp_path)
    assert not old.exists() and new.exists() and theirs.exists()


def test_cache_folder_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENT_RL_CACHE", str(tmp_path / "by-environment"))
    cached("pair", {}, Counted())
    assert [path.name.startswith("pair-") for path in (tmp_path / "by-environment").iterdir()] == [True]


class Halves(Puzzle):
    """Two cells; the answer is the givens with the blank filled as the other cell. Brings its source, and no more."""

    name, grid_shape, symbols = "halves", (1, 2), "_.abcdefgh"

    def is_solved(self, inputs, answers):
        keeps = ((inputs == answers) | (inputs == 1)).all(-1)
        return keeps & (answers[:, 0] == answers[:, 1]) & (answers > 1).all(-1)

    def draw(self, train, test, rng):
        letters = torch.from_numpy(rng.permutation(8)[: train + test]) + 2
        return Instances.of(torch.stack([letters, torch.ones_like(letters)], 1), torch.stack([letters, letters], 1))


def test_a_puzzle_has_its_instances_from_its_source(tmp_path):
    puzzle = Halves()
    with pytest.raises(PuzzleError, match="halves has neither a source nor instances of its own"):
        puzzle.instances("train")
    settings = {"train": 5, "test": 3, "seed": 1, "version": 1, "options": {"letters": 8}, "cache_dir": tmp_path}
    puzzle.source = Generated("halves", puzzle.draw, **settings)
    assert list(tmp_path.iterdir()) == []  # nothing is made before it is asked for
    check_puzzle(puzzle)
    assert [len(puzzle.instances(split)) for split in ("train", "test")] == [5, 3]
    assert puzzle.instances("train") is puzzle.instances("train")
    (file,) = tmp_path.iterdir()
    parameters = {"letters": 8, "version": 1, "train": 5, "test": 3, "seed": 1}
    again = cached("halves", parameters, lambda: pytest.fail("not in the cache"), tmp_path)
    assert same(again, (puzzle.instances("train"), puzzle.instances("test"))) and file.exists()


def test_files_are_read_once_and_share_no_puzzle(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    write_csv(first, [("x", ".a", "aa", 0), ("x", ".b", "bb", 0)])
    write_csv(second, [("x", "a.", "aa", 0), ("x", "b.", "bb", 0), ("x", ".b", "bb", 0)])
    reading = {"puzzle_name": "pair", "cell_count": 2, "question_tokens": {".": 1, "a": 2, "b": 3}}
    reading |= {"answer_tokens": {"a": 2, "b": 3}, "seed": 0}
    with pytest.raises(PuzzleError, match="a.csv and .*b.csv: .* share 1 puzzles, the first is test puzzle 3"):
        CsvFiles(first, second, train=None, test=None, **reading).instances("train")
    write_csv(second, [("x", "a.", "aa", 0), ("x", "b.", "bb", 0)])
    files = CsvFiles(first, second, train=None, test=1, **reading)
    assert len(files.instances("train")) == 2 and len(files.instances("test")) == 1
    first.unlink()
    assert len(files.instances("train")) == 2


def test_what_files_say_of_puzzles_follows_the_rows_into_their_splits(tmp_path):
    """Each row's source and rating name its question, so that a label that went astray would show."""
    questions = ["a.", ".a", "b.", ".b", "..", "ab", "ba", "aa", "bb"]
    for name, rows in (("train.csv", questions[:6]), ("test.csv", questions[6:])):
        write_csv(tmp_path / name, [(f"of {question}", question, "ab", number) for number, question in enumerate(rows)])
    tokens = {"question_tokens": {".": 1, "a": 2, "b": 3}, "answer_tokens": {"a": 2, "b": 3}}
    files = (tmp_path / "train.csv", tmp_path / "test.csv")
    source = CsvFiles(*files, train=4, test=2, validation=2, seed=1, puzzle_name="pair", cell_count=2, **tokens)
    for split, count in (("train", 4), ("validation", 2), ("test", 2)):
        inputs, labels = source.instances(split).inputs, source.labels(split)
        written = ["".join("_.ab"[token] for token in row) for row in inputs.tolist()]
        assert labels["source"] == [f"of {question}" for question in written] and len(written) == count
        known = questions[6:] if split == "test" else questions[:6]
        assert labels["rating"] == [str(known.index(question)) for question in written]


def test_of_few_rows_one_is_held_out_by_default(tmp_path):
    questions = ["a.", ".a", "b.", ".b", "..", "ab"]
    for name, rows in (("train.csv", questions[:4]), ("test.csv", questions[4:])):
        write_csv(tmp_path / name, [("x", question, "ab", 0) for question in rows])
    tokens = {"question_tokens": {".": 1, "a": 2, "b": 3}, "answer_tokens": {"a": 2, "b": 3}}
    files = (tmp_path / "train.csv", tmp_path / "test.csv")
    source = CsvFiles(*files, train=None, test=None, validation=None, puzzle_name="pair", cell_count=2, **tokens)
    assert source.has_validation and len(source.instances("validation")) == 1 and len(source.instances("train")) == 3
