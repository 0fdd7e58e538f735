"""Runs a case in a forked child with a folder of its own, where it can neither hang nor eat the machine's memory."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pkgutil
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.figure
from tables.case import PROGRAMS, Case, Material

import latent_rl

CPU_SECONDS = {"refused": 5, "accepted": 60, "either": 10}
"""Processor seconds of a child: unlike the clock, they do not depend on what else the machine does."""

WALL_SECONDS = {"refused": 120.0, "accepted": 400.0, "either": 150.0}
"""For a child that sleeps. Much longer than it needs: on a busy machine a second of work takes ten."""

START_UP_SECONDS = 8
"""Added for a case that starts an interpreter and imports torch."""

MEMORY = 4 * 2**30
"""Bytes of address space on top of what the imported libraries have mapped already."""

LARGEST_FILE = 256 * 2**20


@dataclass(frozen=True)
class Outcome:
    """What a program did.

    Attributes:
        code: its exit code, or minus the signal that ended it.
        out, err: what it wrote, undecodable bytes escaped, with its folder's path taken out.
        seconds: processor time between start and end of the program; None if it was killed or started as a process.
        killed: whether it ran into a limit of time.
        changed: files and folders that it made, changed or removed, by their path.
        harmless: the answer of `Case.harmless`; None if it was not asked.
    """

    code: int
    out: str
    err: str
    seconds: float | None
    killed: bool = False
    changed: tuple[str, ...] = ()
    harmless: bool | None = None


def load_programs() -> None:
    """Import everything that the programs import late, so that a forked child starts at once."""
    os.environ.setdefault("MPLBACKEND", "agg")
    for name in PROGRAMS:
        importlib.import_module(f"latent_rl.{name}")
    for module in pkgutil.walk_packages(latent_rl.__path__, "latent_rl."):
        if module.ispkg or module.name.count(".") > 1:
            importlib.import_module(module.name)


@dataclass
class _Running:
    case: Case
    number: int
    pid: int
    room: Path
    since: float = field(default_factory=time.monotonic)
    reaped: bool = False


def run_cases(
    cases: Sequence[Case],
    material: Material,
    workplace: Path,
    *,
    processes: int = 2,
    main: Callable[[str], Callable[[list[str]], None]] | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Run all cases, `processes` at a time; gives (number of the case, outcome) in the order of their ends.

    Args:
        cases: what to run.
        material: what they start from.
        workplace: an empty folder; what a case leaves is removed with it.
        processes: how many at a time.
        main: the `main` of a program by its name; default: the real ones, which `load_programs` must have imported.
    """
    # Not through a link: the path is taken out of messages.
    workplace = workplace.resolve()
    waiting = list(enumerate(cases))[::-1]
    running: list[_Running] = []
    try:
        yield from _run(waiting, running, material, workplace, processes, main or _main_of)
    finally:
        for one in running:
            if not one.reaped:
                os.killpg(one.pid, signal.SIGKILL)
                os.waitpid(one.pid, 0)


def _run(
    waiting: list[tuple[int, Case]],
    running: list[_Running],
    material: Material,
    workplace: Path,
    processes: int,
    main: Callable[[str], Callable[[list[str]], None]],
) -> Iterator[tuple[int, Outcome]]:
    while waiting or running:
        while waiting and len(running) < processes:
            number, case = waiting.pop()
            room = workplace / str(number)
            # Some folders deep: a path that climbs out of the working folder is still seen.
            (room / "a" / "b" / "here").mkdir(parents=True)
            pid = os.fork()
            if pid == 0:
                _child(case, room, material, main)
            with suppress(PermissionError):  # the child did it itself, and is another program already
                os.setpgid(pid, pid)
            running.append(_Running(case, number, pid, room))
        for one in list(running):
            if (outcome := _ended(one)) is not None:
                running.remove(one)
                shutil.rmtree(one.room)
                for file in workplace.glob(f"{one.number}.*"):
                    file.unlink()
                yield one.number, outcome
        time.sleep(0.002)


def _main_of(program: str) -> Callable[[list[str]], None]:
    return sys.modules[f"latent_rl.{program}"].main


def _child(case: Case, room: Path, material: Material, main: Callable[[str], Callable[[list[str]], None]]) -> None:
    """Become the program; never returns."""
    code = 70
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        folder = room / "a" / "b" / "here"
        os.chdir(folder)
        for name, mode in (("out", os.O_WRONLY), ("err", os.O_WRONLY)):
            handle = os.open(f"{room}.{name}", mode | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, {"out": 1, "err": 2}[name])
        Path(f"{room}.in").write_bytes(case.stdin)
        os.dup2(os.open(f"{room}.in", os.O_RDONLY), 0)
        if case.prepare is not None:
            case.prepare(folder, material)
        Path(f"{room}.before").write_text(json.dumps(_snapshot(room)))
        cpu = CPU_SECONDS[case.expected] + (START_UP_SECONDS if case.real else 0) + int(time.process_time()) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
        arguments = [argument.replace("{room}", str(room)) for argument in case.arguments]
        if case.real:
            command = [sys.executable, "-m", f"latent_rl.{case.program}", *arguments]
            os.execv(sys.executable, command)
        if case.program == "train" and case.expected != "accepted":
            # A bad setting that got as far as the figures was accepted; drawing them is most of a short training.
            matplotlib.figure.Figure.savefig = lambda figure, path, **_: Path(path).touch()
        sys.path[0] = ""  # as `python -m` has it: the folder that one works in
        sys.argv = [f"latent_rl.{case.program}", *arguments]
        sys.stdin = open(0, encoding="utf-8", closefd=False)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
        started = time.process_time()
        code = _exit_code(arguments, main(case.program))
        seconds = time.process_time() - started
        sys.stdout.flush()
        result: dict[str, object] = {"seconds": seconds}
        if code == 0 and case.harmless is not None:
            result["harmless"] = case.harmless(folder, material)
        Path(f"{room}.result").write_text(json.dumps(result))
    except BaseException:
        traceback.print_exc(file=open(f"{room}.fault", "w"))
    finally:
        os._exit(code)


def _exit_code(arguments: list[str], main: Callable[[list[str]], None]) -> int:
    """Run the program as its module would, and end as the interpreter does."""
    from latent_rl import cli

    try:
        cli.run_program(lambda: main(arguments))
    except SystemExit as exit:
        if exit.code is None or isinstance(exit.code, int):
            return exit.code or 0
        print(exit.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _ended(one: _Running) -> Outcome | None:
    pid, status, _ = os.wait4(one.pid, os.WNOHANG)
    killed = False
    if pid == 0:
        patience = WALL_SECONDS[one.case.expected] + (4 * START_UP_SECONDS if one.case.real else 0)
        if time.monotonic() - one.since < patience:
            return None
        os.killpg(one.pid, signal.SIGKILL)
        _, status, _ = os.wait4(one.pid, 0)
        killed = True
    one.reaped = True
    try:
        os.killpg(one.pid, signal.SIGKILL)  # what the program may have started
    except ProcessLookupError:
        pass  # the usual end: it left nothing running
    fault = Path(f"{one.room}.fault")
    before = Path(f"{one.room}.before")
    if fault.exists() or not before.exists():
        why = fault.read_text() if fault.exists() else f"the child ended with {status} before it began"
        raise RuntimeError(f"the case {one.case.area}: {one.case.name} is broken itself:\n{why}")
    code = os.waitstatus_to_exitcode(status)
    killed = killed or -code in (signal.SIGXCPU, signal.SIGKILL)
    result_file = Path(f"{one.room}.result")
    result = json.loads(result_file.read_text()) if result_file.exists() else {}
    old, new = json.loads(before.read_text()), _snapshot(one.room)
    changed = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    out, err = (_text(Path(f"{one.room}.{name}"), one.room) for name in ("out", "err"))
    return Outcome(code, out, err, result.get("seconds"), killed, tuple(changed), result.get("harmless"))


def _text(file: Path, room: Path) -> str:
    text = file.read_bytes()[: 2**20].decode(errors="backslashreplace")
    return text.replace(f"{room}/a/b/here/", "").replace(str(room), "")


def _snapshot(room: Path) -> dict[str, str]:
    """Everything under a folder: the content of files, the names of folders."""
    found = {}
    for folder, folders, files in os.walk(room):
        for name in folders:
            found[os.path.relpath(os.path.join(folder, name), room) + "/"] = ""
        for name in files:
            path = os.path.join(folder, name)
            content = b"" if os.path.islink(path) or not os.path.isfile(path) else Path(path).read_bytes()
            # Surrogates stand for bytes that are no UTF-8; JSON keeps them.
            found[os.path.relpath(path, room)] = hashlib.sha256(content).hexdigest()
    return found
