"""Files of torch: each replaced whole, and read without executing anything, its check sums compared."""

from __future__ import annotations

import errno
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from latent_rl.errors import UserError
from latent_rl.storage.exported import read_export
from latent_rl.storage.files import replacing


def save_file(path: Path, content: dict[str, Any]) -> None:
    """Write plain values and tensors.

    Raises:
        UserError: if they cannot be written; what was there before stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:
                # What torch makes of a file that does not take what is written, which it knows the reason of.
                known = isinstance(error.__context__, OSError)
                raise error.__context__ if known else OSError(errno.EIO, one_line(error)) from None
    except OSError as error:
        raise UserError(f"cannot write the checkpoint {path}: {error.strerror}") from None


def load_file(file: Path, device: torch.device | str, mmap: bool = False) -> dict[str, Any]:
    """What a checkpoint of ours, an export or a file of the official code holds.

    Args:
        file: ends in `.safetensors` if it is an export.
        device: where tensors go.
        mmap: read tensors only when they are used.

    Raises:
        UserError: if there is none, or it is damaged, or holds anything else than plain values and tensors.
    """
    if file.suffix == ".safetensors":
        return read_export(file)
    try:
        _check_sums(file)
        with warnings.catch_warnings():
            # About kinds of pickles that other programs write: they are refused in any case.
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location=device, weights_only=True, mmap=mmap or None)
    except FileNotFoundError:
        raise UserError(f"checkpoint {file} does not exist") from None
    except PermissionError as error:
        raise UserError(f"checkpoint {file} cannot be read: {error.strerror}") from None
    except pickle.UnpicklingError:
        # Not in torch's own words: they explain how to have the file execute code.
        found = "it holds something else than plain values and tensors"
        raise UserError(f"checkpoint {file} is damaged, truncated or not a checkpoint: {found}") from None
    except Exception as error:
        # torch.load raises whatever its zip reader or unpickler meets: RuntimeError, EOFError, BadZipFile, ...
        # Of a file that is no archive at all, the unpickler says no more than the byte that it has no use for.
        reason = "it is no file of torch" if isinstance(error, LookupError) else one_line(error)
        raise UserError(f"checkpoint {file} is damaged, truncated or not a checkpoint: {reason}") from None
    if not isinstance(content, dict):
        raise UserError(f"checkpoint {file} is not a checkpoint of latent_rl")
    return content


def _check_sums(file: Path) -> None:
    """Compare an archive's contents with their check sums, which torch does not look at; its old format has none."""
    with open(file, "rb") as opened:
        if opened.read(4) != b"PK\x03\x04":
            return
        with zipfile.ZipFile(opened) as archive:
            stored = sum(entry.file_size for entry in archive.infolist())
            if stored > os.fstat(opened.fileno()).st_size:
                # torch compresses nothing: this would only take time and memory.
                raise zipfile.BadZipFile("its contents are larger than itself")
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the check sum of {damaged} is wrong")


def is_format(content: Mapping[str, Any], number: int) -> bool:
    """Whether a file says that it is of a format."""
    found = content.get("format")
    return type(found) is int and found == number


def one_line(error: Exception) -> str:
    """What an error says, in at most 200 printable characters."""
    text = "".join(letter for letter in " ".join(str(error).split()) if letter.isprintable())
    return text[:200] or type(error).__name__
