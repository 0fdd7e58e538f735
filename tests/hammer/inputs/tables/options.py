"""`env.options` of every puzzle family: each argument of its constructor with values that it cannot have."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from tables.case import SMALL, Case
from tables.configuration import with_run
from tables.settings import Kind, wrong_values

COUNT = Kind("int", low=0, open=True, bounded=True)
OPTIONAL_COUNT = Kind("int", low=0, open=True, bounded=True, optional=True)
SEED = Kind("int", low=0)
FLAG, FILE = Kind("bool"), Kind("path", optional=True)
FAMILIES: dict[str, dict[str, Kind]] = {
    "Sudoku": {
        "size": COUNT,
        "train": OPTIONAL_COUNT,
        "test": OPTIONAL_COUNT,
        "seed": SEED,
        "blanks": Kind("pair of ints", optional=True),
        "train_file": FILE,
        "test_file": FILE,
        "augment": FLAG,
        "check_uniqueness": FLAG,
        "cache_dir": FILE,
        "validation": OPTIONAL_COUNT,
        "split_by": Kind("word"),
    },
    "Maze": {
        "size": COUNT,
        "rows": OPTIONAL_COUNT,
        "columns": OPTIONAL_COUNT,
        "train": OPTIONAL_COUNT,
        "test": OPTIONAL_COUNT,
        "seed": SEED,
        "min_path": OPTIONAL_COUNT,
        "unique": FLAG,
        "train_file": FILE,
        "test_file": FILE,
        "augment": FLAG,
        "cache_dir": FILE,
        "validation": OPTIONAL_COUNT,
    },
    "NQueens": {
        "size": COUNT,
        "train": COUNT,
        "test": COUNT,
        "seed": SEED,
        "cache_dir": FILE,
        "validation": OPTIONAL_COUNT,
        "split_by": Kind("word"),
    },
    "Arc": {
        "test": Kind("sources"),
        "train": Kind("sources"),
        "augmentations": Kind("int", low=0, bounded=True),
        "seed": SEED,
        "side": COUNT,
        "names": Kind("sources", optional=True),
        "allow_leak": FLAG,
        "validation": OPTIONAL_COUNT,
    },
}
"""What an option may be. A new option of a family is missed by this list; `unlisted` says so."""

SMALL_FAMILY: dict[str, dict[str, str]] = {
    "Sudoku": {"size": "4", "train": "50", "test": "10"},
    "Maze": {"size": "5", "train": "50", "test": "10"},
    "NQueens": {"size": "6", "train": "50", "test": "10"},
    "Arc": {"test": "mini", "side": "8", "augmentations": "3"},
}
BARE = [one for one in SMALL if not one.startswith("env.")] + ["budget.updates=2", "collector.num_envs=8"]


def cases() -> Iterator[Case]:
    """All of this page."""
    for family, options in FAMILIES.items():
        for option, kind in options.items():
            for wrong, text in wrong_values(kind):
                yield Case(
                    f"options: {family}",
                    f"{option} is {wrong}",
                    "train",
                    train(family, **{option: text, **_partner(option, text)}),
                    named=_words(family, option),
                )
        yield from _more(family)
    yield from _later()


def train(family: str, **options: str) -> tuple[str, ...]:
    """Arguments of a short training on a family, with options."""
    given = {**SMALL_FAMILY[family], **options}
    if "train_file" in options or "test_file" in options:
        # All of a file: a preset of the same family brings counts.
        given = {"size": given["size"], "train": "null", "test": "null", **options}
    return (*BARE, f"env.id=latent_rl/{family}-v0", *(f"env.options.{name}={text}" for name, text in given.items()))


def unlisted() -> list[str]:
    """Options of the built-in families that `FAMILIES` does not know."""
    from latent_rl.envs.arc import Arc
    from latent_rl.envs.maze import Maze
    from latent_rl.envs.nqueens import NQueens
    from latent_rl.envs.sudoku import Sudoku

    return [
        f"{made.__name__}.{name}"
        for made in (Sudoku, Maze, NQueens, Arc)
        for name in inspect.signature(made).parameters
        if name not in FAMILIES[made.__name__]
    ]


def _words(family: str, option: str) -> tuple[str, ...]:
    """What an error about an option may call it."""
    return (option, "rows", "columns") if family == "Maze" and option == "size" else (option,)


def _partner(option: str, text: str) -> dict[str, str]:
    """Options that only stand together."""
    partners = {"rows": "columns", "columns": "rows", "train_file": "test_file", "test_file": "train_file"}
    if option not in partners:
        return {}
    return {partners[option]: "5" if option in ("rows", "columns") else "none.csv"}


def _more(family: str) -> Iterator[Case]:
    area = f"options: {family}"
    board = {
        "Sudoku": [("size", one) for one in ("5", "16", "0", "-4", "'4x4'", "100000")]
        + [("blanks", one) for one in ("[0, 17]", "[17, 17]", "[16, 16]", "[]", "'6-11'", f"[1, {10**30}]")]
        + [("test", str(2**63)), ("train", str(2**64))],
        "Maze": [("size", one) for one in ("1", "0", "100000")]
        + [("min_path", one) for one in ("25", "1000", str(10**12))]
        + [("rows", "1"), ("rows", "100000"), ("columns", "1")],
        "NQueens": [("size", one) for one in ("3", "0", "1000", "100000", str(2**63))]
        + [("train", str(10**7)), ("test", str(10**9)), ("train", "1000")],
        "Arc": [("side", one) for one in ("31", "1", "0", "1000")]
        + [("augmentations", "100001"), ("test", "none"), ("test", "''"), ("test", "."), ("test", "/dev/null")]
        + [("test", "[]"), ("names", "[none]"), ("names", "[]"), ("train", "mini"), ("test", "[mini, none]")],
    }[family]
    for option, text in board:
        if (family, option, text) == ("Arc", "side", "1"):
            continue  # whether a task fits on it is for the data to say
        arguments = train(family, **{option: text, **_partner(option, text)})
        yield Case(area, f"{option}={text}", "train", arguments)
    for seed in (2**63, 2**64, 2**64 + 1, 2**70, -(2**63)):
        # torch takes seeds of 64 bits; whether ours have 63 is open.
        expected = "either" if seed == 2**63 else "refused"
        yield Case(area, f"seed={seed}", "train", train(family, seed=str(seed)), named=("seed",), expected=expected)
    for option in ("sizes", "trian", "Seed", "cache-dir", "self", "__class__", "kwargs", "a" * 3000):
        short = option if len(option) < 30 else "of 3,000 characters"
        yield Case(area, f"an option called {short}", "train", train(family, **{option: "1"}), named=(option[:20],))
    if family in ("Sudoku", "Maze"):
        for wrong, text in {
            "missing": "none.csv", "empty": "''", "a folder": ".", "too long": "a" * 3000, "with a NUL": '"a\\0b"',
            "a device": "/dev/null", "an address": "https://localhost:1/x.csv", "under a file": "/dev/null/x",
        }.items():  # fmt: skip
            for one in ("train_file", "test_file"):
                yield Case(area, f"{one} is {wrong}", "train", train(family, **{one: text, **_partner(one, text)}))
        yield Case(area, "train_file alone", "train", train(family, train_file="x.csv"), named=("test_file",))
    if family != "Arc":
        for wrong, text in {"with a NUL": '"a\\0b"', "too long": "a" * 3000}.items():
            yield Case(area, f"cache_dir is {wrong}", "train", train(family, cache_dir=text), expected="either")


def _later() -> Iterator[Case]:
    """Options changed on a trained model, through the other programs."""
    wrong = {
        "size": ["[4]", "6", "abc", "null"],
        "test": ["abc", "0", "-1", str(10**12), "[5]", "1.5", "true"],
        "seed": ["abc", str(2**64), "-1", "[1]"],
        "blanks": ["3", "abc", "[1]", "[9, 3]"],
        "train_file": ["none.csv", "5"],
        "test_file": ["none.csv", "[a]"],
        "nonsense": ["1"],
    }
    programs = ("evaluate", "solve", "analyze", "halt")
    number = 0
    for option, texts in wrong.items():
        for text in texts:
            program = programs[number % 4]
            number += 1
            arguments = ("run", f"env.options.{option}={text}")
            words = {"size": ("size", "sudoku-6x6"), "train_file": ("_file",), "test_file": ("_file",)}.get(
                option, (option,)
            )
            yield Case(
                "options: later", f"{program}: {option}={text}", program, arguments, with_run, b"." * 16, named=words
            )
    for program in programs:
        for text in ("3", "abc", "[1]", "null"):
            arguments = ("run", f"env.options={text}")
            yield Case("options: later", f"{program}: env.options={text}", program, arguments, with_run)
        for text in ("latent_rl/NQueens-v0", "nonsense", "5", "os:x"):
            yield Case("options: later", f"{program}: env.id={text}", program, ("run", f"env.id={text}"), with_run)
