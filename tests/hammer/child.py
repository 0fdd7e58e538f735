"""The far side of the hammer: becomes a program of latent_rl, with faults built in. A script, not a module to import.

`python child.py serve` answers requests, one JSON object a line on standard input and one back on standard output:

    {"do": "start", …}           fork a child that becomes a program   -> {"pid": 123}
    {"do": "poll", "pid": 123}   what has become of it                 -> {"stopped": false, "code": null}

A forked child finds torch and the rest imported already: seconds of start-up that most cases need not wait for. With
`"fresh": true` it is a new interpreter, as from a shell. `python child.py become '{…}'` is that, with faults.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import pkgutil
import re
import resource
import runpy
import signal
import sys
import time
from typing import Any

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 24, 1, 2


class Faults:
    """What goes wrong, and when: at the `first` to the `last` event of a kind on a path.

    A fault is `{"on": KIND, "path": REGEX, "first": 1, "last": 1, "then": ACTION}`; `last` is `first` unless given.
    Kinds: `open` (for writing), `mkdir`, `rename` (by its target), `remove`, `fsync`, and `step` (of an optimizer).
    Actions: `stop` (SIGSTOP, so that the hammer can do something just then), `errno:ENOSPC`, `limit:N` (no file grows
    beyond N bytes: a full disk in the middle of a write), `die:N` (the same, but the kernel kills the program there),
    `clock:S` (wall clock set by S seconds), `memory:N` (only N bytes more than now). A limit is lifted by the first
    event past `last`.
    """

    def __init__(self, faults: list[dict[str, Any]], journal: str | None) -> None:
        self._faults = [
            {"path": "", "first": 1, "last": fault.get("first", 1), "count": 0, **fault} for fault in faults
        ]
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if journal else None
        self._acting = False

    def install(self) -> None:
        """From now on. Python's own audit events are watched, so it does not matter who opens a file, or how."""
        self.note("start")
        sys.addaudithook(self._audit)
        self._wrap_fsync()
        if self._journal is not None or any(fault["on"] == "step" for fault in self._faults):
            self._watch_torch()

    def note(self, text: str) -> None:
        if self._journal is not None:
            os.write(self._journal, f"{time.monotonic():.4f} {text}\n".encode())

    def happens(self, kind: str, path: Any = "") -> None:
        """An event: act on it if a fault says so."""
        if self._acting or not isinstance(path, str | bytes | os.PathLike):
            return
        path = os.fsdecode(path)
        self._acting = True
        try:
            if kind in ("rename", "step"):
                self.note(f"{kind} {path}")
            for fault in self._faults:
                if fault["on"] == kind and re.search(fault["path"], path):
                    fault["count"] += 1
                    if fault["first"] <= fault["count"] <= fault["last"]:
                        self.note(f"fault {fault['then']} {path}")
                        self._act(fault["then"])
                    elif fault["then"].startswith("limit") and fault["count"] > fault["last"]:
                        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
                        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        finally:
            self._acting = False

    def _act(self, action: str) -> None:
        verb, _, value = action.partition(":")
        if verb == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif verb == "errno":
            number = getattr(errno, value)
            raise OSError(number, os.strerror(number))
        elif verb in ("limit", "die"):
            # Python ignores SIGXFSZ, so that a write beyond the limit fails; by default it ends the process.
            if verb == "die":
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(value), most))
        elif verb == "clock":
            real, shift = time.time, float(value)
            time.time = lambda: real() + shift
        elif verb == "memory":
            with open("/proc/self/statm") as file:
                used = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + int(value), used + int(value)))
        else:
            raise ValueError(f"no such action: {action}")

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR):
                self.happens("open", path)
        elif event == "os.rename":
            self.happens("rename", arguments[1])
        elif event in ("os.mkdir", "os.remove"):
            self.happens(event.removeprefix("os."), arguments[0])

    def _wrap_fsync(self) -> None:
        fsync = os.fsync

        def fails(file: Any) -> None:
            number = file if isinstance(file, int) else file.fileno()
            self.happens("fsync", os.readlink(f"/proc/self/fd/{number}"))
            fsync(file)

        os.fsync = fails

    def _watch_torch(self) -> None:
        import torch
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(lambda *_: self.happens("step"))
        save = torch.save

        def open_and_save(content: Any, file: Any, *more: Any, **named: Any) -> None:
            # Given a path, torch opens the file in C++, where Python audits nothing.
            self.happens("open", file)
            save(content, file, *more, **named)

        torch.save = open_and_save


def preload() -> None:
    """Import all that the programs import, but not the programs themselves: they are to run as `__main__`."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import latent_rl

    for module in pkgutil.walk_packages(latent_rl.__path__, "latent_rl."):
        if module.ispkg or module.name.count(".") > 1:
            importlib.import_module(module.name)
    # Late imports of theirs.
    for name in ("mlflow", "mlflow.store.tracking.sqlalchemy_store", "matplotlib.pyplot", "rich.progress"):
        importlib.import_module(name)


def serve() -> dict[str, Any] | None:
    """Answer requests until standard input ends; in a forked child, return its request instead."""
    loaded = False
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            if not request["fresh"] and not loaded:
                preload()
                loaded = True
            pid = os.fork()
            if pid == 0:
                return request
            answer: dict[str, Any] = {"pid": pid}
        else:
            found, status = os.waitpid(request["pid"], os.WNOHANG | os.WUNTRACED)
            stopped = bool(found) and os.WIFSTOPPED(status)
            code = None if stopped or not found else os.waitstatus_to_exitcode(status)
            answer = {"stopped": stopped, "code": code}
        print(json.dumps(answer), flush=True)
    return None


def become(request: dict[str, Any]) -> None:
    """Turn into the program that a request names, in its folder, with its environment, files and limits."""
    # Nothing outlives the hammer, not even what stands still.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.chdir(request["folder"])
    for name, value in request["environment"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    # Not as the hammer was started: after `nohup`, or in the background of a script, signals would not be felt.
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in request["ignore"]:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    redirect(request)
    for name, limit in request["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    program, arguments = f"latent_rl.{request['program']}", request["arguments"]
    if request["fresh"]:
        if request["bound"]:
            # Root may write where it must not; without these, after exec, a read-only folder is one for root as well.
            for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
                ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        if request["faults"] or request["journal"]:
            later = {**request, "fresh": False, "environment": {}, "limits": {}, "files": None}
            os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), "become", json.dumps(later)])
        os.execv(sys.executable, [sys.executable, "-m", program, *arguments])
    Faults(request["faults"], request["journal"]).install()
    sys.argv = [program, *arguments]
    sys.path.insert(0, os.getcwd())  # as with `python -m`
    runpy.run_module(program, run_name="__main__", alter_sys=True)


def redirect(request: dict[str, Any]) -> None:
    """Standard input, output and error: files, a terminal, or closed (None)."""
    files = request["files"]
    if files is None:
        return
    if request["terminal"]:
        os.setsid()
    for number, name in enumerate(files):
        if name is None:
            os.close(number)
            continue
        flags = os.O_RDONLY if number == 0 else os.O_RDWR if request["terminal"] else os.O_WRONLY | os.O_APPEND
        opened = os.open(name, flags | os.O_CREAT if number and name.startswith(request["folder"]) else flags, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    if not request["fresh"]:
        # The forked interpreter's own objects still belong to the server's: make them anew, as at its start.
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            stream = None
            if files[number] is not None:
                stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    # The modules beside this script are the hammer's own, and have common names.
    del sys.path[0]
    wanted = serve() if sys.argv[1] == "serve" else json.loads(sys.argv[2])
    if wanted is not None:
        become(wanted)
