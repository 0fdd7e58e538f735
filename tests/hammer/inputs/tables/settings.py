"""Settings that are wrong wherever their type stands, as YAML text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HUGE = 10**12
BEYOND_64_BITS = 10**30

MAPPING, LIST = "{a: 1}", "[4]"


@dataclass(frozen=True)
class Kind:
    """What a value may be.

    Attributes:
        type: `int`, `float`, `bool`, `str`, `path`, `word` (one of a few), `pair`, `pair of ints`, `mapping`, `section`
            or `sources`.
        low: least number, `None` if any; `open`: that number itself is too small.
        high: greatest number.
        optional: whether `null` is allowed.
        bounded: whether an enormous number costs enormous work or memory.
    """

    type: str
    low: float | None = None
    open: bool = False
    high: float | None = None
    optional: bool = False
    bounded: bool = False


def wrong_values(kind: Kind) -> Iterator[tuple[str, str]]:
    """(what is wrong, YAML text) of values that a key of this kind cannot have."""
    if not kind.optional and kind.type != "section":
        yield "null", "null"
    yield from {
        "int": _ints,
        "float": _floats,
        "bool": _bools,
        "str": _strings,
        "path": _strings,
        "sources": _sources,
        "word": _words,
        "pair": _pairs,
        "pair of ints": _int_pairs,
        "mapping": _mappings,
        "section": _mappings,
    }[kind.type](kind)


def _ints(kind: Kind) -> Iterator[tuple[str, str]]:
    yield "a word", "abc"
    yield "a list", LIST
    yield "a mapping", MAPPING
    yield "a fraction", "4.5"
    yield "not a number", ".nan"
    yield "infinite", ".inf"
    yield "empty text", '""'
    yield "true", "true"
    yield "beyond 64 bits", str(BEYOND_64_BITS)
    yield from _out_of_range(kind)
    if kind.bounded:
        yield "enormous", str(HUGE)


def _floats(kind: Kind) -> Iterator[tuple[str, str]]:
    yield "a word", "abc"
    yield "a list", "[0.5]"
    yield "a mapping", MAPPING
    yield "not a number", ".nan"
    yield "infinite", ".inf"
    yield "infinite as text", "1e999"
    yield "empty text", '""'
    yield "true", "true"
    yield from _out_of_range(kind)
    if kind.bounded:
        yield "enormous", "1.0e+12"


def _out_of_range(kind: Kind) -> Iterator[tuple[str, str]]:
    if kind.low is not None:
        yield "negative", "-1"
        if kind.open and kind.low == 0:
            yield "zero", "0"
        if kind.low > 1:
            yield "too small", f"{kind.low - 1}"
    if kind.high is not None:
        # All digits: of a rounded number the last step over the bound is lost.
        yield "too large", f"{kind.high + 1}"


def _bools(kind: Kind) -> Iterator[tuple[str, str]]:
    yield "a word", "maybe"
    yield "a number", "2"
    yield "a list", "[true]"
    yield "a mapping", MAPPING
    yield "not a number", ".nan"
    yield "empty text", '""'


def _strings(kind: Kind) -> Iterator[tuple[str, str]]:
    yield "a number", "5"
    yield "a list", "[a, b]"
    yield "a mapping", MAPPING
    yield "a truth value", "true"
    yield "a date", "2020-01-01"
    yield "bytes", "!!binary aGVsbG8="
    yield "a YAML bomb", bomb()


def _sources(kind: Kind) -> Iterator[tuple[str, str]]:
    yield "a number", "5"
    yield "a list of numbers", "[5]"
    yield "a list of lists", "[[mini]]"
    yield "a mapping", MAPPING
    yield "a truth value", "true"
    yield "a YAML bomb", bomb()


def _words(kind: Kind) -> Iterator[tuple[str, str]]:
    yield "an unknown word", "nonsense"
    yield "a number", "3"
    yield "a list", "[a]"
    yield "a mapping", MAPPING
    yield "a truth value", "true"
    yield "empty text", '""'


def _pairs(kind: Kind) -> Iterator[tuple[str, str]]:
    yield "a number", "3"
    yield "a word", "abc"
    yield "a list of one", "[0.5]"
    yield "a list of three", "[0.5, 0.5, 0.5]"
    yield "a list of words", "[a, b]"
    yield "a list of lists", "[[0.5], [0.5]]"
    yield "a mapping", MAPPING
    yield "not a number", "[.nan, 0.5]"
    yield "infinite", "[0.5, .inf]"
    yield "negative", "[-1, 0.5]"
    yield "one and one", "[1, 1]"  # AdamW divides by 1 - beta


def _int_pairs(kind: Kind) -> Iterator[tuple[str, str]]:
    yield "a number", "3"
    yield "a word", "abc"
    yield "a list of one", "[3]"
    yield "a list of three", "[3, 4, 5]"
    yield "a list of words", "[a, b]"
    yield "a list of lists", "[[3], [4]]"
    yield "a mapping", MAPPING
    yield "a mapping of two", "{a: 1, b: 2}"
    yield "two letters", "ab"
    yield "fractions", "[3.5, 4.5]"
    yield "not a number", "[.nan, 4]"
    yield "infinite", "[3, .inf]"
    yield "negative", "[-1, 4]"
    yield "backwards", "[5, 3]"
    yield "nulls", "[null, null]"
    yield "beyond the board", "[3, 1000]"
    yield "true", "[true, 8]"


def _mappings(kind: Kind) -> Iterator[tuple[str, str]]:
    yield "a number", "3"
    yield "a word", "abc"
    yield "a list", "[1, 2]"
    yield "a truth value", "true"
    yield "a list of pairs", "[[a, 1]]"


def bomb(levels: int = 9) -> str:
    """A few hundred characters that stand for 10**levels strings."""
    names = "abcdefghijklmnop"
    rows = [f"&{names[0]} [{', '.join(['lol'] * 10)}]"]
    rows += [f"&{names[n]} [{', '.join([f'*{names[n - 1]}'] * 10)}]" for n in range(1, levels)]
    return f"[{', '.join(rows)}]"


def as_yaml(key: str, text: str) -> str:
    """The lines of a YAML file that give a dotted key a value."""
    names = key.split(".")
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(names)]
    return "\n".join(lines) + f" {text}\n"
