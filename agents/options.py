"""Classes that a configuration names, and their options: found, checked against the signature, and filled in.

The constructor of such a class is the only place that knows its options: keyword-only parameters with types and
defaults. `max_steps` is none of them; the run decides it.
"""

from __future__ import annotations

import difflib
import inspect
import math
import pkgutil
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

Kind = TypeVar("Kind")


class OptionError(ValueError):
    """A name or an option that does not exist or does not fit, told in one line."""


def find(table: Mapping[str, type[Kind]], name: object, base: type[Kind], what: str) -> type[Kind]:
    """The class that `table` holds under a name, or that `module:Class` names.

    Raises:
        OptionError: there is no such class, or it is no subclass of `base`; `what` says what was looked for.
    """
    if isinstance(name, str) and ":" in name:
        try:
            found = pkgutil.resolve_name(name)
        except (Exception, SystemExit) as error:
            # Whatever somebody's module does when it is imported.
            raise OptionError(f"{what} {name!r} cannot be imported: {' '.join(str(error).split())}") from None
    elif isinstance(name, str) and name in table:
        found = table[name]
    else:
        raise OptionError(f"unknown {what} {name!r}{nearest(name, table)} (or give my_package.my_module:MyClass)")
    if not (isinstance(found, type) and issubclass(found, base)):
        raise OptionError(f"{what} {name!r} is no subclass of {base.__module__}.{base.__name__}")
    return found


def check_options(kind: type, options: Mapping[str, Any], beside: Iterable[str] = ()) -> dict[str, Any]:
    """All options of a class: those given, checked against the types in its signature, and its defaults.

    Args:
        kind: the class.
        options: by name.
        beside: further names that a user may have meant.

    Raises:
        OptionError: an option is unknown (the nearest known is named), missing, or of the wrong type or range.
    """
    known = {
        name: parameter.default
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "max_steps"
    }
    for name in options:
        if name not in known:
            raise OptionError(f"unknown option {name!r}{nearest(name, [*known, *beside])}")
    hints = get_type_hints(kind.__init__, include_extras=True)
    values = {**known, **options}
    for name, value in values.items():
        if value is inspect.Parameter.empty:
            raise OptionError(f"option {name!r} is missing")
    return {name: _checked(name, value, hints.get(name, Any)) for name, value in values.items()}


def _checked(name: str, value: Any, hint: Any) -> Any:
    try:
        checked = TypeAdapter(hint).validate_python(value)
        if isinstance(value, bool) and not isinstance(checked, bool) and isinstance(checked, int | float):
            raise OptionError(f"{name}: expected a number, got {value}")
        if isinstance(checked, float) and not math.isfinite(checked):
            raise OptionError(f"{name}: expected a finite number, got {value!r}")
        return checked
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            raise OptionError(f"{name}: {first['ctx']['error']}") from None
        got = reprlib.repr(first["input"])
        raise OptionError(f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, got {got}") from None


def nearest(name: object, known: Iterable[str]) -> str:
    """How a message about an unknown name ends: with the nearest known one, or with all of them."""
    known = list(known)
    matches = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if matches:
        return f"; did you mean {matches[0]!r}?"
    return f"; known: {', '.join(known)}" if known else "; there are none"
