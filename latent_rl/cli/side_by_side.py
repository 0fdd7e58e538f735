"""Trainings side by side, each in a process of its own, that are stopped together and lose nothing by it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TextIO

from latent_rl.envs import PuzzleError
from latent_rl.errors import UserError

STOPPED = 130
"""Exit code of a run that was told to stop, and saved."""

Task = tuple[str, Callable[..., object], tuple[Any, ...]]
"""What a process does: its name, put in front of every line that it says, a function of a module, and arguments."""


def side_by_side(tasks: Sequence[Task], jobs: int, done: Callable[[str], object]) -> None:
    """Do all tasks, up to `jobs` at a time, each in a process with one thread.

    A signal to this program is passed on to each of them, which save; so do they if this program dies.

    Args:
        tasks: in the order in which they begin.
        jobs: processes at a time.
        done: called here after each with its name.

    Raises:
        UserError: what one of them has raised, when all that were at work have saved.
        KeyboardInterrupt: after a signal, when all have saved.
    """
    from latent_rl.training import Interruption  # late, because torch takes seconds to load

    waiting, running = list(tasks), {}
    reason: str | None = None
    passed_on = False
    with Interruption() as interruption:
        try:
            while running or (waiting and not passed_on):
                while waiting and len(running) < jobs and not passed_on:
                    name, *work = waiting.pop(0)
                    running[name] = _start(name, *work)
                if (interruption.requested or reason is not None) and not passed_on:
                    passed_on = True
                    for process, _ in running.values():
                        os.kill(process.pid, signal.SIGINT)
                wait([process.sentinel for process, _ in running.values()], timeout=0.2)
                for name in [name for name, (process, _) in running.items() if not process.is_alive()]:
                    process, connection = running.pop(name)
                    problem = _problem(process, connection)
                    if problem is None:
                        done(name)
                    elif problem:
                        reason = reason or f"{name}: {problem}"
        finally:
            for process, _ in running.values():
                process.terminate()
    if reason is not None:
        raise UserError(reason)
    if interruption.requested:
        raise KeyboardInterrupt


def _start(name: str, function: Callable[..., object], arguments: tuple[Any, ...]) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        process = context.Process(target=_work, args=(name, theirs, function, arguments), name=name)
        process.start()
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads
    theirs.close()
    return process, ours


def _problem(process: BaseProcess, connection: Connection) -> str | None:
    """Why a process that has ended did not finish; None if it did, empty if it was stopped."""
    process.join()
    message = ""
    with suppress(EOFError), connection:
        message = connection.recv()
    if process.exitcode == 0:
        return None
    return "" if process.exitcode == STOPPED else message or f"ended with code {process.exitcode}"


def _work(name: str, connection: Connection, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """What a process does: in a group of its own, so that a Ctrl-C reaches it once, from the program that began it."""
    try:
        if hasattr(os, "setpgrp"):
            os.setpgrp()
        sys.stderr = sys.stdout = _Named(sys.stderr, name)
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        function(*arguments)
    except KeyboardInterrupt:
        raise SystemExit(STOPPED) from None
    except (UserError, PuzzleError) as error:
        connection.send(str(error))
        raise SystemExit(2) from None


def _stop_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGINT)


class _Named:
    """A stream that puts a name in front of every line, and is no terminal."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name, self._line = stream, name, ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._stream.write(f"{self._name}: {line}\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
