"""Some of the cases as processes of their own, which also meet the interpreter's start and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tables.case import Case

EVERY = 40
"""One in so many: a process takes seconds where a fork takes a tenth."""


def some_of(cases: Sequence[Case]) -> list[Case]:
    """One in `EVERY` of the cases, in an area of their own."""
    # A condition for acceptance is asked in the child, which a real process does not come back to.
    possible = [case for case in cases if case.harmless is None]
    return [
        replace(case, area="real processes", name=f"{case.area}: {case.name}", real=True)
        for case in possible[EVERY // 2 :: EVERY]
    ]
