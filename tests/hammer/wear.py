"""The soaked process: `python wear.py SECONDS WARM_UP '[["train", …], …]'` does these rounds and prints its growth."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import resource
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Sequence


def soak(seconds: float, warm_up: int, rounds: Sequence[Sequence[str]]) -> dict[str, float]:
    """Rounds in this process, in the current folder, for some seconds; how memory, files and threads have grown.

    The first `warm_up` rounds, in which caches fill, do not count; at least two more follow.
    """
    started = time.monotonic()
    measured: list[tuple[float, int, int]] = []
    while time.monotonic() - started < seconds or len(measured) < warm_up + 2:
        for program, *arguments in rounds:
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                importlib.import_module(f"latent_rl.{program}").main(arguments)
        shutil.rmtree("runs")
        gc.collect()
        measured.append((_rss_kib(), len(os.listdir("/proc/self/fd")), threading.active_count()))
    memory, files, threads = zip(*measured[warm_up:], strict=True)
    return {
        "rounds": len(measured),
        "minutes": (time.monotonic() - started) / 60,
        "rss_mib_first": memory[0] / 1024,
        "rss_mib_last": memory[-1] / 1024,
        "rss_mib_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **_growth(memory),
        "files": files[-1],
        "files_grown": files[-1] - files[0],
        "threads": threads[-1],
        "threads_grown": threads[-1] - threads[0],
    }


def _growth(memory: list[float]) -> dict[str, float]:
    """How memory grows, KiB a round: the slope of a straight line, and the standard error of it."""
    rounds = range(len(memory))
    slope, start = statistics.linear_regression(rounds, memory)
    left = sum((size - start - slope * number) ** 2 for number, size in zip(rounds, memory, strict=True))
    spread = sum((number - statistics.fmean(rounds)) ** 2 for number in rounds)
    error = (left / max(1, len(memory) - 2) / spread) ** 0.5
    return {"rss_kib_a_round": slope, "rss_kib_error": error}


def _rss_kib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1024


if __name__ == "__main__":
    del sys.path[0]  # the modules beside this script are the hammer's own, and have common names
    print(json.dumps(soak(float(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))))
