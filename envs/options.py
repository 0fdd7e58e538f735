"""The options of a puzzle, held against the types in its constructor's signature before it is called."""

from __future__ import annotations

import inspect
import json
import os
import reprlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_type_hints

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from latent_rl.envs.errors import PuzzleError

MOST_INSTANCES = 10_000_000

Count = Annotated[int, Field(le=MOST_INSTANCES)]
"""How many instances; each puzzle says itself what is too few."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]

_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 80


def check_types(name: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, each of the type that the factory's signature says; what has no annotation is let through.

    A value must have the type: 2.0 and "2" are no integers, 1 is no truth value. What comes from YAML may be a list
    where a tuple is wanted, or text where a path is.

    Raises:
        PuzzleError: on a value of another type or out of range; the message names the option and what would be right.
    """
    hints, parameters = _hints(factory), inspect.signature(factory).parameters
    checked = dict(options)
    for option, value in options.items():
        default = parameters[option].default if option in parameters else None
        if option not in hints or value is default:
            continue  # the default itself is right even where a plug-in's annotation forgets it
        try:
            checked[option] = _validated(hints[option], value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            message = first["msg"].removeprefix("Input ").removeprefix("Value error, ").replace("array", "list")
            raise PuzzleError(f"{name}: option {option!r} {message}, got {_BRIEF.repr(value)}") from None
    return checked


def path_options(factory: Callable[..., Any]) -> list[str]:
    """The options that name files or folders, by their annotations."""
    return [option for option, hint in _hints(factory).items() if option != "return" and _holds_a_path(hint)]


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(factory.__init__ if isinstance(factory, type) else factory, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}  # a plug-in's annotations that mean something to its type checker only


def _validated(hint: Any, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True))
    except PydanticUserError:
        return value  # no type that pydantic knows
    try:
        # JSON has no tuples and no paths, so that even the strict rules make them of lists and text.
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return adapter.validate_python(value)
    checked = adapter.validate_json(text)
    return checked if isinstance(value, str | list) else value


def _holds_a_path(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, os.PathLike):
        return True
    return any(_holds_a_path(one) for one in (getattr(hint, "__origin__", None), *get_args(hint)) if one is not None)
