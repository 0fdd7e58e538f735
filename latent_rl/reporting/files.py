"""Folders and files of reports."""

from __future__ import annotations

from pathlib import Path

from latent_rl.errors import UserError


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there; called before the work begins, so that a wrong one costs no waiting.

    Raises:
        UserError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None


def write(path: Path, text: str) -> None:
    """Write a file; a reader never sees half of it.

    Raises:
        UserError: if it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
