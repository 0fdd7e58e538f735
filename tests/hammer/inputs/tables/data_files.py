"""Data files: CSV of Sudoku and mazes, plain and gzip, damaged in every way that files are."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

from tables.case import Case, Material
from tables.options import train

AREA = "data files"
HEADER = "source,question,answer,rating"
Change = Callable[[bytes], bytes]


def cases() -> Iterator[Case]:
    """All of this page."""
    for wrong, change in _both().items():
        for family in ("Sudoku", "Maze"):
            yield _case(family, wrong, change)
    for wrong, change in _sudoku().items():
        yield _case("Sudoku", wrong, change)
    for wrong, change in _maze().items():
        yield _case("Maze", wrong, change)
    for wrong, change in {"cut off in a row": _cut(0.5), "many solutions": _row(question="." * 16)}.items():
        yield _case("Sudoku", wrong, change, which="test")
    yield from _pairs_of_files()


def _case(family: str, wrong: str, change: Change, which: str = "train") -> Case:
    prefix = "" if family == "Sudoku" else "maze_"

    def prepare(folder: Path, material: Material) -> None:
        for split in ("train", "test"):
            content = getattr(material, f"{prefix}{split}").read_bytes()
            (folder / f"{split}.csv").write_bytes(change(content) if split == which else content)

    arguments = train(family, train_file="train.csv", test_file="test.csv")
    return Case(AREA, f"{family}, {which}: {wrong}", "train", arguments, prepare, named=(f"{which}.csv",))


def _pairs_of_files() -> Iterator[Case]:
    def same(folder: Path, material: Material) -> None:
        for split in ("train", "test"):
            (folder / f"{split}.csv").write_bytes(material.train.read_bytes())

    def one_shared(folder: Path, material: Material) -> None:
        lines = material.train.read_text().splitlines()
        (folder / "train.csv").write_text(material.train.read_text())
        (folder / "test.csv").write_text(material.test.read_text() + lines[7] + "\n")

    def other_size(folder: Path, material: Material) -> None:
        (folder / "train.csv").write_bytes(material.train.read_bytes())
        (folder / "test.csv").write_bytes(material.maze_test.read_bytes())

    for wrong, prepare in {
        "the same file twice": same,
        "one puzzle in both": one_shared,
        "a maze to test": other_size,
    }.items():
        arguments = train("Sudoku", train_file="train.csv", test_file="test.csv")
        yield Case(AREA, wrong, "train", arguments, prepare, named=("test.csv",))
    for split, count in (("train", 61), ("test", 21), ("train", 10**12), ("test", 0)):
        files = {"train_file": "train.csv", "test_file": "test.csv"}

        def good(folder: Path, material: Material) -> None:
            (folder / "train.csv").write_bytes(material.train.read_bytes())
            (folder / "test.csv").write_bytes(material.test.read_bytes())

        yield Case(
            AREA,
            f"{split}={count} of a file",
            "train",
            train("Sudoku", **files, **{split: str(count)}),
            good,
            named=(split,),
        )


def _row(number: int = 5, **fields: str) -> Change:
    """Other fields in a row of the file, counted from 0 after the header."""

    def change(content: bytes) -> bytes:
        lines = content.decode().splitlines()
        row = dict(zip(HEADER.split(","), lines[number + 1].split(","), strict=True))
        lines[number + 1] = ",".join((row | fields).values())
        return ("\n".join(lines) + "\n").encode()

    return change


def _edit(number: int, column: str, edit: Callable[[str], str]) -> Change:
    def change(content: bytes) -> bytes:
        row = content.decode().splitlines()[number + 1].split(",")
        value = row[HEADER.split(",").index(column)]
        return _row(number, **{column: edit(value)})(content)

    return change


def _cut(share: float) -> Change:
    def change(content: bytes) -> bytes:
        end = int(len(content) * share)
        # In the middle of a field: a cut between two rows leaves a sound file.
        start = content.rfind(b"\n", 0, end) + 1
        return content[: start + 20] if start else content[:end]

    return change


def _header(text: str) -> Change:
    return lambda content: text.encode() + content[content.index(b"\n") :]


def _zipped(change: Change) -> Change:
    return lambda content: change(gzip.compress(content, mtime=0))


def _flip(share: float) -> Change:
    def change(content: bytes) -> bytes:
        at = int(len(content) * share)
        return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]

    return change


def _archive(content: bytes) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train.csv", content)
    return file.getvalue()


def _both() -> dict[str, Change]:
    found: dict[str, Change] = {f"cut off at {share}%": _cut(share / 100) for share in range(5, 100, 8)}
    found |= {f"gzip, cut off at {share}%": _zipped(_truncate(share / 100)) for share in range(5, 100, 10)}
    found |= {f"gzip, a bit flipped at {share}%": _zipped(_flip(share / 100)) for share in range(10, 100, 12)}
    headers = {
        "no header": None,
        "an empty header": "",
        "a header in capitals": HEADER.upper(),
        "a header of three": "source,question,answer",
        "a header of five": f"{HEADER},more",
        "a header in another order": "source,answer,question,rating",
        "a header with semicolons": HEADER.replace(",", ";"),
        "a header with tabs": HEADER.replace(",", "\t"),
        "a header of 100,000 characters": "a" * 100_000,
        "a header with an escape": f"{HEADER}\x1b[31m",
    }
    found |= {
        wrong: (lambda content: content[content.index(b"\n") + 1 :]) if text is None else _header(text)
        for wrong, text in headers.items()
    }
    found |= {
        "nothing at all": lambda _: b"",
        "an empty line": lambda _: b"\n",
        "a header alone": lambda content: content[: content.index(b"\n") + 1],
        "random bytes": lambda _: bytes(range(256)) * 20,
        "zeros": lambda _: bytes(5000),
        "UTF-16": lambda content: content.decode().encode("utf-16"),
        "Latin-1 in a row": lambda content: content + b"gr\xf6\xdfe,1,2,3\n",
        "a NUL in a row": _edit(3, "question", lambda text: f"\x00{text[1:]}"),
        "a zip archive": _archive,
        "JSON": lambda _: b'{"question": "1"}',
        "HTML": lambda _: b"<!DOCTYPE html><html><body>404: not found</body></html>\n" * 20,
        "a pointer of Git LFS": lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "a quote that never ends": _edit(4, "source", lambda text: f'"{text}'),
        "a row of one field": lambda content: content + b"hello\n",
        "a row of five fields": lambda content: content + b"a,b,c,d,e\n",
        "a row of commas": lambda content: content + b",,,\n",
        "a row of a megabyte": lambda content: content + b"a," + b"1" * 2**20 + b",1,0\n",
        "a question too short": _edit(6, "question", lambda text: text[:-1]),
        "a question too long": _edit(6, "question", lambda text: text + text[0]),
        "an empty question": _row(question=""),
        "an empty answer": _row(answer=""),
        "an answer too short": _edit(6, "answer", lambda text: text[:-1]),
        "an answer too long": _edit(6, "answer", lambda text: text + text[0]),
        "a letter in a question": _edit(6, "question", lambda text: f"x{text[1:]}"),
        "a letter in an answer": _edit(6, "answer", lambda text: f"x{text[1:]}"),
        "an emoji in a question": _edit(6, "question", lambda text: f"{text[:-1]}\U0001f600"),
        "an escape in a question": _edit(6, "question", lambda text: f"{text[:-1]}\x1b"),
        "question and answer exchanged": lambda content: content.replace(b"question,answer", b"answer,question"),
        "an answer that is its question": lambda content: _repeat_question(content),
        "the answer of the row before": lambda content: _other_answer(content),
        "two answers for one question": lambda content: _two_answers(content),
    }
    return found


def _truncate(share: float) -> Change:
    return lambda content: content[: int(len(content) * share)]


def _fields(content: bytes, number: int) -> list[str]:
    return content.decode().splitlines()[number + 1].split(",")


def _repeat_question(content: bytes) -> bytes:
    return _row(5, answer=_fields(content, 5)[1])(content)


def _other_answer(content: bytes) -> bytes:
    return _row(5, answer=_fields(content, 4)[2])(content)


def _two_answers(content: bytes) -> bytes:
    first, second = _fields(content, 5), _fields(content, 6)
    return _row(6, question=first[1], answer=second[2])(content)


def _sudoku() -> dict[str, Change]:
    swap = str.maketrans("12", "21")
    return {
        "a digit too large": _edit(6, "answer", lambda text: f"5{text[1:]}"),
        "a blank in the answer": _edit(6, "answer", lambda text: f".{text[1:]}"),
        "a given that the answer changes": _edit(6, "answer", lambda text: text.translate(swap)),
        "a row with a digit twice": _edit(6, "answer", lambda text: text[0] * 2 + text[2:]),
        "all ones": _row(question="." * 16, answer="1" * 16),
        "many solutions, an empty board": _row(question="." * 16),
        "many solutions, one given": _edit(6, "answer", lambda text: text)
        and (lambda content: _row(6, question=_fields(content, 6)[2][0] + "." * 15)(content)),
        "many solutions, in the last row": lambda content: _row(59, question="." * 16)(content),
        "two solutions": lambda _: (
            f"{HEADER}\nmade,.2.4.4.221434321,1234341221434321,0\nmade,1234341221434321,1234341221434321,0\n"
        ).encode(),
        "the same question, two sound answers": lambda content: (
            content + f"made,{'.' * 16},1234341221434321,0\nmade,{'.' * 16},2134342112434312,0\n".encode()
        ),
    }


def _maze() -> dict[str, Change]:
    rows = {
        "two starts": ("SS  G#########################"[:25], "SSooG####################"),
        "no start": ("    G####################", "ooooG####################"),
        "no goal": ("S    ####################", "Soooo####################"),
        "two goals": ("S  GG####################", "SooGG####################"),
        "a wall moved": ("S   G####################", "SoooG############### ####"),
        "a path through a wall": ("S # G#   ################", "SoooG#   ################"),
        "a detour": ("S   G     ###############", "So oGooo  ###############"),
        "no path": ("S # G####################", "S # G####################"),
        "a path drawn in the question": ("SoooG####################", "SoooG####################"),
        "a gap in the path": ("S   G####################", "So oG####################"),
        "a ring beside the path": ("S   G#####ooo##o#o##ooo##", "SoooG#####ooo##o#o##ooo##"),
        "padding": ("S   G____________________", "SoooG____________________"),
    }
    return {wrong: _row(question=question, answer=answer) for wrong, (question, answer) in rows.items()}
