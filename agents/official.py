"""Checkpoints of the official TRM and DIS code, read into our `RecursiveReasoner`."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from latent_rl.agents.network import ReasonerConfig, RecursiveReasoner

PREFIXES = ("_orig_mod.", "module.", "model.", "inner.")
"""What torch.compile, DistributedDataParallel, loss head and halting wrapper put before a name, in any order."""

RENAMED = (
    ("H_init", "initial_y"),
    ("L_init", "initial_z"),
    ("embed_tokens.embedding_weight", "embed_tokens.weight"),
    ("embed_pos.embedding_weight", "embed_positions.weight"),
    ("timestep_embed.embedding_weight", "embed_step.weight"),
    ("puzzle_emb.weights", "embed_puzzle.weight"),
    ("lm_head.", "output_head."),
    ("L_level.layers.", "network.blocks."),
    (".self_attn.qkv_proj.", ".attention.qkv."),
    (".self_attn.o_proj.", ".attention.out."),
    (".mlp_t.", ".position_mlp."),
    (".gate_up_proj.", ".gate_up."),
    (".down_proj.", ".down."),
)
"""Parts of official names and ours; `q_head.*` and `.mlp.` are the same in both."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read as asked. The message is one line that names the tensor or the file."""


def our_name(official_name: str) -> str:
    """The name in `RecursiveReasoner` of a tensor of an official model, with or without its prefixes."""
    name = official_name
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    for official, ours in RENAMED:
        name = name.replace(official, ours)
    return name


def load_official(
    source: str | Path | Mapping[str, Tensor],
    *,
    seq_len: int | None = None,
    puzzle_positions: int | None = None,
    heads: int = 8,
    expansion: float = 4.0,
    multiple_of: int = 256,
    positions: Literal["rope", "learned", "none"] | None = None,
    cycles: int | None = None,
    inner_updates: int | None = None,
    feed: Literal["puzzle", "answer"] | None = None,
) -> tuple[ReasonerConfig, dict[str, Tensor]]:
    """Read an official TRM or DIS checkpoint.

    Sizes come from the shapes. What shapes do not tell comes from the arguments, whose defaults are the official
    settings; a checkpoint with a time embedding is taken for a DIS one. A wrong `heads`, `cycles` or `inner_updates`
    cannot be noticed here: the network would run, and answer badly.

    Args:
        source: a file as the official scripts save it (read with `weights_only=True`), or its state dict.
        seq_len: cells (L). Needed unless an MLP along the positions or learned positions tell `P + L`.
        puzzle_positions: P; default 16 if there is a puzzle embedding, else 0; or what `seq_len` leaves of `P + L`.
        heads: attention heads.
        expansion, multiple_of: how the inner width of the gated MLPs was chosen, see `ReasonerConfig`.
        positions: default `"learned"` if the checkpoint has them, else `"rope"` with attention, `"none"` with an MLP.
        cycles, inner_updates: T and n; default 3 and 6 (TRM), 1 and 2 (DIS).
        feed: default `"puzzle"` (TRM), `"answer"` (DIS).

    Returns:
        The configuration, and the float32 state dict in our names; `RecursiveReasoner(config)` loads it strictly.

    Raises:
        CheckpointError: an unreadable file, a missing or unknown tensor, or one whose shape does not fit the
            configuration (both shapes are named).
    """
    official_names: dict[str, str] = {}
    state: dict[str, Tensor] = {}
    for name, tensor in _read(source).items():
        ours = our_name(name)
        if ours in state:
            raise CheckpointError(f"tensors {official_names[ours]!r} and {name!r} would both become {ours!r}")
        official_names[ours], state[ours] = name, tensor.detach().float()

    vocab_size, width = _shape(state, "output_head.weight")
    is_dis = "embed_step.weight" in state
    is_mlp = any(".position_mlp." in name for name in state)
    if positions is None:
        positions = "learned" if "embed_positions.weight" in state else "none" if is_mlp else "rope"
    num_puzzle_ids, puzzle_embedding_width = state.get("embed_puzzle.weight", torch.empty(0, 0)).shape
    seq_len, puzzle_positions = _lengths(state, is_mlp, seq_len, puzzle_positions, bool(puzzle_embedding_width))
    try:
        config = ReasonerConfig(
            vocab_size=vocab_size,
            seq_len=seq_len,
            width=width,
            layers=len({match[0] for name in state if (match := re.match(r"network\.blocks\.\d+\.", name))}),
            heads=heads,
            expansion=expansion,
            multiple_of=multiple_of,
            mixer="mlp" if is_mlp else "attention",
            positions=positions,
            puzzle_positions=puzzle_positions,
            puzzle_embedding_width=puzzle_embedding_width,
            num_puzzle_ids=num_puzzle_ids,
            # The official table has an unused row at either end.
            step_embedding_steps=_shape(state, "embed_step.weight")[0] - 2 if is_dis else 0,
            cycles=cycles if cycles is not None else 1 if is_dis else 3,
            inner_updates=inner_updates if inner_updates is not None else 2 if is_dis else 6,
            feed=feed if feed is not None else "answer" if is_dis else "puzzle",
        )
        with torch.device("meta"):
            expected = RecursiveReasoner(config).state_dict()
    except ValueError as error:
        raise CheckpointError(f"the checkpoint does not make a reasoner: {error}") from error
    _check(state, expected, official_names)
    return config, state


def _read(source: str | Path | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    state = source
    if not isinstance(source, Mapping):
        try:
            state = torch.load(source, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise CheckpointError(f"no checkpoint at {source}") from error
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            reason = (str(error) or "it ends too early").splitlines()[0]
            raise CheckpointError(f"{source} is not a file of plain tensors: {reason}") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError("a checkpoint is expected to be a state dict: names and tensors, nothing else")
    return state


def _shape(state: Mapping[str, Tensor], name: str) -> torch.Size:
    if name not in state or state[name].ndim != 2:
        found = f"has shape {tuple(state[name].shape)}" if name in state else "is missing"
        raise CheckpointError(f"the tensor that becomes {name!r} {found}; expected two dimensions")
    return state[name].shape


def _lengths(
    state: Mapping[str, Tensor], is_mlp: bool, seq_len: int | None, puzzle_positions: int | None, has_puzzles: bool
) -> tuple[int, int]:
    """`(L, P)` from what is given and from `P + L`, where a shape tells it."""
    length = None
    if is_mlp:
        length = _shape(state, "network.blocks.0.position_mlp.gate_up.weight")[1]
    elif "embed_positions.weight" in state:
        length = _shape(state, "embed_positions.weight")[0]
    if seq_len is None and length is None:
        raise CheckpointError("the number of cells cannot be read from an attention checkpoint: give seq_len")
    if puzzle_positions is None:
        puzzle_positions = length - seq_len if length is not None and seq_len is not None else 16 if has_puzzles else 0
    if seq_len is None:
        seq_len = length - puzzle_positions
    if seq_len < 1 or puzzle_positions < 0 or length not in (None, seq_len + puzzle_positions):
        raise CheckpointError(
            f"the checkpoint has {length} positions, which are not {seq_len} cells and {puzzle_positions} in front"
        )
    return seq_len, puzzle_positions


def _check(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], official_names: Mapping[str, str]) -> None:
    for name, tensor in state.items():
        if name not in expected:
            raise CheckpointError(f"unknown tensor {official_names[name]!r}: not a TRM or DIS checkpoint?")
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"tensor {official_names[name]!r} has shape {tuple(tensor.shape)}, "
                f"the configuration wants {tuple(expected[name].shape)}"
            )
    missing = [name for name in expected if name not in state]
    if missing:
        raise CheckpointError(f"the checkpoint lacks the tensor that becomes {missing[0]!r} ({len(missing)} in all)")
