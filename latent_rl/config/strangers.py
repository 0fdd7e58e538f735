"""A run may come from a stranger: code that it names is imported only if the user names it too."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from latent_rl.errors import UserError


def named_code(values: Mapping[str, Any]) -> dict[str, str]:
    """What a configuration would have imported, `module:Class`, each with the setting that names it again.

    That is `env.id`, `halting.rule`, and under `loss` every key and every text with a colon: which of them an option's
    type takes for a class, is not known before the class of the loss is.
    """
    env, halting, loss = (values.get(key) for key in ("env", "halting", "loss"))
    places = [
        (("env", "id"), env.get("id") if isinstance(env, Mapping) else None),
        (("halting", "rule"), halting.get("rule") if isinstance(halting, Mapping) else None),
        (("loss",), loss),
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
