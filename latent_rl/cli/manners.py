"""Manners that all command-line programs share: one line for a user's mistake, exit codes, JSON for machines."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from latent_rl.envs import PuzzleError
from latent_rl.errors import UserError, nearest

# torchrl's optional C++ extension does not load with every torch; nothing here uses it.
warnings.filterwarnings("ignore", message=r".*Failed to import torchrl C\+\+ binaries.*")


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

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2 and one line."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            message = f"unknown option {unknown}{nearest(unknown.split('=')[0], self._option_string_actions)}"
        fail(f"{message} (see {self.prog} --help)")


def fail(message: str) -> NoReturn:
    """Say what is wrong in one line and leave with exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def run_program(program: Callable[[], None]) -> None:
    """Run a program; a user's mistake becomes one line and exit code 2, an interruption exit code 130."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        program()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of our output left, for instance `| head`.
        sys.stderr.close()
    except Exception as error:
        if not isinstance(error, UserError | PuzzleError):
            raise
        fail(str(error))


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write the machine-readable result where `--json` asked for it; `-` is standard output."""
    if path is None:
        return
    text = json.dumps(content, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
