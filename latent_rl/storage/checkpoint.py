"""Checkpoints: what a run needs to go on, and what anybody needs to use the model. Loading never executes code.

A run directory's `checkpoint/` holds two files, each replaced atomically and each complete in itself:
`model.pt` (averaged weights and configuration: all that evaluating or solving needs) and `training.pt` (weights,
averaged weights, optimizer, environment, random states and ledger: all that resuming needs).
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latent_rl.agents import (
    HaltingPolicy,
    ReasonerConfig,
    RecursiveReasoner,
    compact_state,
    load_compact_state,
    state_shapes,
)
from latent_rl.config import WIDEST, Config, validate_saved
from latent_rl.errors import UserError
from latent_rl.storage.official import is_official, official_model, official_weights

MODEL_FILE = "model.pt"
TRAINING_FILE = "training.pt"
FORMAT = 1
TRAINING_FORMAT = 2
"""Of `training.pt`; 1 was version 0.1.0."""


@dataclass(frozen=True)
class TrainedModel:
    """A reasoner with the configuration that it was trained under.

    Attributes:
        reasoner: in evaluation mode.
        config: of the run; for an official checkpoint, what describes it in our terms.
        updates: optimizer steps of the run; 0 if unknown.
        path: the file.
        official: whether the file was saved by the official TRM or DIS code.
        ids_digest: `Puzzle.ids_digest` of the puzzle it was trained on.
        halting: its learned halting policy, if it has one.
    """

    reasoner: RecursiveReasoner
    config: Config
    updates: int
    path: Path
    official: bool = False
    ids_digest: str = ""
    halting: HaltingPolicy | None = None


def save_model(
    folder: Path,
    reasoner: RecursiveReasoner,
    config: Config,
    updates: int,
    ids_digest: str = "",
    halting: HaltingPolicy | None = None,
) -> Path:
    """Write `model.pt` into a checkpoint folder."""
    path = folder / MODEL_FILE
    shape = {} if halting is None else {"width": halting.width, "hidden": halting.hidden, "floor": halting.floor}
    _save(
        path,
        {
            "format": FORMAT,
            "reasoner": asdict(reasoner.config),
            "config": config.model_dump(mode="json"),
            "updates": updates,
            "ids_digest": ids_digest,
            "weights": compact_state(reasoner),
            "halting": None if halting is None else {"shape": shape, "weights": halting.state_dict()},
        },
    )
    return path


def load_model(
    path: Path, device: torch.device | str = "cpu", *, preset: str | None = None, overrides: Sequence[str] = ()
) -> TrainedModel:
    """A trained model from a run directory, its `checkpoint/` folder, a `model.pt`, or a file of the official code.

    Args:
        path: which of these it is, is seen from the content.
        device: where the reasoner goes.
        preset: names the puzzle of an official checkpoint.
        overrides: `key=value` settings of an official checkpoint; one of ours keeps its own, and ignores these.

    Raises:
        UserError: if there is no checkpoint, the file is damaged or neither ours nor official, or the puzzle of an
            official one is unknown or does not fit.
    """
    file = find_model(path)
    content = _load(file, "cpu")
    if is_official(content):
        reasoner, config = official_model(file, content, preset, overrides)
        return TrainedModel(reasoner.to(device).eval(), config, 0, file, official=True)
    if preset is not None:
        raise UserError(f"{file} knows its puzzle; --config is for checkpoints of the official code")
    try:
        config = validate_saved(content["config"])
        _check_network(content["reasoner"], config)
        reasoner = RecursiveReasoner(ReasonerConfig(**content["reasoner"]))
        load_compact_state(reasoner, content["weights"])
        updates = content["updates"]
        halting = None
        if content.get("halting") is not None:
            _check_halting(content["halting"]["shape"], config)
            halting = HaltingPolicy(**content["halting"]["shape"])
            halting.load_state_dict(content["halting"]["weights"])
            halting.to(device).eval()
    except (KeyError, TypeError, ValueError, RuntimeError, UserError) as error:
        raise UserError(f"{file} is no checkpoint of this version of latent_rl: {_one_line(error)}") from None
    digest = content.get("ids_digest", "")
    return TrainedModel(reasoner.to(device).eval(), config, updates, file, ids_digest=digest, halting=halting)


def _check_network(shape: dict[str, Any], config: Config) -> None:
    """Raise `UserError` unless the network's shape is that of the configuration, whose bounds the schema has checked.

    A file that says `cycles: 1000000000` would be loaded, and then never answer.
    """
    for name, value in config.network:
        if name in shape and shape[name] != value:
            raise UserError(f"its network has {name}={shape[name]}, its configuration {name}={value}")


def _check_halting(shape: dict[str, Any], config: Config) -> None:
    if shape["width"] != config.network.width or not 0 < shape["hidden"] <= WIDEST:
        raise UserError(f"its halting policy has width={shape['width']} and hidden={shape['hidden']}")


def load_weights(reasoner: RecursiveReasoner, path: Path) -> None:
    """Give a reasoner the weights of a checkpoint, ours or official, as a starting point for training.

    Raises:
        UserError: as `load_model`, or if the weights are not those of such a reasoner; the message names the first
            tensor that does not fit, with both shapes.
    """
    file = find_model(path)
    content = _load(file, "cpu")
    weights = official_weights(content) if is_official(content) else content.get("weights")
    if not is_official(weights):
        raise UserError(f"{file} holds no weights to start from")
    shapes, expected = state_shapes(weights), state_shapes(reasoner.state_dict())
    for name in dict.fromkeys((*shapes, *expected)):
        found, wanted = shapes.get(name), expected.get(name)
        if found != wanted:
            raise UserError(
                f"{file} does not fit this run's network: tensor {name!r} is {_shape(found)} there and "
                f"{_shape(wanted)} here; set network.* to its values"
            )
    load_compact_state(reasoner, weights)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"of shape {shape}"


def find_model(path: Path) -> Path:
    """The model file that a user means by a run directory, a checkpoint folder or a file."""
    for candidate in (path / "checkpoint" / MODEL_FILE, path / MODEL_FILE, path):
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise UserError(f"{path} holds no checkpoint (looked for checkpoint/{MODEL_FILE} and {MODEL_FILE})")
    raise UserError(f"checkpoint {path} does not exist")


def save_training(folder: Path, state: dict[str, Any]) -> None:
    """Write `training.pt`, with the random states of this moment added."""
    _save(folder / TRAINING_FILE, {"format": TRAINING_FORMAT, **state, "random": random_states()})


def load_training(folder: Path, device: torch.device | str) -> dict[str, Any]:
    """The state that `save_training` wrote; random states are in it under `random`, not yet applied."""
    file = folder / TRAINING_FILE
    if not file.is_file():
        raise UserError(f"{folder.parent} holds nothing to resume ({file.name} is missing in {folder.name}/)")
    content = _load(file, device)
    if content.get("format") == 1:
        return _from_format_1(content)
    if content.get("format") != TRAINING_FORMAT:
        raise UserError(f"{file} was written by another version of latent_rl")
    return content


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
    """The state of every global random generator, in types that load without executing code."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "python": (version, list(internal), gauss_next),
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Apply what `random_states` returned."""
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))


def _save(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _load(file: Path, device: torch.device | str) -> dict[str, Any]:
    try:
        content = torch.load(file, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"checkpoint {file} does not exist") from None
    except Exception as error:
        # torch.load raises whatever its zip reader or unpickler meets: RuntimeError, EOFError, UnpicklingError, ...
        raise UserError(f"checkpoint {file} is damaged, truncated or not a checkpoint: {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"checkpoint {file} is not a checkpoint of latent_rl")
    return content


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
