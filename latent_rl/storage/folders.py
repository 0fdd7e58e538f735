"""Run directories and other folders of results: claimed by one program, held while it works there, and swept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from latent_rl.errors import UserError
from latent_rl.storage.files import NEW

LOCK_FILE = ".lock"

LEFTOVERS = (f".*{NEW}", f".*{NEW}.*", f"*.json{NEW}", f"*.md{NEW}", ".model.pt.*", ".training.pt.*")
"""Names of files that a kill has cut off in writing, figures too, in this version and in earlier ones."""


@contextmanager
def claim(first: Path) -> Iterator[Path]:
    """Make a folder that nobody has, `first` or else `first-2`, `first-3`, …, and hold it inside the block.

    Two programs that begin together never get the same one: making it is what decides.

    Raises:
        UserError: if it cannot be made.
    """
    folder, number = first, 2
    above = _missing_above(first)
    try:
        first.parent.mkdir(parents=True, exist_ok=True)
        while not _made(folder):
            folder, number = first.with_name(f"{first.name}-{number}"), number + 1
    except OSError as error:
        raise UserError(f"run directory {folder} cannot be written: {error.strerror}") from None
    with _held(folder):
        try:
            yield folder
        finally:
            _give_back(folder, above)


@contextmanager
def hold(folder: Path) -> Iterator[Path]:
    """Hold a folder, made if need be, inside the block: whoever else asks for it meanwhile is refused.

    The lock is the operating system's and dies with its process, however that ends.

    Raises:
        UserError: if another program holds it, or it cannot be written.
    """
    above = _missing_above(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = _made(folder)
    except OSError as error:
        raise UserError(f"run directory {folder} cannot be written: {error.strerror}") from None
    with _held(folder):
        try:
            yield folder
        finally:
            if made:
                _give_back(folder, above)


def _made(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    except UnicodeEncodeError as error:
        raise UserError(
            f"run directory {ascii(str(folder))}: file names are {error.encoding} here; choose another name, or set "
            "LC_ALL=C.UTF-8"
        ) from None
    return True


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
        _sweep(folder)
    except Timeout:
        raise UserError(f"{folder} is in use by another program: wait until that has ended, or end it") from None
    except OSError as error:
        lock.release()
        raise UserError(f"run directory {folder} cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def _sweep(folder: Path) -> None:
    for place in (folder, folder / "checkpoint", folder / "figures"):
        for pattern in LEFTOVERS:
            for leftover in place.glob(pattern):
                if leftover.is_symlink() or leftover.is_file():
                    leftover.unlink()


def _missing_above(folder: Path) -> list[Path]:
    """The folders over it that are not there yet, the innermost first."""
    return [one for one in folder.parents if not os.path.lexists(one)]


def _give_back(folder: Path, above: Sequence[Path]) -> None:
    """Remove a folder in which nothing was left but the lock: what was refused leaves nothing behind.

    Nor does it leave the folders `above` that were made for it, as far as they are empty.
    """
    with suppress(OSError):
        if os.listdir(folder) == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
            for one in (folder, *above):
                one.rmdir()
