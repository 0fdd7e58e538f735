"""Files that are whole or not there at all, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from latent_rl.errors import UserError

NEW = ".new"
"""Ends the name of a file in writing; what a kill leaves under such a name is swept by the next program there."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once the block has ended well; until then `path` stays as it is.

    One program at a time may write a path: there is one name for what is not whole yet. Its mode follows the umask.

    Raises:
        OSError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}{NEW}")
    # Never through a link that somebody has left under this name.
    temporary.unlink(missing_ok=True)
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file; a reader never sees half of it.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
