"""Trained models: saved, found and loaded, ours and the official code's. Loading never executes code.

A run directory's `checkpoint/` holds two files, each replaced atomically and each complete in itself:
`model.pt` (averaged weights and configuration: all that evaluating or solving needs) and `training.pt` (weights,
averaged weights, optimizer, environment, random states, ledger and configuration: all that resuming needs), which is
that of `training_state.py`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter
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
from latent_rl.storage.exported import FORMAT, WEIGHTS_FILE
from latent_rl.storage.official import is_official, official_model, official_weights
from latent_rl.storage.torch_files import is_format, load_file, one_line, save_file

MODEL_FILE = "model.pt"

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
    save_file(
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
    content = load_file(file, "cpu")
    if is_official(content):
        _refuse_infinite(file, content)
        reasoner, config = official_model(file, content, preset, overrides)
        return TrainedModel(reasoner.to(device).eval(), config, 0, file, official=True)
    if preset is not None:
        raise UserError(f"{file} knows its puzzle; --config is for checkpoints of the official code")
    if not is_format(content, FORMAT):
        raise UserError(f"{file} was written by another version of latent_rl, or is no model")
    try:
        config = validate_saved(content["config"])
        if ":" not in config.halting.rule:  # the module of a rule of somebody else's may not be at hand
            check_rule(config.halting.rule, config.halting.options)
        reasoner = _reasoner(content["reasoner"], content["weights"], config)
        updates = TypeAdapter(Annotated[int, Field(ge=0, lt=2**53, strict=True)]).validate_python(content["updates"])
        digest = TypeAdapter(str).validate_python(content.get("ids_digest", ""))
        halting = None if content.get("halting") is None else _halting(reasoner, **content["halting"])
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    except Exception as error:
        # Whatever values that another hand has put there make of the code that meets them.
        raise UserError(f"{file} is no checkpoint of this version of latent_rl: {one_line(error)}") from None
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
    content, config = load_file(file, "cpu"), None
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
