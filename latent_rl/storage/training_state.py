"""The training state of a run, `training.pt`: all that going on needs, random states included."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from latent_rl.errors import UserError
from latent_rl.storage.torch_files import is_format, load_file, save_file

TRAINING_FILE = "training.pt"
TRAINING_FORMAT = 2
"""1 was version 0.1.0."""


def save_training(folder: Path, state: dict[str, Any]) -> None:
    """Write `training.pt`, with the random states of this moment added.

    Raises:
        UserError: if it cannot be written; what was there before stays.
    """
    save_file(folder / TRAINING_FILE, {"format": TRAINING_FORMAT, **state, "random": random_states()})


def load_training(folder: Path, device: torch.device | str) -> dict[str, Any]:
    """The state that `save_training` wrote; random states are in it under `random`, not yet applied.

    Raises:
        UserError: if there is none, or the file is damaged, of another version, or does not hold what it should.
    """
    content = _checked(folder, device)
    try:
        _Progress.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{folder / TRAINING_FILE} was changed by another hand: {where}: {first['msg']}") from None
    return content


def saved_settings(folder: Path) -> dict[str, Any] | None:
    """The configuration that `training.pt` keeps; None in one of an earlier version. Tensors are not read.

    Raises:
        UserError: as `load_training`.
    """
    settings = _checked(folder, "cpu", mmap=True).get("config")
    if settings is not None and not isinstance(settings, dict):
        raise UserError(f"{folder / TRAINING_FILE} was changed by another hand: config is no mapping")
    return settings


def _checked(folder: Path, device: torch.device | str, mmap: bool = False) -> dict[str, Any]:
    file = folder / TRAINING_FILE
    if not file.is_file():
        raise UserError(f"{folder.parent} holds nothing to resume ({file.name} is missing in {folder.name}/)")
    content = load_file(file, device, mmap=mmap)
    if is_format(content, 1):
        return _from_format_1(content)
    if not is_format(content, TRAINING_FORMAT):
        raise UserError(f"{file} was written by another version of latent_rl")
    return content


_Count = Annotated[int, Field(ge=0, lt=2**53, strict=True)]


class _Section(BaseModel):
    """What is read of a section before the parts of the run take over; they check the rest themselves."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Learner(_Section):
    updates: _Count


class _Collection(_Section):
    finished_puzzles: _Count


class _Clock(_Section):
    seconds: float = Field(ge=0.0, allow_inf_nan=False)


class _Ledger(_Section):
    forward: dict[str, _Count]
    backward: dict[str, _Count]


class _Progress(_Section):
    """The plain numbers of `training.pt`, on which it depends when training ends."""

    puzzle: str
    ids_digest: str = ""
    mlflow_run_id: str | None
    learner: _Learner
    collection: _Collection
    clock: _Clock
    ledger: _Ledger


def _from_format_1(content: dict[str, Any]) -> dict[str, Any]:
    """What version 0.1.0 saved, with its single values gathered into the states of the parts that keep them today."""
    return {
        **content,
        "collection": {name: content.get(name) for name in ("environment", "finished_puzzles")},
        "clock": {"seconds": content.get("train_seconds")},
        "history": {"milestones": content.get("history")},
        "halting": content.get("halting") or {},
    }


def random_states() -> dict[str, Any]:
    """The state of every random generator that training draws from, as tensors.

    Python's and NumPy's global ones are not among them: nothing of ours draws from them or seeds them.
    """
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": [torch.mps.get_rng_state()] if torch.backends.mps.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Apply what `random_states` returned.

    Raises:
        TypeError: if it was something else.
    """
    torch.set_rng_state(states["torch"].cpu())
    if not isinstance(states["cuda"], list) or not all(isinstance(state, Tensor) for state in states["cuda"]):
        raise TypeError("random states of devices that are no tensors")
    # There may be fewer devices here, or more, than where the run was saved.
    for device, state in zip(range(torch.cuda.device_count()), states["cuda"], strict=False):
        torch.cuda.set_rng_state(state.cpu(), device)
    if torch.backends.mps.is_available():
        for state in states.get("mps", []):  # which runs before December 2026 did not keep
            torch.mps.set_rng_state(state.cpu())
