"""Comparing what two runs left behind: every tensor bit by bit, every number but clock times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VOLATILE = ("second", "mlflow_run_id", "command")
"""Keys whose values may differ between two runs of one configuration."""


def differences(expected: Path, found: Path) -> list[str]:
    """In which files two folders differ, one line each: missing, left over, or with another content.

    Of `.pt` and `.json` files the contents are compared, tensors bit by bit and without `VOLATILE` keys; of YAML the
    text; of figures and reports only that they are there.
    """
    here, there = _files(expected), _files(found)
    lines = [f"missing: {name}" for name in sorted(here - there)]
    lines += [f"left over: {name}" for name in sorted(there - here)]
    for name in sorted(here & there):
        try:
            change = _change(expected / name, found / name)
        except Exception as error:  # whatever a damaged file makes its reader raise
            change = f"{type(error).__name__}: {error}"
        if change is not None:
            lines.append(f"differs: {name}: {change}")
    return lines


def _files(folder: Path) -> set[str]:
    # The lock of a run lies there empty; whether anybody holds it is no matter of its content.
    paths = (path for path in folder.rglob("*") if not path.is_dir() and path.name != ".lock")
    return {str(path.relative_to(folder)) for path in paths}


def _change(expected: Path, found: Path) -> str | None:
    if expected.suffix == ".yaml":
        return None if expected.read_text() == found.read_text() else "other text"
    if expected.suffix not in (".json", ".pt"):
        return None if found.stat().st_size else "empty"
    values, others = (dict(_leaves(_load(path), "")) for path in (expected, found))
    for key in dict.fromkeys((*values, *others)):
        if values.get(key) != others.get(key):
            return f"{key} is {_short(others.get(key))}, not {_short(values.get(key))}"
    return None


def _load(path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(path.read_text())
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, child in value.items():
            if not any(word in str(name) for word in VOLATILE):
                yield from _leaves(child, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for number, child in enumerate(value):
            yield from _leaves(child, f"{key}[{number}]")
    elif hasattr(value, "untyped_storage"):
        import torch

        content = value.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        yield key, (str(value.dtype), tuple(value.shape), content)
    else:
        yield key, value


def _short(value: Any) -> str:
    return f"other {value[0]} {value[1]}" if isinstance(value, tuple) else repr(value)[:60]
