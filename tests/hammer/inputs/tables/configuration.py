"""The configuration: every key of the schema with values that it cannot have, misspelt keys, and broken YAML files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from latent_rl.config import flatten, load_config, scheme_names
from latent_rl.config.schema import Config
from tables.case import SMALL, Case, Material
from tables.settings import Kind, as_yaml, bomb, wrong_values

AREA = "configuration: values"
KEYS = "configuration: keys"
FILES = "configuration: files"

COSTLY = (
    "network.width network.layers network.heads network.expansion network.multiple_of network.kernel "
    "network.puzzle_positions network.puzzle_embedding_width network.cycles network.inner_updates env.max_steps "
    "halting.ppo.hidden "
    "collector.num_envs threads"
).split()
"""Numbers that work and memory grow with."""


def cases() -> Iterator[Case]:
    """All of this page."""
    yield from _values()
    yield from _keys()
    yield from _files()
    yield from _puzzle_ids()


def small_without(key: str) -> list[str]:
    """The settings of a small run, but for a key and what is under it or over it."""
    short = [*SMALL, "collector.num_envs=8", "budget.updates=2"]
    return [one for one in short if not f"{one.partition('=')[0]}.".startswith(f"{key}.") and not _above(one, key)]


def _above(setting: str, key: str) -> bool:
    return f"{key}.".startswith(f"{setting.partition('=')[0]}.")


def kinds() -> dict[str, Kind]:
    """What each key of the configuration may be: from the schema, and where that says nothing, from its value."""
    found = dict(_of_model(Config, ""))
    for scheme in scheme_names():
        for key, value in flatten(load_config(overrides=[f"scheme={scheme}"])).items():
            by_value = {bool: "bool", int: "int", float: "float", str: "str"}.get(type(value))
            if key not in found and by_value is not None and not key.startswith("env.options."):
                found[key] = Kind(by_value)
    # An optional section or a free-form key may stand over others; the mapping itself is checked with them.
    return found


def _of_model(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Kind]]:
    for name, field in model.model_fields.items():
        key = prefix + name
        yield key, _kind(key, field.annotation, list(field.metadata))
        for inner in _models(field.annotation):
            yield from _of_model(inner, f"{key}.")


def _models(annotation: Any) -> list[type[BaseModel]]:
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]


def _kind(key: str, annotation: Any, constraints: list[Any], optional: bool = False) -> Kind:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        flat = [part for one in more for part in (one.metadata if isinstance(one, FieldInfo) else [one])]
        return _kind(key, inner, [*constraints, *flat], optional)
    if origin in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        return _kind(key, parts[0], constraints, len(parts) < len(get_args(annotation)))
    low = next((value for one in constraints for value in [getattr(one, "gt", None)] if value is not None), None)
    open_end = low is not None
    if low is None:
        low = next((value for one in constraints for value in [getattr(one, "ge", None)] if value is not None), None)
    high = next(
        (v for one in constraints for v in [getattr(one, "le", None), getattr(one, "lt", None)] if v is not None), None
    )
    type_name = (
        "word"
        if origin is Literal
        else "pair"
        if origin is tuple
        else "mapping"
        if origin is dict
        else "section"
        if isinstance(annotation, type) and issubclass(annotation, BaseModel)
        else {bool: "bool", int: "int", float: "float", str: "str"}.get(annotation, "mapping")
    )
    return Kind(type_name, low, open_end, high, optional, key in COSTLY)


def _values() -> Iterator[Case]:
    for number, (key, kind) in enumerate(kinds().items()):
        for turn, (wrong, text) in enumerate(wrong_values(kind)):
            name = f"{key} is {wrong}"
            named = (key.split(".")[-1],)
            # Every third by a file, every seventh through another program.
            if (number + turn) % 3 == 0:
                content = as_yaml(key, text)

                def write(folder: Path, _: Material, content: str = content) -> None:
                    (folder / "mine.yaml").write_text(content)

                arguments = ["--config", "mine.yaml", *small_without(key)]
                yield Case(AREA, f"{name} (file)", "train", tuple(arguments), write, named=named)
            else:
                yield Case(AREA, name, "train", (*small_without(key), f"{key}={text}"), named=named)
            if (number + turn) % 29 == 0 and key not in ("name", "scheme", "seed"):
                shared = ["--seeds", "1", "--schemes", "pi", *small_without(key), f"{key}={text}"]
                yield Case(AREA, f"{name} (compare)", "compare", tuple(shared), named=named)
    for wrong, settings in {
        "heads do not divide the width": ["network.width=16", "network.heads=3", "network.mixer=attention"],
        "more heads than features": ["network.width=16", "network.heads=32", "network.mixer=attention"],
        "an even kernel": ["network.kernel=2"],
        "a puzzle embedding wider than its positions": ["network.puzzle_embedding_width=9999"],
        "no budget": ["budget.updates=null", "budget.passes=null", "budget.seconds=null"],
        "a device that is none": ["device=gpu7"],
        "a device that is not here": ["device=cuda:99"],
        "a device number out of range": ["device=cuda:99999999999"],
        "the device of shapes only": ["device=meta"],
        "an empty device": ["device="],
        "an unknown scheme": ["scheme=pie"],
        "an empty scheme": ["scheme="],
        "a scheme file that is missing": ["scheme=none.yaml"],
        "a scheme that climbs": ["scheme=../../x"],
        "threads beyond an int": ["threads=2147483648"],
        "threads beyond reason": ["threads=1000000"],
        "a width of ten digits": ["network.width=10000000000"],
        "passes that overflow": ["network.cycles=9223372036854775807", "network.inner_updates=9223372036854775807"],
        "a seed of 64 bits and one": [f"seed={2**64}"],
        "a seed of 63 bits and one": [f"seed={2**63}"],
        "an endless floor": ["halting.rule=learned", "halting.ppo.floor=0.5"],
        "MLflow at no known scheme": ["tracking.enabled=true", "tracking.uri=nonsense://x"],
        "MLflow at an empty address": ["tracking.enabled=true", "tracking.uri="],
        "MLflow in a database that is a folder": ["tracking.enabled=true", "tracking.uri=sqlite:///."],
        "MLflow in no folder": ["tracking.enabled=true", "tracking.uri=sqlite:////proc/no/mlflow.db"],
        "MLflow with an empty experiment": ["tracking.enabled=true", "tracking.experiment="],
    }.items():
        extra = () if "budget" in settings[0] else ("budget.updates=2",)
        words = {word for one in settings for word in re.split("[.=]", one.partition("=")[0]) + [one.partition("=")[2]]}
        yield Case(AREA, wrong, "train", (*SMALL, "collector.num_envs=8", *extra, *settings), named=tuple(words - {""}))


def _keys() -> Iterator[Case]:
    for number, key in enumerate(kinds()):
        head, _, last = key.rpartition(".")
        swapped = last[0] + last[2:3] + last[1:2] + last[3:] if len(last) > 3 else last + "s"
        wrong = {0: f"{last}x", 1: swapped, 2: last.replace("_", "-") if "_" in last else last.capitalize()}[number % 3]
        wrong = wrong if wrong != last else f"{last}x"
        misspelt = f"{head}.{wrong}" if head else wrong
        yield Case(KEYS, f"{misspelt} for {key}", "train", (*SMALL, f"{misspelt}=1"), named=(wrong,))
    programs = ("evaluate", "solve", "analyze", "halt")
    for number, setting in enumerate(
        ["evaluation.batch_sizes=5", "envoptions.test=5", "networks.width=3", "bf61=true", "optimizer.lr=1", "seed=5"]
        * 2
    ):
        program = programs[number % 4]
        yield Case(
            KEYS,
            f"{setting} ({program}, {number})",
            program,
            ("run", setting),
            with_run,
            named=(setting.partition("=")[0].partition(".")[0],),
        )
    for text in (
        "=5",
        "seed",
        "seed:5",
        "==",
        ".=1",
        "seed.=1",
        ".seed=1",
        "a..b=1",
        "seed=[1",
        "seed={",
        "seed=*x",
        "=",
        "seed=!!python/object:os.system 1",
        "seed=!nonsense 3",
        "env.options.=3",
        "a" * 5000 + "=1",
        ".".join("a" * 2000) + "=1",
        "seed=" + "[" * 20000,
        "seed=5\tseed",
        "naïve=1",
        "\x1b[31m=1",
        "seed=\x00",
    ):
        short = text if len(text) < 40 else f"{text[:20]}... of {len(text)} characters"
        yield Case(KEYS, f"the argument {short!r}", "train", (*SMALL, text))  # fmt: skip


def with_run(folder: Path, material: Material) -> None:
    """A copy of the trained run, as `run`."""
    import shutil

    shutil.copytree(material.run, folder / "run")


def _files() -> Iterator[Case]:
    whole = as_yaml("network.width", "16").encode()
    contents: dict[str, bytes] = {
        "a list": b"[1, 2]\n",
        "a text": b"hello\n",
        "a number": b"5\n",
        "a document too many": b"seed: 1\n---\nseed: 2\n",
        "a tab for an indentation": b"network:\n\twidth: 16\n",
        "a colon too many": b"seed: 1: 2\n",
        "an unclosed bracket": b"network: {width: 16\n",
        "an unclosed quote": b'name: "abc\n',
        "an unknown anchor": b"seed: *nothing\n",
        "a tag of Python's": b"name: !!python/object/apply:os.system ['touch owned']\n",
        "a key twice": b"seed: 1\nseed: 2\n",
        "a section twice": b"network: {width: 16}\nnetwork: {layers: 1}\n",
        "keys that are no text": b"5: 3\n",
        "a key that is null": b"null: 3\n",
        "a key that is a list": b"[a, b]: 3\n",
        "a key in a section that is no text": b"network: {5: 3}\n",
        "options whose names are no text": b"env: {options: {5: 3}}\n",
        "Latin-1": "name: größe\n".encode("latin-1"),
        "UTF-16 without its mark": "seed: 1\n".encode("utf-16-le"),
        "a NUL": b"seed: 1\x00\n",
        "random bytes": bytes(range(128, 256)) * 4,
        "a gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
        "a merge key that is no mapping": b"<<: 5\n",
        "itself": b"&a [*a]\n",
        "a mapping inside itself": b"env: &a {options: *a}\n",
        "options inside themselves": b"env: {options: &a {blanks: *a}}\n",
        "a deep nest": b"network: " + b"[" * 5000 + b"]" * 5000 + b"\n",
        "a deep nest of mappings": b"{a: " * 3000 + b"1" + b"}" * 3000 + b"\n",
        "a bomb as a name": f"name: {bomb()}\n".encode(),
        "a bomb in the options": f"env: {{options: {{size: {bomb()}}}}}\n".encode(),
        "a bomb as an unknown key": f"bomb: {bomb()}\n".encode(),
        "a bomb as a section": f"collector: {bomb()}\n".encode(),
        "a bomb as a puzzle's file": f"env: {{options: {{train_file: {bomb()}, test_file: x}}}}\n".encode(),
        "a bomb of merge keys": ("a0: &a0 {x: 1}\n" + "".join(
            f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 9))).encode(),
        "a wide bomb of mappings": ("a0: &a0 {x: lol, y: lol}\n" + "".join(
            f"a{n}: &a{n} {{{', '.join(f'k{k}: *a{n - 1}' for k in range(10))}}}\n" for n in range(1, 9))).encode(),
        "an integer of 5,000 digits": b"seed: " + b"9" * 5000 + b"\n",
        "an integer of 5,000 digits in an option": b"env: {options: {size: " + b"9" * 5000 + b"}}\n",
        "a name of a megabyte": b"name: " + b"a" * 2**20 + b"\n",
        "a value of a megabyte": b"network: {mixer: " + b"a" * 2**20 + b"}\n",
        "a date of no month": b"seed: 2020-99-99\n",
        "a sexagesimal seed": b"seed: 99:99:99:99:99:99:99:99:99:99:99:99\n",
    }  # fmt: skip
    for wrong, content in contents.items():

        def write(folder: Path, _: Material, content: bytes = content) -> None:
            (folder / "mine.yaml").write_bytes(content)

        yield Case(FILES, f"a config that holds {wrong}", "train", ("--config", "mine.yaml", *SMALL), write)
        if wrong in ("a list", "Latin-1", "a NUL", "a key twice", "a bomb as an unknown key", "itself"):
            yield Case(FILES, f"a scheme that holds {wrong}", "train", ("scheme=mine.yaml", *SMALL), write)
            yield Case(
                FILES,
                f"a config for compare that holds {wrong}",
                "compare",
                ("--config", "mine.yaml", "--seeds", "1", "--schemes", "pi", *SMALL),
                write,
            )
    for wrong, name in {
        "is missing": "none.yaml",
        "lies in no folder": "no/folder/mine.yaml",
        "is a folder": "folder.yaml",
        "is a device": "/dev/stdin.yaml",
        "lies under a file": "file/mine.yaml",
        "has a name of 300 characters": "a" * 295 + ".yaml",
        "has a name of 5,000 characters": "a" * 5000,
        "is a preset misspelt": "sudoku-4x5",
        "is an empty name": "",
        "climbs": "../../setup",
        "is a scheme": "scheme/pi",
        "is no .yaml": "mine.yml.txt",
    }.items():

        def prepare(folder: Path, _: Material) -> None:
            (folder / "folder.yaml").mkdir()
            (folder / "file").write_bytes(whole)

        for program in ("train", "compare"):
            yield Case(FILES, f"a config that {wrong} ({program})", program, ("--config", name, *SMALL), prepare)


def _puzzle_ids() -> Iterator[Case]:
    modules = {
        "raises on import": "raise ValueError('no')\n",
        "leaves on import": "import sys\nsys.exit(0)\n",
        "does not parse": "def (:\n",
        "imports nothing that exists": "import no_such_module\n",
        "registers nothing": "x = 1\n",
        "is no UTF-8": "x = '\udce4'\n",
        "registers a class that is none": (
            "from latent_rl.envs import register_puzzle\nregister_puzzle('Mine-v0', int)\n"
        ),
        "registers a class that raises": (
            "from latent_rl.envs import register_puzzle\ndef make():\n    raise RuntimeError('boom')\n"
            "register_puzzle('Mine-v0', make)\n"
        ),
        "registers what is not there": (
            "from latent_rl.envs import register_puzzle\nregister_puzzle('Mine-v0', 'mine:Nothing')\n"
        ),
        "registers a malformed id": "from latent_rl.envs import register_puzzle\nregister_puzzle('a b c', int)\n",
        "makes a puzzle without a shape": (
            "from latent_rl.envs import Puzzle, register_puzzle\nclass Mine(Puzzle):\n    name = 'mine'\n"
            "    def instances(self, split): raise NotImplementedError\n    def is_solved(self, a, b): return None\n"
            "register_puzzle('Mine-v0', Mine)\n"
        ),
    }
    bare = [one for one in SMALL if not one.startswith("env.")] + ["budget.updates=2", "collector.num_envs=8"]
    for wrong, text in modules.items():

        def write(folder: Path, _: Material, text: str = text) -> None:
            (folder / "mine.py").write_text(text, encoding="utf-8", errors="surrogateescape")
            # Not in the snapshot's way: the interpreter's own cache is no leftover of ours.
            import sys

            sys.dont_write_bytecode = True

        yield Case(
            AREA,
            f"env.id: a module that {wrong}",
            "train",
            (*bare, "env.id=mine:Mine-v0"),
            write,
            named=("mine", "Mine"),
        )
    for text in (
        "nonsense",
        '""',
        "Sudoku-v0",
        "latent_rl/Sudoku-v9",
        "latent_rl/sudoku-v0",
        "CartPole-v1",
        "os:CartPole-v1",
        "../x:Y-v0",
        "/etc/passwd:Y-v0",
        ".x:Y-v0",
        ":Y-v0",
        "x:",
        ":",
        "a b:c",
        "latent_rl.train:Y-v0",
        '"a\\0b:Y-v0"',
        '"\\0"',
        "'[b]'",
        "é:Y-v0",
        "a" * 3000,
        "1:2:3:4",
        "latent_rl..envs:Y-v0",
        "mine.py",
        "__main__:Y-v0",
    ):
        short = text if len(text) < 40 else f"{len(text)} characters"
        yield Case(AREA, f"env.id is {short}", "train", (*bare, f"env.id={text}"))  # fmt: skip
