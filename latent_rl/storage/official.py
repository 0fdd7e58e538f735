"""Checkpoints of the official TRM and DIS code as models of ours: which puzzle, which settings, and where they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_rl.agents import CheckpointError, ReasonerConfig, RecursiveReasoner, load_official, our_name
from latent_rl.config import Config, load_config, parse_overrides
from latent_rl.envs import puzzle_from_id
from latent_rl.errors import UserError
from latent_rl.storage.official_settings import SETTINGS_FILE, check_same_model, settings_beside

TRM_STEPS = 16
"""Recursion steps that the official TRM takes on a puzzle; DIS checkpoints tell theirs."""

PRESETS = {"sudoku-hard": (11, 81), "maze-hard": (6, 900)}
"""Presets with the vocabularies and cells of the official data sets, for checkpoints without a `--config`."""

GIVEN = ("heads", "cycles", "inner_updates", "feed", "positions", "puzzle_positions", "expansion", "multiple_of")
"""What an official file may not tell of its network, by its name under `network.` in the configuration."""

SETTABLE = (*(f"network.{name}" for name in GIVEN), "env.max_steps")
"""Keys that may be given for an official checkpoint only, because one of ours knows them itself."""


def is_official(content: Any) -> bool:
    """Whether a loaded file is a bare state dict, as the official scripts save it; our own files hold sections."""
    if not isinstance(content, Mapping) or not content:
        return False
    return all(isinstance(name, str) and isinstance(one, Tensor) for name, one in content.items())


def official_weights(content: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in our names, float32."""
    return {our_name(name): tensor.detach().float() for name, tensor in content.items()}


def official_model(
    file: Path, state: Mapping[str, Tensor], preset: str | None, overrides: Sequence[str]
) -> tuple[RecursiveReasoner, Config]:
    """The reasoner that an official file holds, and a configuration that describes it.

    Args:
        file: where it came from, for messages.
        state: its state dict, on the CPU.
        preset: preset or YAML file that names the puzzle; None guesses from vocabulary and cells.
        overrides: `key=value`, for instance `network.heads=4`; what is not given is as the `all_config.yaml` beside the
            file says, or, if there is none, as in the official scripts.

    Raises:
        UserError: if the file does not make a reasoner, or the puzzle is unknown or another one.
    """
    names = {our_name(name) for name in state}
    is_dis = "embed_step.weight" in names
    tells_length = "embed_positions.weight" in names or any(".position_mlp." in name for name in names)
    beside = settings_beside(file)
    overrides = [*beside.overrides, *overrides]
    given_names = parse_overrides(overrides).get("network", {})
    scheme = [f"scheme={'dis' if is_dis else 'trm'}"]
    try:
        load_config(next(iter(PRESETS)), [*scheme, *beside.overrides])
    except UserError as error:
        raise UserError(f"{file.with_name(SETTINGS_FILE)}: {error}") from None

    def given(config: Config) -> dict[str, Any]:
        # Only what was said of this network: the preset's values belong to one of ours.
        return {name: getattr(config.network, name) for name in GIVEN if name in given_names}

    try:
        if preset is None:
            # Which puzzle the values come with does not matter yet, only that they are checked.
            settings = given(load_config(next(iter(PRESETS)), [*scheme, *overrides]))
            shape = load_official(state, **settings)[0] if tells_length else None
            preset = _guess_preset(file, state, shape)
        config = load_config(preset, [*scheme, *overrides])
        puzzle = puzzle_from_id(config.env.id, **config.env.options)
        length = {} if tells_length else {"seq_len": puzzle.seq_len}
        shape, weights = load_official(state, **length, **given(config))
    except CheckpointError as error:
        raise UserError(f"{file}: {error}") from None
    check_same_model(file, beside.arch, shape)
    if (shape.seq_len, shape.vocab_size) != (puzzle.seq_len, puzzle.vocab_size):
        cells = f"{shape.seq_len} cells (and {shape.puzzle_positions} positions in front) and " if tells_length else ""
        raise UserError(
            f"{file} was trained on {cells}{shape.vocab_size} symbols, which is not {puzzle.name} "
            f"({puzzle.seq_len} cells, {puzzle.vocab_size} symbols)"
        )
    if shape.num_puzzle_ids and puzzle.num_puzzle_ids > shape.num_puzzle_ids:
        raise UserError(
            f"{file} knows {shape.num_puzzle_ids} puzzle embeddings, {puzzle.name} has {puzzle.num_puzzle_ids}"
        )
    reasoner = RecursiveReasoner(shape)
    reasoner.load_state_dict(weights)
    return reasoner, _describe(config, shape, "max_steps" in parse_overrides(overrides).get("env", {}))


def _guess_preset(file: Path, state: Mapping[str, Tensor], shape: ReasonerConfig | None) -> str:
    head = next((tensor for name, tensor in state.items() if our_name(name) == "output_head.weight"), torch.empty(0))
    symbols = len(head)
    for preset, (vocab_size, seq_len) in PRESETS.items():
        if symbols == vocab_size and (shape is None or shape.seq_len == seq_len):
            return preset
    cells = f"{shape.seq_len} cells and " if shape is not None else ""
    raise UserError(
        f"{file} is an official checkpoint for {cells}{symbols} symbols: say which puzzle it solves with --config NAME"
    )


def _describe(config: Config, shape: ReasonerConfig, steps_given: bool) -> Config:
    """The configuration with the network and the number of steps of the checkpoint."""
    fields = {name: getattr(shape, name) for name in type(config.network).model_fields if hasattr(shape, name)}
    network = {**fields, "step_embedding": shape.step_embedding_steps > 0}
    changes: dict[str, Any] = {"network": config.network.model_copy(update=network)}
    if not steps_given:
        changes["env"] = config.env.model_copy(update={"max_steps": shape.step_embedding_steps or TRM_STEPS})
    if shape.step_embedding_steps:
        # The official DIS loss never trains the halting head.
        changes["loss"] = config.loss.model_copy(update={"terms": {**config.loss.terms, "solved": None}})
    return config.model_copy(update=changes)
