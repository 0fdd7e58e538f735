"""Names of runs, which become folders."""

from __future__ import annotations

from collections.abc import Iterator

from tables.case import SMALL, Case

AREA = "names"


def cases() -> Iterator[Case]:
    """All of this page."""
    wrong = {
        "climbing": "../../x", "climbing once": "../x", "absolute": "{room}/x", "empty": '""', "a dot": '"."',
        "two dots": '".."', "a closing tag": "'[/b]'", "a slash": "a/b", "a slash at the end": "a/",
        "a slash alone": "/",
        "300 characters": "a" * 300, "101 characters": "a" * 101, "5,000 characters": "a" * 5000,
        "130 letters of two bytes": "ä" * 130, "100 letters of four bytes": "\U0001f600" * 100, "a NUL": '"a\\0b"',
        "a line break": '"a\\nb"', "a carriage return": '"a\\rb"', "a tab": '"a\\tb"', "an escape": '"a\\eb"',
        "a bell": '"\\a"', "a right-to-left mark": '"a\\u202eb"', "a lone surrogate": '"\\ud800"',
        "a backspace": '"a\\bb"',
        "a space": '" "', "spaces": '"   "', "a space in front": '" a"', "a space behind": '"a "', "a number": "5",
        "a list": "[a]", "a mapping": "{a: 1}", "true": "true", "a date": "2020-01-01", "a number with a point": "1.5",
        "deep": "a/../../b", "home": "~/x", "a null byte first": '"\\0"',
    }  # fmt: skip
    for what, text in wrong.items():
        arguments = (*SMALL, "collector.num_envs=8", "budget.updates=2", f"name={text}")
        yield Case(AREA, what, "train", arguments, named=("name",))
