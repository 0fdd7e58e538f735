"""Starting the programs, watching them, and telling what became of them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("child.py")
LIMIT_SECONDS = 300.0
"""Nothing that the hammer starts takes a twentieth of that on an idle machine; what takes longer hangs."""

_LOOK_EVERY_SECONDS = 0.01


@dataclass(frozen=True)
class Outcome:
    """What became of a program.

    Attributes:
        code: its exit code, negative for the signal that ended it; None if it had to be killed after `LIMIT_SECONDS`.
        out, err: what it wrote.
        seconds: how long it took, from its start.
        journal: (monotonic seconds, what) of every optimizer step, renamed file and fault.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    journal: list[tuple[float, str]]

    @property
    def faults(self) -> int:
        """Faults that happened."""
        return sum(what.startswith("fault") for _, what in self.journal)

    def last_line(self) -> str:
        """The last thing that it said, for reports."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1][:200] if lines else "(nothing said)"


class Running:
    """A program at work."""

    def __init__(
        self, stable: Stable, pid: int, files: Sequence[Path | None], journal: Path | None, terminal: int | None
    ) -> None:
        self.pid = pid
        self._stable = stable
        self._out, self._err = files
        self._journal = journal
        self._terminal = terminal
        self._shown = b""
        self._started = time.monotonic()
        self._ended: float | None = None
        self._code: int | None = None
        self.stopped = False

    @property
    def journal(self) -> list[tuple[float, str]]:
        if self._journal is None or not self._journal.exists():
            return []
        lines = (line.split(" ", 1) for line in self._journal.read_text().splitlines())
        return [(float(moment), what) for moment, what in lines]

    def count(self, what: str) -> int:
        """Entries of the journal that begin so."""
        return sum(entry.startswith(what) for _, entry in self.journal)

    @property
    def alive(self) -> bool:
        """Whether it still runs, or stands still; looks again."""
        if self._ended is None:
            found = self._stable.ask({"do": "poll", "pid": self.pid})
            self.stopped = self.stopped or found["stopped"]
            if found["code"] is not None:
                self._ended, self._code = time.monotonic(), found["code"]
            self._read_terminal()
        return self._ended is None

    def until(self, condition: Callable[[], bool], limit: float = LIMIT_SECONDS) -> bool:
        """Wait for something to become true; False if the program ended first, or after `limit` seconds."""
        end = time.monotonic() + limit
        while self.alive and time.monotonic() < end:
            if condition():
                return True
            time.sleep(_LOOK_EVERY_SECONDS)
        return condition()

    def until_stopped(self) -> bool:
        """Wait until a fault makes it stand still."""
        return self.until(lambda: self.stopped) and self._ended is None

    def go_on(self) -> None:
        """After `until_stopped`."""
        self.stopped = False
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> bool:
        """Send a signal; False if it ended before."""
        if not self.alive:
            return False
        os.kill(self.pid, number)
        return True

    def wait(self, limit: float = LIMIT_SECONDS) -> Outcome:
        """Wait for the end; it is killed after `limit` seconds."""
        end = time.monotonic() + limit
        while self.alive and time.monotonic() < end:
            time.sleep(_LOOK_EVERY_SECONDS)
        hangs = self._ended is None
        while self.alive:
            os.kill(self.pid, signal.SIGKILL)
            time.sleep(_LOOK_EVERY_SECONDS)
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None
        out, err = (file.read_text(errors="replace") if file is not None else "" for file in (self._out, self._err))
        return Outcome(
            code=None if hangs else self._code,
            out=out + self._shown.decode(errors="replace"),
            err=err,
            seconds=self._ended - self._started,
            journal=self.journal,
        )

    def _read_terminal(self) -> None:
        while self._terminal is not None and select.select([self._terminal], [], [], 0)[0]:
            try:
                self._shown += os.read(self._terminal, 65536)
            except OSError:  # the other side is closed: all has been read
                return


class Stable:
    """Starts programs from a server that has imported already what they import; the block's end kills what still runs.

    Args:
        scratch: folder for the puzzle cache that all share, and for what the programs say.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._numbers = count()
        self._pids: list[int] = []

    def __enter__(self) -> Stable:
        self.scratch.mkdir(parents=True, exist_ok=True)
        self._server = subprocess.Popen(
            [sys.executable, CHILD, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.scratch / "server.err").open("w"),
            text=True,
            env={**own_environment(), **self.environment()},
        )
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._pids:
            # Those that were waited for are gone, and their number is not given again so soon.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.stdin.close()
        self._server.wait(LIMIT_SECONDS)
        self._server.stdout.close()

    def environment(self) -> dict[str, str]:
        """What every program finds set."""
        return {
            "OMP_NUM_THREADS": "1",
            "LATENT_RL_CACHE": str(self.scratch / "cache"),
            "MPLCONFIGDIR": str(self.scratch / "matplotlib"),
        }

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """A request to the server, and its answer; see `child.py`."""
        try:
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            answer = json.loads(self._server.stdout.readline())
        except (OSError, ValueError) as error:
            said = (self.scratch / "server.err").read_text().strip()
            raise RuntimeError(f"the server of programs is gone ({error}): {said}") from None
        if answer.get("code") is not None:
            self._pids.remove(request["pid"])
        return answer

    def start(
        self,
        folder: Path,
        program: str,
        *arguments: object,
        faults: Sequence[Mapping[str, Any]] = (),
        fresh: bool = False,
        bound: bool = False,
        journal: bool = True,
        environment: Mapping[str, str | None] | None = None,
        limits: Mapping[str, int] | None = None,
        ignore: Sequence[str] = (),
        stdin: str | None = "/dev/null",
        stdout: str | None = "",
        stderr: str | None = "",
        terminal: bool = False,
    ) -> Running:
        """Start `python -m latent_rl.<program>` in a folder.

        Args:
            faults: see `child.Faults`.
            fresh: as a new interpreter.
            bound: as root who is bound by the permissions of files (needs `fresh`).
            journal: keep one, see `Outcome`; costs a fresh interpreter the import of torch before all else.
            environment: changes; None unsets.
            limits: of resources, such as `RLIMIT_AS`.
            ignore: signals that it finds ignored, as after `nohup`.
            stdin, stdout, stderr: files; None is closed, empty one that `Outcome` returns.
            terminal: all three are a terminal, and `Outcome.out` is what it showed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        number = next(self._numbers)
        master, slave = pty.openpty() if terminal else (None, None)
        kept = [None if terminal or name != "" else self.scratch / f"{number}.{kind}"
                for kind, name in (("out", stdout), ("err", stderr))]  # fmt: skip
        for file in kept:
            if file is not None:
                file.touch()
        files = [
            stdin,
            *(str(file) if file is not None else name for file, name in zip(kept, (stdout, stderr), strict=True)),
        ]
        notes = self.scratch / f"{number}.journal" if journal else None
        answer = self.ask(
            {
                "do": "start",
                "folder": str(folder),
                "program": program,
                "arguments": [str(argument) for argument in arguments],
                "faults": [dict(fault) for fault in faults],
                "fresh": fresh,
                "bound": bound,
                "journal": None if notes is None else str(notes),
                "environment": dict(environment or {}),
                "limits": dict(limits or {}),
                "ignore": list(ignore),
                "files": [os.ttyname(slave)] * 3 if terminal else files,
                "terminal": terminal,
            }
        )
        self._pids.append(answer["pid"])
        running = Running(self, answer["pid"], kept, notes, master)
        if slave is not None:
            # The last to close it would hang up on a program that has not opened it yet.
            running.until(lambda: running.count("start") > 0 or not journal)
            os.close(slave)
        return running

    def run(self, folder: Path, program: str, *arguments: object, limit: float = LIMIT_SECONDS, **how: Any) -> Outcome:
        """`start`, and wait for the end."""
        return self.start(folder, program, *arguments, **how).wait(limit)


def own_environment() -> dict[str, str]:
    """This process's environment without what a test run adds: `tests/latent_rl` on the path hides the package."""
    dropped = ("PYTHONPATH", "PYTEST_CURRENT_TEST", "COLUMNS", "LINES", "FORCE_COLOR")
    return {name: value for name, value in os.environ.items() if name not in dropped}
