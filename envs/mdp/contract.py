"""The keys of the decision processes: a table for each, from which spaces, specs, checks and saved states are made.

A new key is a line here and, if it is not part of an action, a field of `dynamics.State` or
`candidates.CandidateState`, which hold its value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch
from gymnasium import spaces

Role = Literal["observed", "privileged", "action"]
"""Who a key is for: a policy reads what is observed and writes the action; losses and metrics read everything."""

Sizes = Mapping[str, int | float]
"""What the table's symbols stand for in one environment, see `Dynamics.sizes`."""


@dataclass(frozen=True)
class Below:
    """Whole numbers from 0 to `count - 1`: tokens, indices, choices."""

    count: int | str


@dataclass(frozen=True)
class Within:
    """Numbers from `low` to `high`, both included."""

    low: float | str
    high: float | str


@dataclass(frozen=True)
class Flag:
    """True or false."""


@dataclass(frozen=True)
class Anything:
    """Whatever the dtype can hold."""


@dataclass(frozen=True)
class Key:
    """A line of the table, in symbols, or, from `sized`, in the numbers of one environment.

    Attributes:
        name: the key, and the field of `State` that holds its value.
        role: who it is for.
        shape: of one episode's value; a batch has the episodes in front.
        dtype: in tensors; arrays have numpy's equal.
        kind: which values occur.
    """

    name: str
    role: Role
    shape: tuple[int | str, ...]
    dtype: torch.dtype
    kind: Below | Within | Flag | Anything

    def sized(self, sizes: Sizes) -> Key:
        """The key with a number for every symbol."""

        def number(value: int | float | str) -> int | float:
            return sizes[value] if isinstance(value, str) else value

        limits = {field.name: number(getattr(self.kind, field.name)) for field in fields(self.kind)}
        return replace(self, shape=tuple(map(number, self.shape)), kind=replace(self.kind, **limits))


_TOKEN, _LATENT = Below("V"), Within("-bound", "bound")

KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        Key("inputs", "observed", ("L",), torch.int64, _TOKEN),
        Key("puzzle_id", "observed", (), torch.int64, Below("puzzle ids")),
        Key("y", "observed", ("P + L", "D"), torch.float32, _LATENT),
        Key("z", "observed", ("P + L", "D"), torch.float32, _LATENT),
        Key("step", "observed", (), torch.int64, Below("max_steps + 1")),
        # A solution may hold IGNORE, which is no token.
        Key("solution", "privileged", ("L",), torch.int64, Anything()),
        Key("solved", "privileged", (), torch.bool, Flag()),
        Key("quality", "privileged", (), torch.float32, Within(0.0, 1.0)),
        Key("violations", "privileged", (), torch.float32, Anything()),
        Key("episode_seed", "privileged", (), torch.int64, Within(0, 2**62 - 1)),
        Key("ends_when_solved", "privileged", (), torch.bool, Flag()),
        Key("next_y", "action", ("P + L", "D"), torch.float32, _LATENT),
        Key("next_z", "action", ("P + L", "D"), torch.float32, _LATENT),
        Key("answer", "action", ("L",), torch.int64, _TOKEN),
        Key("halt", "action", (), torch.int64, Below(2)),
    )
}
"""The table, by name, in the order in which environments return their keys.

In shapes and limits: `L` cells, `P` puzzle-embedding positions in front of them, width `D`, `V` tokens.
"""


CANDIDATE_KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        KEYS["inputs"],
        KEYS["puzzle_id"],
        Key("candidates", "observed", ("L", "V"), torch.bool, Flag()),
        Key("given", "observed", ("L",), torch.bool, Flag()),
        KEYS["step"],
        Key("restarts", "observed", (), torch.int64, Below("max_steps + 1")),
        *(KEYS[name] for name in ("solution", "solved", "quality", "violations", "episode_seed")),
        Key("lost_for", "privileged", (), torch.int64, Below("max_steps + 1")),
        Key("keep", "action", ("L", "V"), torch.bool, Flag()),
        # One more than there are cells: the last number is no cell.
        Key("branch_cell", "action", (), torch.int64, Below("L + 1")),
        Key("branch_symbol", "action", (), torch.int64, _TOKEN),
    )
}
"""The table of the decision process over candidates, likewise."""


def names(role: Role, table: Mapping[str, Key] = KEYS) -> tuple[str, ...]:
    """The names of the keys with a role, in the table's order."""
    return tuple(key.name for key in table.values() if key.role == role)


OBSERVATION_KEYS = names("observed")
"""What a policy may read."""

PRIVILEGED_KEYS = names("privileged")
"""What only losses and metrics may read."""

ACTION_KEYS = names("action")
"""What a policy writes."""


def gymnasium_space(keys: Iterable[Key]) -> spaces.Dict:
    """The space of one episode's values of sized keys."""
    return spaces.Dict({key.name: _space(key) for key in keys})


def _space(key: Key) -> spaces.Space:
    dtype = torch.empty(0, dtype=key.dtype).numpy().dtype
    match key.kind:
        case Below(count) if key.shape:
            return spaces.MultiDiscrete(np.full(key.shape, count), dtype=dtype)
        case Below(count):
            return spaces.Discrete(count, dtype=dtype)
        case Within(low, high):
            return spaces.Box(low, high, key.shape, dtype)
        case Flag():
            return spaces.Box(0, 1, key.shape, dtype)
        case Anything():
            return spaces.Box(-np.inf, np.inf, key.shape, dtype)
