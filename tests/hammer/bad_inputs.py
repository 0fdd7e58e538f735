"""Bad input: the table in `inputs/`, worked through by a program of its own, as only one without threads can fork."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hammer.report import Result
from hammer.runner import own_environment

PART = "inputs"
PROGRAM = Path(__file__).parent / "inputs" / "hammer_inputs.py"


def names(only: str = "") -> list[str]:
    """The cases whose name matches."""
    return _program("--list", "--only", only).splitlines()


def run(scratch: Path, only: str = "", processes: int = 2) -> Iterator[Result]:
    """Every case once; all results come at the end."""
    file = scratch / "inputs.json"
    _program("--quiet", "--only", only, "--processes", str(processes), "--json", str(file))
    for row in json.loads(file.read_text()):
        symptoms = [] if row["verdict"] == "right" else [f"{row['verdict']}: {row['why']}"]
        seconds = row["seconds"] or 0.0
        yield Result(PART, row["area"], row["name"], 0, symptoms, seconds, {"slowest_seconds": seconds})


def _program(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, env=own_environment()
    )
    if done.returncode not in (0, 1):  # 1: some cases are not as they should be
        raise RuntimeError(f"{PROGRAM.name} ended with {done.returncode}")
    return done.stdout
