"""Faults: a full disk, a tracking store that fails, no memory, a clock that jumps, two at once, a poor terminal.

The promise: training never dies for tracking's sake, never loses a finished result, and says in one line what was not
written; programs end with 0, 2 or 130.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator

from hammer import faults_disk, faults_system, faults_tracking  # noqa: F401  (each registers its cases)
from hammer.bench import CASES, Bench, Case
from hammer.modes import References
from hammer.report import Result

PART = "faults"


def cases(only: str = "") -> list[Case]:
    """Those whose name matches."""
    return [case for case in CASES if re.search(only, f"{PART}/{case.group}/{case.name}")]


def run(references: References, only: str = "") -> Iterator[Result]:
    """Each case once."""
    for case in cases(only):
        yield one(references, case)


def one(references: References, case: Case) -> Result:
    """A case, in a folder of its own."""
    result = Result(PART, case.group, case.name)
    references.folder(case.mode)  # made before the clock starts
    started = time.monotonic()
    bench = Bench(references, result, case.mode)
    case.body(bench)
    result.seconds = time.monotonic() - started
    if result.good:
        shutil.rmtree(bench.folder)
    return result
