"""What goes wrong by a user's hand, told in one line."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class UserError(Exception):
    """A mistake that the user can mend. Programs print its one line and exit with code 2, without a traceback."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the known word closest to `word`, or an empty string if none is close."""
    matches = difflib.get_close_matches(word[:200], list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def brief(value: object) -> str:
    """`repr(value)`, cut in the middle to a length that fits into a message."""
    return _SHORT.repr(value)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or what kind it is if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
