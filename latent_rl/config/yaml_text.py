"""YAML as a configuration may hold it: plain values, each key once, nothing that unfolds without end."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from latent_rl.errors import UserError, brief

MOST_VALUES = 10_000
MOST_LEVELS = 20
LONGEST_TEXT = 5000
LARGEST_INTEGER = 2**63 - 1


class NotYAML(UserError):
    """Text that is no YAML; the message says why, without where."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last, and reads 1e-3 as the number that it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands there twice")
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        # Of mappings that each merge ten of the last, nine are a billion keys.
        if len(node.value) > MOST_VALUES:
            raise yaml.constructor.ConstructorError(None, None, f"a mapping of more than {MOST_VALUES:,} merged keys")


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse(text: str) -> Any:
    """The value that YAML text stands for.

    Raises:
        NotYAML: it is none.
        UserError: it is not plain, see `check_plain`.
    """
    try:
        value = yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise NotYAML("nested too deeply") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # ValueError: a date in month 13, an integer of 5,000 digits.
        raise NotYAML(" ".join(str(error).split())) from None
    check_plain(value)
    return value


def read(path: Path) -> str:
    """The text of a configuration file, which is UTF-8 whatever the locale says."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"config file {path} does not exist") from None
    except (OSError, ValueError) as error:
        # ValueError: no UTF-8, or a path that holds a NUL.
        raise UserError(f"config file {path} cannot be read: {error}") from None


def check_plain(value: Any) -> None:
    """Refuse what no configuration needs, before anything is done with it.

    Plain are null, truth values, integers of 64 bits, finite numbers, text without control characters, and lists and
    mappings of these with text as keys: 20 levels deep, 10,000 values in all, texts of 5,000 characters.

    Raises:
        UserError: naming the key.
    """
    for number, (where, one) in enumerate(_walk("", value, 0)):
        if (fault := _fault(one)) is not None:
            raise UserError(f"{where}: {fault}" if where else fault)
        if number > MOST_VALUES:
            raise UserError(f"{where}: a configuration holds at most {MOST_VALUES:,} values")


def _walk(where: str, value: Any, level: int) -> Iterator[tuple[str, Any]]:
    if level > MOST_LEVELS:
        raise UserError(f"{where}: nested too deeply")
    yield where, value
    if isinstance(value, Mapping):
        for key, child in value.items():
            if not isinstance(key, str):
                raise UserError(f"{where or 'configuration'}: keys are text, got {brief(key)}")
            yield from _walk(f"{where}.{key}" if where else key, child, level + 1)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _walk(where, child, level + 1)


def _fault(value: Any) -> str | None:
    if value is None or isinstance(value, bool | list | tuple | Mapping):
        return None
    if isinstance(value, int):
        return None if abs(value) <= LARGEST_INTEGER else f"expected an integer of 64 bits, got {brief(value)}"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"expected a finite number, got {value}"
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            return f"expected text of at most {LONGEST_TEXT:,} characters, got {len(value):,}"
        # Text of many lines is as good as any; a surrogate cannot be written to a file.
        plain = all(one.isprintable() or one in " \n\t" or ord(one) > 0x9F for one in value)
        if plain and not any("\ud800" <= one <= "\udfff" for one in value):
            return None
        return f"expected text without control characters, got {brief(value)}"
    return f"expected text, a number, true, false, null, a list or a mapping, got a {type(value).__name__}"
