"""A run may come from a stranger: what it names is imported or written to only if the user names it too."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from latent_rl.envs.registration import is_reasoning_gym
from latent_rl.errors import UserError

CACHES = ("cache_dir",)
"""Options of a puzzle that say where to write, and on which its instances do not depend."""


def without_caches(values: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """A run's configuration without the folders to write in that the user's changes do not name."""
    options, named = (_section(one, "env", "options") for one in (values, changes))
    kept = {name: value for name, value in options.items() if name not in CACHES or name in named}
    return {**values, "env": {**values["env"], "options": kept}} if len(kept) < len(options) else values


def _section(values: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """What lies under the keys, or nothing where there is no such mapping: that is for the schema to say."""
    found: Any = values
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def named_code(values: Mapping[str, Any]) -> dict[str, str]:
    """What a configuration would have imported, `module:Class`, each with the setting that names it again.

    That is `env.id`, `halting.rule`, and under `loss` every key and every text with a colon: which of them an option's
    type takes for a class, is not known before the class of the loss is. A task of reasoning-gym is a puzzle of ours.
    """
    puzzle = _section(values, "env").get("id")
    places = [
        (("env", "id"), None if isinstance(puzzle, str) and is_reasoning_gym(puzzle) else puzzle),
        (("halting", "rule"), _section(values, "halting").get("rule")),
        (("loss",), _section(values, "loss")),
    ]
    return {name: _setting(path, value) for place, content in places for name, path, value in _names(place, content)}


def check_named(
    values: Mapping[str, Any], changes: Mapping[str, Any], where: Path | str, named: Collection[str] = ()
) -> None:
    """Refuse code that a run names, unless the user names it too.

    Args:
        values: the run's configuration, with the user's changes.
        changes: those of the command line.
        where: the run, for the message.
        named: what the user has named elsewhere.

    Raises:
        UserError: saying which settings name it again.
    """
    known = {*named, *(name for name, _, _ in _names((), changes))}
    missing = {name: setting for name, setting in named_code(values).items() if name not in known}
    if missing:
        raise UserError(
            f"{where} names code, which is imported only if you name it too: add {' '.join(missing.values())}"
        )


def _names(path: tuple[str, ...], value: Any) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Keys and texts with a colon: (the text, the keys that lead to it, the value there)."""
    if isinstance(value, str) and ":" in value:
        yield value, path, value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            if ":" in str(key):
                yield str(key), (*path, str(key)), None if child is None else {}
            yield from _names((*path, str(key)), child)
    elif isinstance(value, list | tuple):
        for child in value:
            for name, _, _ in _names(path, child):
                yield name, path, list(value)


def _setting(path: tuple[str, ...], value: Any) -> str:
    """`dotted.key=value` for a shell; from the first key that holds a dot or a colon on it is a mapping."""
    plain = next((place for place, key in enumerate(path) if "." in key or ":" in key), len(path))
    for key in reversed(path[plain:]):
        value = {key: value}
    text = value
    if not isinstance(value, str):
        text = yaml.safe_dump(value, default_flow_style=True, width=float("inf")).strip()
    return shlex.quote(f"{'.'.join(path[:plain])}={text}")
