"""Manners that all command-line programs share: one line for a user's mistake, exit codes, JSON for machines."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from latent_rl.envs import PuzzleError
from latent_rl.errors import UserError, brief, nearest
from latent_rl.reporting.files import check_animation, check_file, check_folder, write

# torchrl's optional C++ extension does not load with every torch; nothing here uses it.
warnings.filterwarnings("ignore", message=r".*Failed to import torchrl C\+\+ binaries.*")
# torch warns of a file that it then refuses, which is told in one line of our own.
warnings.filterwarnings("ignore", module=r"torch\._weights_only_unpickler")

TIME_TO_SAY = 3.0
"""Seconds that another process of a team waits before it ends: `torchrun` then ends the first, which says why."""

LONGEST_MESSAGE = 290
"""Characters of a message, which with `error: ` in front is a line of 300; of a longer one the middle is left out."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line that names the nearest option."""

    def __init__(self, program: str, description: str, example: str) -> None:
        super().__init__(
            prog=f"python -m latent_rl.{program}",
            description=description,
            epilog=f"example:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:
        """Parse, with options and `key=value` arguments in any order."""
        return self.parse_intermixed_args(args, namespace)

    def check_range(self, option: str, value: float | None, least: float, most: float) -> None:
        """Leave with an error unless the value of an option, if it was given, lies between two numbers."""
        if value is not None and not least <= value <= most:
            bound = f"at most {_whole(most)}" if value > most else f"at least {_whole(least)}"
            self.error(f"{option} must be {bound}, got {_whole(value)}")

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2 and one line."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            message = f"unknown option {unknown}{nearest(unknown.split('=')[0], self._option_string_actions)}"
        fail(f"{message} (see {self.prog} --help)")


def _whole(number: float) -> str:
    """A number as people write it: a whole one with all its digits, as long as it fits into a message."""
    return brief(int(number) if number % 1 == 0 else number)


def is_first() -> bool:
    """Whether this is the process that shows and writes: of those that `torchrun` starts, the first."""
    return os.environ.get("RANK", "0") == "0"


def fail(message: str) -> NoReturn:
    """Say what is wrong in one line and leave with exit code 2.

    Of several processes the first says it, whereupon `torchrun` ends the others. One that is still there after a while
    has a mistake of its own, such as a file that its machine lacks.
    """
    if is_first():
        print(f"error: {one_line(message)}", file=sys.stderr)
    else:
        time.sleep(TIME_TO_SAY)
        print(f"error: rank {os.environ['RANK']}: {one_line(message)}", file=sys.stderr)
    raise SystemExit(2)


def warn(message: str) -> None:
    """Say in one line what a user may have meant otherwise, and go on."""
    if is_first():
        print(f"warning: {one_line(message)}", file=sys.stderr)


def one_line(message: str) -> str:
    """A message without line breaks and control characters, at most `LONGEST_MESSAGE` characters."""
    line = " ".join(message.split())
    if len(line) > LONGEST_MESSAGE:
        # What is wrong stands in front, what would be right at the end; what a user gave, in the middle.
        half = LONGEST_MESSAGE // 2
        line = f"{line[: half - 3]} ... {line[len(line) - half + 2 :]}"
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)


def run_program(program: Callable[[], None]) -> None:
    """Run a program; a user's mistake becomes one line and exit code 2, an interruption exit code 130.

    A reader of our output who left, as `| head` does, is no mistake: the program ends quietly with exit code 0. What
    standard error cannot take, on a full disk say, is lost, and the work goes on.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed before we were started
            setattr(sys, name, open(os.devnull, "w"))
    told, sys.stderr = sys.stderr, _Forgiving(sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        _run(program)
    finally:
        sys.stderr = told
        _drop_unwritten(told)


def _run(program: Callable[[], None]) -> None:
    try:
        program()
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except SystemExit as leaving:
        # What rich makes of a broken pipe.
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        _drop_output()
    except BrokenPipeError:
        _drop_output()
    except Exception as error:
        if isinstance(error, UserError | PuzzleError):
            fail(str(error))
        if _is_out_of_memory(error):
            fail("out of memory: a smaller network.width, collector.num_envs or evaluation.batch_size needs less")
        # Files are named by those who write them; without a name, it is what we print that does not fit.
        if not isinstance(error, OSError) or error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _drop_output()
        fail(f"cannot write to standard output: {error.strerror}")


def _drop_output() -> None:
    """What is still to be printed goes nowhere, where it cannot be: Python would try again, and fail, at its end."""
    _drop_unwritten(sys.stdout)


def _drop_unwritten(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Forgiving:
    """A stream that loses what cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def json_file(text: str) -> Path:
    """The type of `--json`: a file that can be written, found out before the work begins, or `-` for the screen."""
    if text != "-":
        check_file(Path(text))
    return Path(text)


def figure_file(text: str) -> Path:
    """The type of options that name a figure's file; it can be written, in a format that matplotlib knows."""
    from latent_rl.reporting.style import check_figure

    check_figure(Path(text))
    return Path(text)


def animation_file(text: str) -> Path:
    """The type of `--gif`."""
    check_animation(Path(text))
    return Path(text)


def submission_file(text: str) -> Path:
    """The type of `--submission`."""
    check_file(Path(text), "the submission ")
    return Path(text)


def output_folder(text: str) -> Path:
    """The type of `--out`: a folder that can be written or made."""
    check_folder(Path(text))
    return Path(text)


def _is_out_of_memory(error: Exception) -> bool:
    # PyTorch has a type of its own for accelerators only; of the CPU's allocator there is but the message.
    words = ("can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(one in str(error) for one in words)
    )


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write the machine-readable result where `--json` asked for it; `-` is standard output."""
    if path is None:
        return
    text = json.dumps(content, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    write(path, text)
