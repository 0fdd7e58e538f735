"""Folders and files that programs are asked to write: looked at before the work begins, and written whole or not."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latent_rl.errors import UserError


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there; called before the work begins, so that a wrong one costs no waiting.

    Raises:
        UserError: if it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _try_folder(folder)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None


def check_folder(folder: Path) -> None:
    """Raise `UserError` if `make_folder` would; makes nothing."""
    try:
        there = next(one for one in (folder, *folder.absolute().parents) if _exists(one))
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{there} is no folder")
        _try_folder(there)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None


def check_file(path: Path, what: str = "") -> None:
    """Find out whether a file can be written, before the work that it is for; it is neither made nor changed.

    Args:
        path: the file.
        what: what it is, for the message, such as `"the figure "`.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _exists(path) and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if _is_replaced(path):
            _try_folder(Path(os.path.realpath(path)).parent)
    except OSError as error:
        raise UserError(f"cannot write {what}{path}: {error.strerror}") from None


def check_animation(path: Path) -> None:
    """As `check_file`; the name must also end in `.gif`."""
    if path.suffix.lower() != ".gif":
        raise UserError(f"cannot write the animation {path}: its name must end in .gif")
    check_file(path, "the animation ")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Another path, with the same ending, to write to: it takes the place of `path` once the block ends well.

    Until then `path` stays as it is, and a reader never sees half of it. Devices and pipes are written to as they are.

    Raises:
        OSError: if it cannot be put there.
    """
    if not _is_replaced(path):
        yield path
        return
    # A link stays a link, and what it leads to is replaced.
    target = Path(os.path.realpath(path))
    # Not by `tempfile`, whose files are for their owner alone: this one follows the umask. Always of the same name, so
    # that what a kill leaves behind is written over when the file is written again.
    temporary = target.with_name(f".{target.stem}.new{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a text file; a reader never sees half of it.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        with replacing(path) as file:
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def _is_replaced(path: Path) -> bool:
    """Whether a path is an ordinary file or not there yet; not a device, a pipe, or a stream under the name of one."""
    if Path(os.path.abspath(path)).is_relative_to("/dev"):
        return False
    return not _exists(path) or stat.S_ISREG(path.stat().st_mode)


def _exists(path: Path) -> bool:
    """As `Path.exists`, but an `OSError` if nobody can tell, as with a name that is too long."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _try_folder(folder: Path) -> None:
    """Raise `OSError` unless files can be made in a folder, which asking for permissions does not tell everywhere."""
    with tempfile.TemporaryFile(dir=folder):
        pass
