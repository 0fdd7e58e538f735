"""The programs against the tables of inputs; and the judge against programs that behave badly on purpose."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sandbox
from tables import all_cases, options
from tables.case import Case, Material
from verdicts import judge, table

from latent_rl import cli
from latent_rl.errors import UserError

NOTHING = Material(*[Path()] * 5, board="")


@pytest.mark.hammer
def test_every_input_is_answered_properly(tmp_path) -> None:
    report = tmp_path / "found.json"
    command = [sys.executable, str(Path(__file__).with_name("hammer_inputs.py")), "--quiet", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    rows = json.loads(report.read_text())
    assert len(rows) >= 900
    wrong = [
        f"{row['verdict']}: {row['area']}: {row['name']}: {row['why']}" for row in rows if row["verdict"] != "right"
    ]
    assert not wrong, f"{len(wrong)} of {len(rows)}"
    assert done.returncode == 0


def test_the_tables_hold_what_they_promise() -> None:
    cases = all_cases()
    refused = [case for case in cases if case.expected == "refused"]
    assert len(refused) >= 900
    assert sum(case.expected == "accepted" for case in cases) >= 100
    assert sum(case.real for case in cases) >= 24
    assert len({(case.area, case.name) for case in cases}) == len(cases)
    assert all_cases()[-1].name == cases[-1].name  # the same ones every time, drawn ones included
    assert options.unlisted() == []


def says(message: str) -> Callable[[list[str]], None]:
    def main(arguments: list[str]) -> None:
        raise UserError(message)

    return main


def prints(message: str) -> Callable[[list[str]], None]:
    """Past the manners of the programs, which let no such message through."""

    def main(arguments: list[str]) -> None:
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2)

    return main


def leaves_a_file(arguments: list[str]) -> None:
    Path("half.txt").write_text("half")
    raise UserError("too late")


def climbs(arguments: list[str]) -> None:
    Path("../out").mkdir()
    raise UserError("too late")


def works_first(arguments: list[str]) -> None:
    started = time.process_time()
    while time.process_time() - started < 1.2:
        pass
    raise UserError("too late")


def prints_first(arguments: list[str]) -> None:
    print("working ...")
    raise UserError("too late")


def raises(arguments: list[str]) -> None:
    raise TypeError("oh")


def accepts(arguments: list[str]) -> None:
    print("fine")


def spins(arguments: list[str]) -> None:
    while True:
        pass


def sleeps(arguments: list[str]) -> None:
    time.sleep(60)


def leaves(arguments: list[str]) -> None:
    raise SystemExit(3)


def warns_first(arguments: list[str]) -> None:
    print("hm", file=sys.stderr)
    raise UserError("no")


def fails_otherwise(arguments: list[str]) -> None:
    print("no", file=sys.stderr)
    raise SystemExit(2)


def reads(arguments: list[str]) -> None:
    cli.fail(f"{sys.stdin.read()} {Path('mine').read_text()} {' '.join(arguments)}")


@pytest.mark.parametrize(
    ("main", "verdict", "why"),
    [
        (says("no such key"), "right", ""),
        (prints("x" * 400), "overlong", "407 characters"),
        (prints("no\nsuch key"), "other", "2 lines"),
        (prints("\x1b[31mno such key"), "other", "control characters"),
        (says("wrong"), "other", "names none of key"),
        (leaves_a_file, "late", "left a/b/here/half.txt"),
        (climbs, "late", "left a/b/out/"),
        (works_first, "late", "after 1."),
        (prints_first, "late", "characters on stdout"),
        (raises, "traceback", "TypeError: oh"),
        (accepts, "nonsense", "accepted"),
        (spins, "hang", "limit of time"),
        (sleeps, "hang", "limit of time"),
        (leaves, "other", "exit code 3"),
        (warns_first, "other", "2 lines"),
        (fails_otherwise, "other", "does not begin"),
    ],
)
def test_what_a_program_does_is_seen(main, verdict, why, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sandbox.CPU_SECONDS, "refused", 2)
    monkeypatch.setitem(sandbox.WALL_SECONDS, "refused", 3.0 if main is sleeps else 100.0)
    monkeypatch.setattr(sandbox, "MEMORY", 2**29)
    case = Case("area", "name", "train", (), named=("key",) if verdict in ("right", "other") else ())
    ((number, outcome),) = sandbox.run_cases([case], NOTHING, tmp_path, main=lambda program: main)
    found, words = judge(case, outcome)
    assert (number, found) == (0, verdict), words
    assert why in words
    assert list(tmp_path.iterdir()) == []


def test_a_case_has_files_arguments_and_input_of_its_own(tmp_path) -> None:
    def prepare(folder: Path, material: Material) -> None:
        (folder / "mine").write_text("file")

    case = Case("area", "name", "train", ("--out={room}/x",), prepare, b"input")
    ((_, outcome),) = sandbox.run_cases([case], NOTHING, tmp_path, main=lambda program: reads)
    assert outcome.err == "error: input file --out=/x\n"  # the folder's own path is nobody's concern
    assert judge(case, outcome) == ("right", "")


def test_a_broken_case_is_no_outcome(tmp_path) -> None:
    def prepare(folder: Path, material: Material) -> None:
        raise ValueError("typo in the table")

    with pytest.raises(RuntimeError, match="typo in the table"):
        list(sandbox.run_cases([Case("area", "name", "train", (), prepare)], NOTHING, tmp_path))


def test_an_acceptance_can_have_a_condition(tmp_path) -> None:
    for answer, verdict in ((True, "right"), (False, "nonsense")):
        case = Case("area", "name", "train", (), expected="either", harmless=lambda *_, answer=answer: answer)
        ((_, outcome),) = sandbox.run_cases([case], NOTHING, tmp_path, main=lambda program: accepts)
        assert judge(case, outcome)[0] == verdict


def test_a_good_input_must_be_accepted(tmp_path) -> None:
    case = Case("area", "name", "train", (), expected="accepted")
    ((_, outcome),) = sandbox.run_cases([case], NOTHING, tmp_path, main=lambda program: says("no"))
    assert judge(case, outcome)[0] == "other"
    assert table([(case, "other"), (case, "right")])[1].split() == ["area", "2", "1", ".", ".", ".", ".", ".", "1"]
