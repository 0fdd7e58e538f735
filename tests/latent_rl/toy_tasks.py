"""What processes side by side do in tests; imports no torch."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from latent_rl.errors import UserError


def finish(path: str) -> None:
    print(f"threads {os.environ['OMP_NUM_THREADS']}", file=sys.stderr)
    Path(path).write_text("finished")


def fail(path: str) -> None:
    until(at_work(path))
    raise UserError("it does not fit")


def save_when_told(path: str) -> None:
    """Work until a signal comes, save, and say so, as a training does."""
    try:
        Path(path).write_text("at work")
        until(lambda: False)
    except KeyboardInterrupt:
        time.sleep(0.3)
        Path(path).write_text("saved")
        raise


def at_work(path: str):
    """Whether a task that saves when told is where it can be told: its file may exist before anything is in it."""
    return lambda: Path(path).exists() and Path(path).read_text() == "at work"


def until(true) -> None:
    began = time.monotonic()
    while not true():
        time.sleep(0.02)
        if time.monotonic() - began > 600:
            raise TimeoutError
