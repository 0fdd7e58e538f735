"""All cases, by area."""

from __future__ import annotations

from collections import Counter

from tables import (
    arc_tasks,
    arguments,
    checkpoints,
    configuration,
    data_files,
    good,
    grammars,
    names,
    options,
    real,
    runs,
    solving,
)
from tables.case import Case

TABLES = (configuration, options, data_files, arc_tasks, checkpoints, runs, solving, arguments, names, grammars, good)


def all_cases() -> list[Case]:
    """Every case; some dozens of them a second time, as real processes.

    Raises:
        ValueError: if two cases of an area have one name.
    """
    cases = [case for module in TABLES for case in module.cases()]
    cases += real.some_of(cases)
    (most, count), *_ = Counter((case.area, case.name) for case in cases).most_common()
    if count > 1:
        raise ValueError(f"{count} cases are called {most}")
    return cases
