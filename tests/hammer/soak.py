"""Soak: tiny runs of all programs, again and again in one process; memory, open files and threads stay as they are."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hammer.modes import NAME, TINY, tracked
from hammer.report import Result
from hammer.runner import own_environment

MOST_KIB = 64.0
"""Growth of memory a round that is still called flat."""

RUN = f"runs/{NAME}"
SHORT = [*TINY, "budget.updates=10", "evaluation.every_updates=5"]

ROUND = (
    ("train", *SHORT, f"name={NAME}"),
    ("train", "--resume", RUN, "budget.updates=14"),
    ("train", *tracked(SHORT, "sqlite:///mlflow.db", updates=4), "name=tracked"),
    ("train", *SHORT, "scheme=pi-halt", "halting.ppo.steps=4", "name=halting"),
    ("train", *SHORT, "collector.mode=replay", "collector.num_envs=16", "name=replay"),
    ("evaluate", RUN, "--device", "cpu", "--json", "evaluated.json"),
    ("evaluate", RUN, "--device", "cpu", "--budget-passes", "36"),
    ("solve", RUN, "4..2.....4..321.", "--png", "steps.png"),
    ("halt", RUN, "--device", "cpu", "--out", "runs/taught", "halting.ppo.puzzles=100", "halting.ppo.iterations=3"),
    ("analyze", RUN, "--device", "cpu"),
    ("compare", "--schemes", "pi", "--seeds", "1", "--out", "runs/compared", *SHORT, "evaluation.points=2"),
)
"""What is done in every round."""


def run(scratch: Path, minutes: float, warm_up: int = 3, rounds: Sequence[Sequence[str]] = ROUND) -> Result:
    """Soak for some minutes after some rounds that do not count, in a process and a folder of its own."""
    started = time.monotonic()
    result = Result("soak", "all programs", f"{minutes:g} minutes")
    folder = scratch / "soak"
    folder.mkdir(parents=True)
    environment = {**own_environment(), "OMP_NUM_THREADS": "1", "LATENT_RL_CACHE": str(scratch / "cache")}
    command = [sys.executable, Path(__file__).with_name("wear.py"), str(60 * minutes), str(warm_up), json.dumps(rounds)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    result.seconds = time.monotonic() - started
    if done.returncode != 0:
        last = (done.stderr.strip() or "(nothing said)").splitlines()[-1]
        result.symptoms.append(f"code {done.returncode}: {last[:300]}")
        return result
    figures = json.loads(done.stdout.splitlines()[-1])
    result.figures = figures
    # Sizes swing by tens of MiB from round to round: what the line rises by has to stand out from that.
    least = figures["rss_kib_a_round"] - 2 * figures["rss_kib_error"]
    if least > MOST_KIB and figures["rounds"] >= 10:
        result.symptoms.append(f"memory grows by {figures['rss_kib_a_round']:.0f} KiB a round")
    for what in ("files", "threads"):
        if figures[f"{what}_grown"] > 0:
            result.symptoms.append(f"{figures[f'{what}_grown']:g} more {what} than after the first rounds")
    return result
