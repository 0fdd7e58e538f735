"""Generated sets of instances, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from latent_rl.envs.puzzle import Instances, Split

logger = logging.getLogger(__name__)

STALE_SECONDS = 3600.0
"""A file that has been written to for less than an hour may still be in work."""

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp$")

_FIELDS = {"inputs": "inputs", "solutions": "solution", "puzzle_ids": "puzzle_id"}  # stored name: field


def cached(
    name: str,
    parameters: Mapping[str, Any],
    generate: Callable[[], Sequence[Instances]],
    cache_dir: str | os.PathLike[str] | None = None,
    splits: Sequence[Split] = ("train", "test"),
) -> Sequence[Instances]:
    """The sets of `generate()`, from the cache if they were generated before.

    Args:
        name: start of the file's name.
        parameters: all that the sets depend on, as JSON values: sizes, seed, and the version of the generator.
        generate: makes a set for each of `splits`; called if the cache has no intact copy.
        cache_dir: default: the environment variable `LATENT_RL_CACHE`, else `~/.cache/latent_rl`.
        splits: which sets these are.

    A damaged cache file is replaced, and what may not be read or written is done without, each with a logged warning.
    """
    described = json.dumps(dict(parameters), sort_keys=True)
    digest = hashlib.sha256(described.encode()).hexdigest()[:16]
    file = cache_folder(cache_dir) / f"{name}-{digest}.npz"
    try:
        return _load_sets(file, described, splits)
    except (FileNotFoundError, NotADirectoryError):
        logger.debug("no cache file %s yet, as in every first run", file)
    except PermissionError as error:
        logger.warning("cache file %s cannot be read (%s), generating its puzzles anew", file, error.strerror)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        logger.warning("cache file %s is damaged (%s), generating its puzzles anew", file, error)
    sets = generate()
    try:
        _save_sets(file, described, dict(zip(splits, sets, strict=True)))
    except OSError as error:
        logger.warning("cannot cache puzzles in %s (%s), going on without", file.parent, error)
    return sets


def cache_folder(given: str | os.PathLike[str] | None) -> Path:
    """The folder of the cache; see `cached`."""
    return Path(given or os.environ.get("LATENT_RL_CACHE") or "~/.cache/latent_rl").expanduser()


def _load_sets(file: Path, described: str, splits: Sequence[Split]) -> Sequence[Instances]:
    with np.load(file, allow_pickle=False) as stored:
        if stored["parameters"].item() != described:
            raise ValueError("it was made with other parameters")
        return tuple(
            Instances(*(torch.from_numpy(stored[f"{split}_{name}"]).long() for name in _FIELDS)) for split in splits
        )


def _save_sets(file: Path, described: str, sets: Mapping[Split, Instances]) -> None:
    arrays = {
        f"{split}_{stored}": getattr(instances, field).cpu().numpy().astype(np.int32)
        for split, instances in sets.items()
        for stored, field in _FIELDS.items()
    }
    with replacing(file) as opened:
        np.savez_compressed(opened, parameters=np.array(described), **arrays)


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `file`, in a folder made if need be, once the block has ended well.

    Another process sees the whole file or none. What kills have left half written in the folder is swept.

    Raises:
        OSError: if it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    _sweep(file.parent)
    # Not by `tempfile`, whose files are for their owner alone: a cache may be shared.
    temporary = file.with_name(f"{file.stem}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as opened:
            yield opened
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sweep(folder: Path) -> None:
    for leftover in folder.glob("*.tmp"):
        # The folder is the user's and may be shared: other names stay, and so does what is still being written.
        with suppress(OSError):
            if _TEMPORARY.search(leftover.name) and time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                leftover.unlink()
