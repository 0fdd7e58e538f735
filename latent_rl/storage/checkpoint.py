"""Checkpoints: what a run needs to go on, and what anybody needs to use the model. Loading never executes code.

A run directory's `checkpoint/` holds two files, each replaced atomically and each complete in itself:
`model.pt` (averaged weights and configuration: all that evaluating or solving needs) and `training.pt` (weights,
averaged weights, optimizer, environment, random states, ledger and configuration: all that resuming needs).
"""

from __future__ import annotations

import errno
import math
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from latent_rl.agents import (
    HaltingPolicy,
    ReasonerConfig,
    RecursiveReasoner,
    check_rule,
    compact_state,
    load_compact_state,
    make_reasoner,
    state_shapes,
)
from latent_rl.config import Config, validate_saved
from latent_rl.errors import UserError
from latent_rl.storage.exported import FORMAT, WEIGHTS_FILE, read_export
from latent_rl.storage.files import replacing
from latent_rl.storage.official import is_official, official_model, official_weights

MODEL_FILE = "model.pt"
TRAINING_FILE = "training.pt"
TRAINING_FORMAT = 2
"""Of `training.pt`; 1 was version 0.1.0."""

SHAPING = (
    "width", "layers", "expansion", "multiple_of", "mixer", "peer_attention", "positions", "kernel", "puzzle_positions",
    "puzzle_embedding_width",
)  # fmt: skip
"""Settings of a network that decide which weights it has and what they mean."""

MOST_PASSES = 100_000
"""Network passes of a recursion step that are taken for meant; TRM takes 21."""


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
    """Write `model.pt` into a checkpoint folder.

    Raises:
        UserError: if it cannot be written; what was there before stays.
    """
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
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    *,
    preset: str | None = None,
    overrides: Sequence[str] = (),
) -> TrainedModel:
    """A trained model from a run directory or its `checkpoint/`, a `model.pt`, an export, or a file of official code.

    Args:
        path: which of these it is, is seen from the content.
        device: where the reasoner goes.
        preset: names the puzzle of an official checkpoint.
        overrides: `key=value` settings of an official checkpoint; one of ours keeps its own, and ignores these.

    Raises:
        UserError: if there is no checkpoint, the file is damaged or neither ours nor official, or the puzzle of an
            official one is unknown or does not fit.
    """
    file = find_model(Path(path))
    content = _load(file, "cpu")
    if is_official(content):
        _refuse_infinite(file, content)
        reasoner, config = official_model(file, content, preset, overrides)
        return TrainedModel(reasoner.to(device).eval(), config, 0, file, official=True)
    if preset is not None:
        raise UserError(f"{file} knows its puzzle; --config is for checkpoints of the official code")
    if not _is_format(content, FORMAT):
        raise UserError(f"{file} was written by another version of latent_rl, or is no model")
    try:
        config = validate_saved(content["config"])
        if ":" not in config.halting.rule:  # the module of a rule of somebody else's may not be at hand
            check_rule(config.halting.rule, config.halting.options)
        reasoner = _reasoner(content["reasoner"], content["weights"], config)
        updates = _COUNT.validate_python(content["updates"])
        digest = _TEXT.validate_python(content.get("ids_digest", ""))
        halting = None if content.get("halting") is None else _halting(reasoner, **content["halting"])
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    except Exception as error:
        # Whatever values that another hand has put there make of the code that meets them.
        raise UserError(f"{file} is no checkpoint of this version of latent_rl: {_one_line(error)}") from None
    if halting is not None:
        halting.to(device).eval()
    return TrainedModel(reasoner.to(device).eval(), config, updates, file, ids_digest=digest, halting=halting)


def _reasoner(shape: Mapping[str, Any], weights: Mapping[str, Tensor], config: Config) -> RecursiveReasoner:
    """The reasoner of a file's sections, which must agree: what they say decides how much memory and time it takes."""
    described = TypeAdapter(ReasonerConfig).validate_python(asdict(ReasonerConfig(**shape)))
    told = {**config.network.model_dump(), "state": config.env.state}
    for where, values in (("its file", shape), ("its configuration", told)):
        for name, value in values.items():
            if _listed(getattr(described, name, value)) != _listed(value):
                raise ValueError(f"its network has {name}={getattr(described, name)}, {where} {value}")
    board = described.grid_shape
    if board is not None and (not described.kernel or math.prod(board) != described.seq_len):
        raise ValueError(f"its network of {described.seq_len} cells has no use for grid_shape={board}")
    blocks = {match[1] for name in weights if (match := re.match(r"network\.blocks\.(\d+)\.", name))}
    if described.layers != len(blocks):
        raise ValueError(f"its network has {described.layers} layers, its weights are those of {len(blocks)}")
    if described.passes_per_step > MOST_PASSES:
        raise ValueError(f"a recursion step of {described.passes_per_step:.0e} network passes would never end")
    _check_weights(lambda: make_reasoner(described), weights)
    reasoner = make_reasoner(described)
    load_compact_state(reasoner, weights)
    return reasoner


def _listed(value: object) -> object:
    """The value as JSON gives it back: its tuples as lists."""
    return [_listed(one) for one in value] if isinstance(value, (list, tuple)) else value


def _halting(reasoner: RecursiveReasoner, shape: Mapping[str, Any], weights: Mapping[str, Tensor]) -> HaltingPolicy:
    _check_weights(lambda: HaltingPolicy(**shape), weights)
    policy = HaltingPolicy(**shape)
    if policy.width != reasoner.config.width:
        raise ValueError(f"its halting policy is of width {policy.width}, its network of {reasoner.config.width}")
    policy.load_state_dict(weights)
    return policy


def _check_weights(make: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not those of the module, before it takes memory, and weights that are no numbers."""
    with torch.device("meta"):
        expected = make().state_dict()
    found, wanted = state_shapes(weights), state_shapes(expected)
    for name in dict.fromkeys((*wanted, *found)):
        if wanted.get(name) != found.get(name):
            raise ValueError(f"tensor {name!r} is {_shape(found.get(name))}, not {_shape(wanted.get(name))}")
    for name, tensor in weights.items():
        if name in expected and tensor.dtype != expected[name].dtype:
            raise ValueError(f"tensor {name!r} is of {tensor.dtype}, not of {expected[name].dtype}")
    _refuse_infinite(None, weights)


def load_weights(reasoner: RecursiveReasoner, path: Path) -> Config | None:
    """Give a reasoner the weights of a checkpoint, ours or official, as a starting point for training.

    A reasoner with `peer_attention` takes those of one without, too: attention of its own starts as nothing, so that it
    computes the same.

    Returns:
        the configuration that they were trained under; None of an official checkpoint.

    Raises:
        UserError: as `load_model`, or if the weights are not those of such a reasoner; the message names the first
            setting that differs, or the first tensor that does not fit, with both shapes.
    """
    file = find_model(Path(path))
    content, config = _load(file, "cpu"), None
    if is_official(content):
        _refuse_infinite(file, content)
        weights = official_weights(content)
    else:
        model = load_model(file)
        other, config = model.reasoner, model.config
        grows = reasoner.config.peer_attention and not other.config.peer_attention
        for name in SHAPING:
            there, here = getattr(other.config, name), getattr(reasoner.config, name)
            if there != here and not (grows and name == "peer_attention"):
                raise UserError(
                    f"{file} does not fit this run's network: network.{name} is {there} there and {here} here"
                )
        weights = compact_state(other)
        if grows:
            own = reasoner.state_dict()
            weights |= {name: own[name] for name in own.keys() - weights.keys() if ".attention." in name}
    shapes, expected = state_shapes(weights), state_shapes(reasoner.state_dict())
    for name in dict.fromkeys((*shapes, *expected)):
        found, wanted = shapes.get(name), expected.get(name)
        if found != wanted:
            raise UserError(
                f"{file} does not fit this run's network: tensor {name!r} is {_shape(found)} there and "
                f"{_shape(wanted)} here; set network.* to its values"
            )
    load_compact_state(reasoner, weights)
    return config


def _refuse_infinite(file: Path | None, weights: Mapping[str, Tensor]) -> None:
    for name, tensor in weights.items():
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{f'{file}: ' if file else ''}tensor {name[:100]!r} holds values that are not finite")


def _is_format(content: Mapping[str, Any], number: int) -> bool:
    found = content.get("format")
    return type(found) is int and found == number


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"of shape {shape}"


def find_model(path: Path) -> Path:
    """The model file that a user means by a run directory, a checkpoint folder, an exported folder or a file."""
    try:
        for candidate in (path / "checkpoint" / MODEL_FILE, path / MODEL_FILE, path / WEIGHTS_FILE, path):
            if candidate.is_file():
                return candidate
        if path.is_dir():
            looked_for = f"checkpoint/{MODEL_FILE}, {MODEL_FILE} and {WEIGHTS_FILE}"
            raise UserError(f"{path} holds no checkpoint (looked for {looked_for})")
    except OSError as error:
        raise UserError(f"checkpoint {str(path)[:100]} cannot be read: {error.strerror}") from None
    raise UserError(f"checkpoint {path} does not exist")


def save_training(folder: Path, state: dict[str, Any]) -> None:
    """Write `training.pt`, with the random states of this moment added.

    Raises:
        UserError: if it cannot be written; what was there before stays.
    """
    _save(folder / TRAINING_FILE, {"format": TRAINING_FORMAT, **state, "random": random_states()})


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
    content = _load(file, device, mmap=mmap)
    if _is_format(content, 1):
        return _from_format_1(content)
    if not _is_format(content, TRAINING_FORMAT):
        raise UserError(f"{file} was written by another version of latent_rl")
    return content


_Count = Annotated[int, Field(ge=0, lt=2**53, strict=True)]
_COUNT, _TEXT = TypeAdapter(_Count), TypeAdapter(str)


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


def _save(path: Path, content: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:
                # What torch makes of a file that does not take what is written, which it knows the reason of.
                known = isinstance(error.__context__, OSError)
                raise error.__context__ if known else OSError(errno.EIO, _one_line(error)) from None
    except OSError as error:
        raise UserError(f"cannot write the checkpoint {path}: {error.strerror}") from None


def _load(file: Path, device: torch.device | str, mmap: bool = False) -> dict[str, Any]:
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
        reason = "it is no file of torch" if isinstance(error, LookupError) else _one_line(error)
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


def _one_line(error: Exception) -> str:
    text = "".join(letter for letter in " ".join(str(error).split()) if letter.isprintable())
    return text[:200] or type(error).__name__
