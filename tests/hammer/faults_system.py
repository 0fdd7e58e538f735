"""Memory, clock, two at once, signals at bad moments, and poor surroundings: closed output, no HOME, old terminals"""

from __future__ import annotations

import json
import os
import signal
import time

import yaml

from hammer.bench import Bench, case
from hammer.modes import NAME, TINY

GIB = 1 << 30


@case("memory", spare=("0", "4000000"))
def exhausted_in_training(bench: Bench, spare: str) -> None:
    """No more memory than now is given: one line; the last checkpoint is whole and goes on."""
    fault = {"on": "rename", "path": r"model\.pt", "first": 2, "then": f"memory:{spare}"}
    outcome = bench.run(faults=[fault])
    # What it has may be enough.
    bench.ended(outcome, 0, 2, lines=6)
    bench.checkpoint_loads()
    bench.goes_on()


@case("memory", gib=(0.5, 1.0, 1.5, 2.0))
def little_from_the_start(bench: Bench, gib: float) -> None:
    """Too little for torch, or for the network: an end at once, not a hang. While torch loads, C++ may end it."""
    outcome = bench.run(fresh=True, journal=False, limits={"RLIMIT_AS": int(gib * GIB)})
    bench.ended(outcome, 0, 1, 2, -signal.SIGABRT, faults=False, lines=60)


@case("memory")
def too_large_a_network(bench: Bench) -> None:
    """A network for which there is no memory: one line, and nothing left behind."""
    outcome = bench.run("network.width=20000", "network.layers=64", "network.expansion=64",
                        fresh=True, journal=False, limits={"RLIMIT_AS": 8 * GIB})  # fmt: skip
    bench.ended(outcome, 2, faults=False)
    bench.expect(not bench.run_dir.exists(), "a run directory is left behind")


@case("clock", shift=(-3600, -(10**9), 3600 * 24 * 365))
def set_in_the_middle(bench: Bench, shift: int) -> None:
    """The wall clock jumps: nothing that is trained or saved depends on it."""
    outcome = bench.run(faults=[{"on": "step", "first": 10, "last": 10, "then": f"clock:{shift}"}])
    bench.ended(outcome, 0, lines=0)
    bench.same()


@case("two")
def begun_at_once(bench: Bench) -> None:
    """Two runs of one name: each in a folder of its own, or the second is refused."""
    stop = {"on": "mkdir", "path": rf"runs/{NAME}$", "then": "stop"}
    twins = [bench.start(f"seed={seed}", faults=[stop]) for seed in range(2)]
    for twin in twins:
        bench.expect(twin.until_stopped(), "never made its folder")
    for twin in twins:
        twin.go_on()
    outcomes = [twin.wait() for twin in twins]
    for outcome in outcomes:
        bench.ended(outcome, 0, 2)
    bench.expect(any(outcome.code == 0 for outcome in outcomes), "neither has run")
    finished = sum(outcome.code == 0 for outcome in outcomes)
    folders = [path for path in sorted((bench.folder / "runs").iterdir()) if (path / "summary.json").exists()]
    bench.expect(len(folders) == finished, f"{finished} ended with 0, but {len(folders)} results are there")
    for folder in folders:
        seed = yaml.safe_load((folder / "config.yaml").read_text())["seed"]
        found = json.loads((folder / "summary.json").read_text())["seed"]
        bench.expect(seed == found, f"{folder.name}: config.yaml is of seed {seed}, the result of seed {found}")


def _held(bench: Bench):
    """A resumed run that stands still just after its first checkpoint."""
    first = bench.start()
    bench.until_steps(first, 15)
    bench.end(first)
    held = bench.start_again(faults=[{"on": "step", "first": 3, "last": 3, "then": "stop"}])
    bench.expect(held.until_stopped(), "never came to its third step")
    return held


@case("two")
def resumed_at_once(bench: Bench) -> None:
    """Two resumes of one run: the second is refused, the first ends as if nothing had been."""
    held = _held(bench)
    second = bench.start_again().wait()
    bench.ended(second, 2, faults=False, what="the second")
    held.go_on()
    bench.ended(held.wait(), 0, what="the first")
    bench.same()


@case("two")
def resumed_while_begun(bench: Bench) -> None:
    """A resume of a run that is still in its first training."""
    held = bench.start(faults=[{"on": "step", "first": 30, "last": 30, "then": "stop"}])
    bench.expect(held.until_stopped(), "never came to its step")
    if (bench.run_dir / "checkpoint/training.pt").exists():
        bench.ended(bench.start_again().wait(), 2, faults=False, what="the second")
    held.go_on()
    bench.ended(held.wait(), 0, what="the first")
    bench.same()


@case("two")
def resumed_after_a_kill(bench: Bench) -> None:
    """A lock dies with its process: after a SIGKILL the run goes on at once."""
    held = _held(bench)
    bench.end(held)
    bench.goes_on()


@case("two", mode="compare")
def comparisons_at_once(bench: Bench) -> None:
    """Two comparisons into one folder: the second is refused."""
    held = bench.start(faults=[{"on": "step", "first": 5, "last": 5, "then": "stop"}])
    bench.expect(held.until_stopped(), "never came to its step")
    bench.ended(bench.run(), 2, faults=False, what="the second")
    held.go_on()
    bench.ended(held.wait(), 0, what="the first")
    bench.same()


@case("two", mode="halt")
def lessons_at_once(bench: Bench) -> None:
    """Two `halt` into one folder: one of them is refused, the other's result is whole."""
    held = bench.start(faults=[{"on": "step", "first": 5, "last": 5, "then": "stop"}])
    bench.expect(held.until_stopped(), "never came to its step")
    second = bench.run()
    held.go_on()
    first = held.wait()
    bench.ended(first, 0, 2, what="the first")
    bench.ended(second, 0, 2, faults=False, what="the second")
    bench.expect({first.code, second.code} == {0, 2}, f"codes {first.code} and {second.code}: both wrote there")
    bench.same()


@case("signals", name=("SIGINT", "SIGTERM", "SIGHUP"))
def in_the_final_evaluation(bench: Bench, name: str) -> None:
    """After the last save, while all test puzzles are measured: the program ends at once, and says how to go on."""
    long = "env.options.test=3000"
    running = bench.start("checkpoint_every_seconds=1000", "evaluation.every_updates=1000", long, "env.max_steps=40")
    at_work = running.until(lambda: running.count("rename") >= 2)
    bench.expect(at_work, "never saved")
    time.sleep(0.3)
    sent = time.monotonic()
    if not running.signal(getattr(signal, name)):
        bench.expect(False, "the evaluation was over before the signal came")
    outcome = running.wait()
    bench.ended(outcome, 130, faults=False)
    bench.expect("--resume" in outcome.err, "it is not said how to go on")
    bench.result.figures["seconds_to_end"] = time.monotonic() - sent


@case("signals", name=("SIGINT", "SIGTERM", "SIGHUP"))
def while_saving(bench: Bench, name: str) -> None:
    """In the middle of a checkpoint: it is finished, and so is the run's interruption."""
    running = bench.start(faults=[{"on": "rename", "path": r"training\.pt", "first": 2, "last": 2, "then": "stop"}])
    bench.expect(running.until_stopped(), "never saved")
    running.signal(getattr(signal, name))
    running.go_on()
    bench.ended(running.wait(), 130)
    bench.goes_on()


@case("signals", mode="halt", name=("SIGINT", "SIGTERM", "SIGHUP"))
def in_halt(bench: Bench, name: str) -> None:
    """While a policy is taught: an end at once, without a traceback; the same command makes all of it."""
    running = bench.start(faults=[{"on": "step", "first": 5, "last": 5, "then": "stop"}])
    bench.expect(running.until_stopped(), "never came to its step")
    running.signal(getattr(signal, name))
    running.go_on()
    number = -getattr(signal, name)
    bench.ended(running.wait(), 130, *(() if name == "SIGINT" else (number,)))
    bench.goes_on()


STREAMS = {
    "output closed": {"stdout": None},
    "errors closed": {"stderr": None},
    "input closed": {"stdin": None},
    "all closed": {"stdin": None, "stdout": None, "stderr": None},
    "output full": {"stdout": "/dev/full"},
    "errors full": {"stderr": "/dev/full"},
}


@case("surroundings", streams=STREAMS)
def train_with(bench: Bench, streams: str) -> None:
    """Nobody reads what training says: it trains all the same."""
    outcome = bench.run(fresh=True, **STREAMS[streams])
    # An output that cannot be written is an error, but not before the result is there.
    bench.ended(outcome, *((0, 2) if "output full" in streams else (0,)), faults=False)
    bench.same()


@case("surroundings", streams=("output closed", "output full"))
def solve_with(bench: Bench, streams: str) -> None:
    """Nobody can read the answer: no traceback."""
    _trained(bench)
    outcome = bench.program("solve", f"runs/{NAME}", "4..2.....4..321.", fresh=True, **STREAMS[streams])
    bench.ended(outcome, 0, 2, faults=False)


@case("surroundings")
def the_reader_leaves(bench: Bench) -> None:
    """As with `| head -1`: no traceback, and the result is there."""
    pipe = bench.folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    running = bench.start(stdout=str(pipe), fresh=True)
    bench.until_steps(running, 5)
    os.close(reader)
    bench.ended(running.wait(), 0, faults=False)
    pipe.unlink()
    bench.same()


HOMES = {
    "unset": {"HOME": None},
    "missing": {"HOME": "/proc/nowhere", "LATENT_RL_CACHE": None, "XDG_CACHE_HOME": None},
    "a file": {"HOME": "/dev/null", "LATENT_RL_CACHE": None, "XDG_CACHE_HOME": None},
}


@case("surroundings", home=HOMES)
def no_home(bench: Bench, home: str) -> None:
    """There is no place for caches: at most a line each says so."""
    environment = {**HOMES[home], "MPLCONFIGDIR": None if home != "unset" else str(bench.folder / "matplotlib")}
    outcome = bench.run(fresh=True, environment=environment)
    bench.ended(outcome, 0, faults=False)
    bench.finished()


C_LOCALE = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": None}


@case("surroundings")
def c_locale(bench: Bench) -> None:
    """ASCII is all that the output takes."""
    outcome = bench.run(fresh=True, environment=C_LOCALE)
    bench.ended(outcome, 0, faults=False, lines=0)
    bench.same()


@case("surroundings")
def c_locale_and_a_file_in_utf8(bench: Bench) -> None:
    """A configuration with a comment in another language is UTF-8 everywhere, and so is a puzzle file."""
    _trained(bench)
    text = "# Größe des Rätsels: 4 × 4\nenv: {id: latent_rl/Sudoku-v0, options: {size: 4}}\nnetwork: {mixer: mlp}\n"
    (bench.folder / "mine.yaml").write_text(text, encoding="utf-8")
    settings = [setting for setting in TINY if "updates" not in setting]
    outcome = bench.program("train", "--config", "mine.yaml", *settings, "budget.updates=2", "name=other",
                            fresh=True, environment=C_LOCALE)  # fmt: skip
    bench.ended(outcome, 0, faults=False)


@case("surroundings")
def c_locale_and_a_name_in_utf8(bench: Bench) -> None:
    """A name beyond ASCII: taken as it is, or refused in one line."""
    outcome = bench.run("name=Rätsel", fresh=True, environment=C_LOCALE)
    bench.ended(outcome, 0, 2, faults=False)
    if outcome.code == 2:
        bench.expect(not list((bench.folder / "runs").glob("*")), "refused, but a folder is left behind")


@case("surroundings", program=("solve", "evaluate", "analyze"))
def c_locale_for(bench: Bench, program: str) -> None:
    """Boards and tables in ASCII."""
    _trained(bench)
    words = {"solve": ["4..2.....4..321."], "evaluate": ["--device", "cpu"], "analyze": ["--device", "cpu"]}[program]
    outcome = bench.program(program, f"runs/{NAME}", *words, fresh=True, environment=C_LOCALE)
    bench.ended(outcome, 0, faults=False, lines=0)


@case("surroundings", setting=("TERM=dumb", "TERM=", "COLUMNS=1", "NO_COLOR=1", "TERM=nonsense"))
def terminal(bench: Bench, setting: str) -> None:
    """A terminal that can do little: training runs, and what it shows is still text."""
    name, _, value = setting.partition("=")
    environment = {"TERM": "xterm", "COLUMNS": "80", name: value}
    outcome = bench.run(terminal=True, fresh=True, environment=environment)
    bench.ended(outcome, 0, faults=False)
    if setting == "TERM=dumb":
        bench.expect("\x1b[" not in outcome.out, "control sequences on a terminal that knows none")
    bench.same()


def _trained(bench: Bench) -> None:
    bench.expect(bench.run().code == 0, "the run before failed")
