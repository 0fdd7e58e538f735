"""Kills: a run is ended by a signal, at a random moment or inside a write, and goes on to the very same end."""

from __future__ import annotations

import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

from hammer.folders import differences
from hammer.modes import INTERVAL, MODES, References
from hammer.report import Result
from hammer.runner import LIMIT_SECONDS, Outcome, Running

PART = "kills"

WRITES = ("open", "rename", "fsync", "die")
"""Where in the writing of a file: it was just opened; is whole and about to be put in place; about to be flushed; the
kernel kills in the middle of a write."""

FILES = {
    "train": (r"training\.pt", r"model\.pt", r"history\.json", r"summary\.json", r"config\.yaml", r"\.png"),
    "halt": (r"model\.pt", r"config\.yaml", r"tradeoff\.json", r"tradeoff\.png"),
    "compare": (r"training\.pt", r"model\.pt", r"compare\.json", r"compare\.md", r"config\.yaml", r"\.png"),
}


@dataclass(frozen=True)
class Kill:
    """How a run is ended.

    Attributes:
        signals: sent one after the other.
        write: where in a file's writing, for SIGKILL; None: at a random moment.
        file: which, a regular expression.
        start: while the interpreter starts and imports.
        ignored: the signal is ignored, as under `nohup`: the run is to end as if nothing had happened.
    """

    signals: tuple[str, ...]
    write: str | None = None
    file: str | None = None
    start: bool = False
    ignored: bool = False

    @property
    def name(self) -> str:
        words = [self.signals[0]] + ["twice"] * (len(self.signals) - 1)
        if self.write is not None:
            words += [self.write, re.sub(r"\W", "", self.file)]
        words += ["in-start-up"] * self.start + ["ignored"] * self.ignored
        return "-".join(words)


def kinds(program: str) -> list[Kill]:
    """All ways to end a program; the likeliest, SIGKILL at a random moment, several times."""
    plain = [Kill(("SIGKILL",))] * 4
    signals = [Kill((name,)) for name in ("SIGTERM", "SIGINT", "SIGHUP")] + [Kill(("SIGINT", "SIGINT"))]
    starts = [Kill((name,), start=True) for name in ("SIGKILL", "SIGINT", "SIGTERM")]
    writes = [
        Kill(("SIGKILL",), write, file)
        for file in FILES[program]
        for write in WRITES
        if write != "fsync" or file.endswith(r"\.pt")
    ]
    return [*plain, *signals, *starts, Kill(("SIGHUP",), ignored=True), *writes]


def combinations(only: str) -> list[tuple[str, Kill]]:
    """Every mode with every way to end it, where the case's name matches."""
    found = [(mode, kill) for mode in MODES for kill in kinds(MODES[mode].program)]
    return [(mode, kill) for mode, kill in found if re.search(only, f"{PART}/{mode}/{kill.name}")]


def cases(seed: int, number: int, only: str = "") -> Iterator[tuple[str, Kill, int]]:
    """Modes, kills and seeds: every combination in random order, and again from the start if `number` is larger."""
    found = combinations(only)
    order = random.Random(seed)
    while found and number > 0:
        order.shuffle(found)
        for mode, kill in found[:number]:
            yield mode, kill, order.randrange(10**6)
        number -= len(found)


def run(
    references: References, seed: int, number: int, only: str = "", case_seed: int | None = None
) -> Iterator[Result]:
    """Kill, go on, compare; with `case_seed`, every case that matches once, with that seed."""
    chosen = cases(seed, number, only)
    if case_seed is not None:
        chosen = ((mode, kill, case_seed) for mode, kill in dict.fromkeys(combinations(only)))
    for mode, kill, own_seed in chosen:
        yield one(references, mode, kill, own_seed)


def one(references: References, mode: str, kill: Kill, seed: int) -> Result:
    """One case: up to three kills of one run, then its end, compared with an undisturbed one's."""
    started, draw, stable = time.monotonic(), random.Random(seed), references.stable
    result = Result(PART, mode, kill.name, seed)
    expected, duration = references.folder(mode), references.seconds(mode)
    folder = references.new_folder(mode)
    kills = draw.randint(1, 3) if kill == Kill(("SIGKILL",)) else 1
    for _ in range(kills):
        running = stable.start(
            folder,
            *MODES[mode].go_on(folder),
            faults=_faults(kill, draw),
            fresh=kill.start,
            journal=not kill.start,
            ignore=kill.signals if kill.ignored else (),
        )
        struck = strike(running, kill, duration, draw)
        outcome = running.wait()
        over = (folder / MODES[mode].out / "summary.json").exists()
        result.symptoms += manners(kill, outcome, struck, saves=MODES[mode].program == "train" and not over)
        result.figures["kills"] = result.figures.get("kills", 0) + struck
        if struck and not kill.start and MODES[mode].program == "train":
            lost, allowed = lost_seconds(outcome)
            result.figures["lost_seconds"] = max(lost, result.figures.get("lost_seconds", 0.0))
            if lost > allowed:
                result.symptoms.append(f"{lost:.2f} s of training lost, {allowed:.2f} s are one interval and an update")
    ending = stable.run(folder, *MODES[mode].go_on(folder))
    complete = differences(expected, folder)
    if ending.code != 0 and complete:
        result.symptoms.append(f"cannot go on, code {ending.code}: {ending.last_line()}")
    result.symptoms += complete[:3]
    if result.good:
        shutil.rmtree(folder)
    result.seconds = time.monotonic() - started
    return result


def _faults(kill: Kill, draw: random.Random) -> list[dict[str, object]]:
    if kill.write is None:
        return []
    # Checkpoints are written again and again, other files once or twice.
    which = draw.randint(1, 3) if kill.file.endswith(r"\.pt") else 1
    # Python opens the temporary file in the target's place; its name holds the target's.
    then = f"die:{draw.choice((0, 100, 1000, 4096))}" if kill.write == "die" else "stop"
    on = "open" if kill.write == "die" else kill.write
    return [{"on": on, "path": kill.file, "first": which, "last": which, "then": then}]


def strike(running: Running, kill: Kill, duration: float, draw: random.Random) -> bool:
    """Send the signals when it is time; whether they found the program at work."""
    if kill.write == "die":
        return running.wait().code == -signal.SIGXFSZ
    if kill.write is not None:
        return running.until_stopped() and running.signal(signal.SIGKILL)
    if not kill.start:
        running.until(lambda: running.count("start") > 0)
    time.sleep(draw.uniform(0.0, 4.0 if kill.start else duration))
    struck = running.signal(getattr(signal, kill.signals[0]))
    for name in kill.signals[1:]:
        time.sleep(draw.uniform(0.0, 0.1))
        running.signal(getattr(signal, name))
    return struck


def manners(kill: Kill, outcome: Outcome, struck: bool, *, saves: bool) -> list[str]:
    """What is wrong with how a program took its end: its exit code, what it said.

    One that `saves` before it ends, training that is not over, ends with 130. Where there is nothing to save, to end as
    the system ends a program is as good.
    """
    if outcome.code is None:
        return [f"did not end within {LIMIT_SECONDS:.0f} seconds"]
    if kill.signals == ("SIGKILL",):
        return [] if struck or outcome.code == 0 else [f"code {outcome.code}: {outcome.last_line()}"]
    symptoms = []
    number = getattr(signal, kill.signals[0])
    steps = sum(what.startswith("step") for _, what in outcome.journal)
    allowed = {130, 0}
    if kill.ignored:
        allowed = {0}
    elif kill.start or not steps or not saves:
        allowed |= {-number, 128 + number}
    elif len(kill.signals) > 1:
        allowed |= {-number}
    if outcome.code not in allowed:
        symptoms.append(f"{kill.name}: code {outcome.code}, not {' or '.join(map(str, sorted(allowed)))}")
    if "Traceback" in outcome.err:
        symptoms.append(f"{kill.name}: a traceback that ends with {outcome.last_line()!r}")
    return symptoms


def lost_seconds(outcome: Outcome) -> tuple[float, float]:
    """Of a killed training: seconds between its last whole checkpoint and its last step; and what may be lost.

    That is an interval and one update. The clock here is the wall's, on which evaluations and a busy machine count as
    well, so "one update" is the longest pause between two steps.
    """
    steps = [moment for moment, what in outcome.journal if what.startswith("step")]
    if not steps:
        return 0.0, INTERVAL
    saved = [moment for moment, what in outcome.journal if what.startswith("rename") and "training.pt" in what]
    since = saved[-1] if saved else steps[0]
    pauses = [after - before for before, after in zip(steps, steps[1:], strict=False)]
    return max(0.0, steps[-1] - since), INTERVAL + 2 * max(pauses, default=0.0)
