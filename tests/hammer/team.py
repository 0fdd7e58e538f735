"""Kills of a team: one of its processes is killed or told to stop, and the run goes on, with as many or with others.

Processes are forked with what `torchrun` would tell them, so that no case waits for imports; `torchrun` itself is tried
in `tests/latent_rl/training/test_team.py`.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from hammer.folders import differences
from hammer.report import Result

PART, NAME, SIZE = "team", "r", 2
RUN = f"runs/{NAME}"
MOST_APART = 1e-4
"""Between weights of runs that had teams of other sizes: sums were rounded in another order."""

LIMIT_SECONDS = 240.0

SETTINGS = [
    "--config", "sudoku-4x4", f"name={NAME}", "scheme=pi-halt", "env.options={train: 300, test: 20, validation: 20}",
    "network={width: 16, layers: 1, heads: 2, multiple_of: 8}", "collector.num_envs=8", "threads=1", "device=cpu",
    "halting.ppo={steps: 4, hidden: 8, minibatch: 16}", "budget={updates: 40, seconds: null}",
    "evaluation.every_updates=20", "checkpoint_every_seconds=0.1", "tracking.enabled=false",
    "optimizer.warmup_updates=3",
]  # fmt: skip

WAYS = ("kill-first", "kill-other", "stop-first", "stop-other", "stop-all")
"""SIGKILL or SIGINT, and to which of the processes."""


def names(only: str) -> list[str]:
    """Of all kinds of cases that match."""
    found = [f"{PART}/{sizes}/{way}" for sizes in ("same", "others") for way in WAYS]
    return [name for name in found if re.search(only, name)]


def run(scratch: Path, seed: int, number: int, only: str = "", case_seed: int | None = None) -> Iterator[Result]:
    """Kill, go on, compare, `number` times."""
    draw, expected = random.Random(seed), reference(scratch)
    chosen = names(only)
    for place in range(number if case_seed is None else len(chosen)):
        own_seed = draw.randrange(10**6) if case_seed is None else case_seed
        _, sizes, way = chosen[place % len(chosen)].split("/")
        yield one(scratch, expected, sizes, way, own_seed)


def reference(scratch: Path) -> tuple[Path, float]:
    """The folder of an undisturbed run, and how long it took."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    processes, started = begin(folder, SIZE), time.monotonic()  # without the imports of `begin`
    codes = ended(processes)
    if codes != [0] * SIZE:
        raise RuntimeError(f"an undisturbed team ended with {codes}: {said(folder)}")
    return folder, time.monotonic() - started


def one(scratch: Path, expected: tuple[Path, float], sizes: str, way: str, seed: int) -> Result:
    """One case: up to two ends of a run before its own."""
    started, draw = time.monotonic(), random.Random(seed)
    result, folder = Result(PART, sizes, way, seed, figures={"kills": 0}), Path(tempfile.mkdtemp(dir=scratch))
    size, last = SIZE, SIZE
    for _ in range(draw.randint(1, 2)):
        processes = begin(folder, size)
        time.sleep(draw.uniform(0.1, 0.8) * expected[1])
        struck = strike(processes, way)
        codes = ended(processes)
        result.figures["kills"] += struck
        result.symptoms += manners(way, codes, struck, folder)
        last, size = size, size if sizes == "same" else draw.choice((1, 2, 4))
    if not result.figures["kills"]:
        result.symptoms.append("nothing was struck: all had ended before")
    codes = ended(begin(folder, size))
    over = (folder / RUN / "summary.json").exists()
    if set(codes) != {0}:
        result.symptoms.append(f"cannot go on, codes {codes}: {said(folder)}")
    if over:
        result.symptoms += (bitwise if sizes == "same" else nearly)(expected[0] / RUN, folder / RUN)[:3]
        found = json.loads((folder / RUN / "summary.json").read_text())["world_size"]
        result.symptoms += [] if found in (size, last) else [f"world_size {found}, not {size}"]
    if result.good:
        shutil.rmtree(folder)
    result.seconds = time.monotonic() - started
    return result


def begin(folder: Path, size: int) -> list[int]:
    """Processes that begin the run in a folder, or go on with it."""
    arguments = ["--resume", RUN] if (folder / RUN / "checkpoint/training.pt").exists() else SETTINGS
    if arguments is SETTINGS:
        shutil.rmtree(folder / "runs", ignore_errors=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Once, for all that are forked.
    import latent_rl.training  # noqa: F401
    from latent_rl.reporting import mlflow_run, run_results, summary  # noqa: F401

    run_results.result_figures = lambda *_: {}  # which take most of the time, and which one process draws

    return [_fork(folder, arguments, rank, size, port) for rank in range(size)]


def _fork(folder: Path, arguments: Sequence[str], rank: int, size: int, port: int) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a script's background ignores
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        out = os.open(f"rank{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        from latent_rl import cli
        from latent_rl.train import main

        cli.run_program(lambda: main(list(arguments)))
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def strike(processes: Sequence[int], way: str) -> bool:
    """Send the signal; whether it found a process at work."""
    verb, _, whom = way.partition("-")
    chosen = {"first": processes[:1], "other": processes[-1:], "all": processes}[whom]
    number = signal.SIGKILL if verb == "kill" else signal.SIGINT
    at_work = [pid for pid in chosen if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"]
    for pid in at_work:
        os.kill(pid, number)
    return bool(at_work)


def ended(processes: Sequence[int]) -> list[int | None]:
    """Exit codes, negative for a signal; None of what has not ended in time, which is killed."""
    codes: dict[int, int | None] = {}
    until = time.monotonic() + LIMIT_SECONDS
    while len(codes) < len(processes):
        for pid in set(processes) - codes.keys():
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                codes[pid] = os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
        if time.monotonic() > until:
            for pid in set(processes) - codes.keys():
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                codes[pid] = None
    return [codes[pid] for pid in processes]


def manners(way: str, codes: Sequence[int | None], struck: bool, folder: Path) -> list[str]:
    """What is wrong with how a team took its end."""
    symptoms = [f"{way}: codes {codes}, one did not end"] if None in codes else []
    if way.startswith("stop") and struck and (folder / RUN / "checkpoint").exists():
        wrong = [code for code in codes if code not in (130, 0, 2)]
        symptoms += [f"{way}: codes {codes}"] if wrong else []
    if way.startswith("kill") and struck and 70 in codes:
        symptoms.append(f"{way}: codes {codes}")
    if "Traceback" in said(folder, whole=True):
        symptoms.append(f"{way}: a traceback: {said(folder)}")
    return symptoms


def said(folder: Path, whole: bool = False) -> str:
    """The last lines of all processes, or everything."""
    texts = [path.read_text(errors="replace").strip() for path in sorted(folder.glob("rank*.txt"))]
    return "\n".join(texts) if whole else " | ".join(text.splitlines()[-1] for text in texts if text)


def bitwise(expected: Path, found: Path) -> list[str]:
    """In what two runs by teams of one size differ."""
    return differences(expected, found)


def nearly(expected: Path, found: Path) -> list[str]:
    """In what two runs by teams of other sizes differ beyond rounding: counts, and weights."""
    import torch

    one, other = (torch.load(run / "checkpoint/training.pt", weights_only=True) for run in (expected, found))
    told = [
        f"{name} is {other[part][name]}, not {one[part][name]}"
        for part, name in (("learner", "updates"), ("collection", "finished_puzzles"), ("ledger", "forward"))
        if one[part][name] != other[part][name]
    ]
    for name, weight in one["learner"]["reasoner"].items():
        apart = float((weight - other["learner"]["reasoner"][name]).abs().max())
        told += [f"{name} differs by {apart:.2g}"] if apart > MOST_APART else []
    return told
