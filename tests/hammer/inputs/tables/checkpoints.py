"""Checkpoints: cut off, worn, foreign, hostile, and changed by somebody's hand."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tables.case import SMALL, Case, Material
from tables.configuration import with_run

PROGRAMS = ("solve", "evaluate", "analyze", "halt")
MODEL, TRAINING = "run/checkpoint/model.pt", "run/checkpoint/training.pt"
FLIPS = 300
TRAINING_FLIPS = 100


def cases() -> Iterator[Case]:
    """All of this page."""
    for percent in range(100):
        yield _model("checkpoints: cut off", f"model.pt at {percent}%", percent, partial(_cut, MODEL, percent))
    for percent in range(0, 100, 4):
        change = partial(_cut, TRAINING, percent)
        yield _resume("checkpoints: cut off", f"training.pt at {percent}%", change)
    for seed in range(FLIPS):
        yield _model(
            "checkpoints: bits",
            f"model.pt, bit {seed}",
            0,
            partial(_flip, MODEL, seed),
            expected="either",
            harmless=partial(_same_content, MODEL),
        )
    for seed in range(TRAINING_FLIPS):
        yield _resume(
            "checkpoints: bits",
            f"training.pt, bit {seed}",
            partial(_flip, TRAINING, seed),
            expected="either",
            # The file that was read is replaced when the resumed run ends; a copy of it stays.
            harmless=partial(_same_content, "as-it-was.pt"),
        )
    for number, (wrong, change) in enumerate(_foreign().items()):
        for file in (MODEL, TRAINING):
            make = partial(_replace, file, change)
            name = f"{Path(file).name}: {wrong}"
            more: dict[str, Any] = {}
            if wrong in ("twice itself", "junk before it"):
                # An archive is read from its end: what stands before it may be passed over.
                kept = MODEL if file is MODEL else "as-it-was.pt"
                more = {"expected": "either", "harmless": partial(_same_content, kept)}
            yield (
                _model("checkpoints: foreign", name, number, make, **more)
                if file is MODEL
                else _resume("checkpoints: foreign", name, make, **more)
            )
    for number, (wrong, change) in enumerate(_changed_models().items()):
        yield _model("checkpoints: changed", f"model.pt: {wrong}", number, partial(_edit, MODEL, change))
    for wrong, change in _changed_trainings().items():
        more = {"expected": "either"} if wrong.startswith(MEANINGLESS) else {}
        yield _resume("checkpoints: changed", f"training.pt: {wrong}", partial(_edit, TRAINING, change), **more)
    yield from _strangers()
    yield from _elsewhere()


def _model(area: str, name: str, number: int, change: Callable[[Path], None], **more: Any) -> Case:
    def prepare(folder: Path, material: Material) -> None:
        with_run(folder, material)
        change(folder)

    program = PROGRAMS[number % len(PROGRAMS)]
    stdin = b"321...32.12.23.1" if program == "solve" else b""
    return Case(area, f"{name} ({program})", program, ("run", *_steps(program)), prepare, stdin, **more)


def _steps(program: str) -> tuple[str, ...]:
    # Little work where the model is accepted after all.
    learning = ("halting.ppo.puzzles=20", "halting.ppo.iterations=1") if program == "halt" else ()
    return ("--puzzles", "5", *learning) if program != "solve" else ()


def _resume(area: str, name: str, change: Callable[[Path], None], **more: Any) -> Case:
    def prepare(folder: Path, material: Material) -> None:
        with_run(folder, material)
        change(folder)
        (folder / "as-it-was.pt").write_bytes((folder / TRAINING).read_bytes())

    return Case(area, name, "train", ("--resume", "run", "budget.updates=7"), prepare, **more)


def _cut(file: str, percent: int, folder: Path) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) * percent // 100])


def _flip(file: str, seed: int, folder: Path) -> None:
    content = bytearray((folder / file).read_bytes())
    at = random.Random(seed).randrange(8 * len(content))
    content[at // 8] ^= 1 << at % 8
    (folder / file).write_bytes(content)


def _same_content(file: str, folder: Path, material: Material) -> bool:
    """Whether a file says what the sound one says: some bits of an archive mean nothing."""
    import torch

    sound = material.run / "checkpoint" / ("model.pt" if file == MODEL else "training.pt")
    found, wanted = (torch.load(path, weights_only=True) for path in (folder / file, sound))
    return _equal(found, wanted)


def _equal(one: Any, other: Any) -> bool:
    import torch

    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        both = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
        return both and one.dtype == other.dtype and one.shape == other.shape and _bits(one) == _bits(other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))
    return repr(one) == repr(other)


def _bits(tensor: Any) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def _replace(file: str, make: Callable[[bytes], bytes], folder: Path) -> None:
    (folder / file).write_bytes(make((folder / file).read_bytes()))


def _edit(file: str, change: Callable[[dict[str, Any]], Any], folder: Path) -> None:
    import torch

    content = torch.load(folder / file, weights_only=True)
    replaced = change(content)
    torch.save(content if replaced is None else replaced, folder / file)


class _Command:
    """Unpickled with Python's own loader, this would leave a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned",)


def _saved(content: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _with_pickle(content: bytes, data: bytes) -> bytes:
    """An archive like torch's with another pickle in it."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(result, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name.endswith("data.pkl") else old.read(name))
    return result.getvalue()


def _without(content: bytes, ending: str) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(result, "w") as new:
        for name in old.namelist():
            if not name.endswith(ending):
                new.writestr(name, old.read(name))
    return result.getvalue()


def _zip(**files: bytes) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return result.getvalue()


def _lists(levels: int) -> bytes:
    """A pickle of nested pairs of one another: 2**levels leaves for whoever walks them."""
    code = b"\x80\x02]q\x00"
    for level in range(levels):
        code += b"h" + bytes([level]) + b"h" + bytes([level]) + b"\x86q" + bytes([level + 1])
    return code + b"."


def _foreign() -> dict[str, Callable[[bytes], bytes]]:
    bomb = pickle.dumps(_Command())
    return {
        "nothing": lambda _: b"",
        "a text": lambda _: b"hello\n",
        "zeros": lambda content: bytes(len(content)),
        "random bytes": lambda _: random.Random(0).randbytes(5000),
        "a PNG": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(100),
        "a zip of something else": lambda _: _zip(hello=b"hello"),
        "an empty zip": lambda _: _zip(),
        "a zip that starts like torch's": lambda _: _zip(**{"archive/data.pkl": b"", "archive/version": b"3\n"}),
        "a zip bomb": lambda _: _zip(**{"archive/data.pkl": bytes(2**28), "archive/version": b"3\n"}),
        "a gzip": lambda content: b"\x1f\x8b\x08\x00" + content,
        "a safetensors file": lambda _: struct.pack("<Q", 2) + b"{}",
        "a pickle of a dictionary": lambda _: pickle.dumps({"weights": 1}),
        "a pickle that runs a command": lambda _: bomb,
        "a pickle that runs a command, in torch's old format": lambda _: (
            pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + bomb
        ),
        "torch's archive, a command in it": lambda content: _with_pickle(content, bomb),
        "torch's archive, saved with a command": lambda _: _saved({"format": 1, "weights": _Command()}),
        "torch's archive, an empty pickle": lambda content: _with_pickle(content, b""),
        "torch's archive, a pickle of a number": lambda content: _with_pickle(content, pickle.dumps(5, 2)),
        "torch's archive, lists in lists": lambda content: _with_pickle(content, _lists(60)),
        "torch's archive, a pickle of marks alone": lambda content: _with_pickle(content, b"\x80\x02" + b"(" * 10**5),
        "torch's archive, a text said to hold 2**60 bytes": lambda content: _with_pickle(
            content, b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"abc."
        ),
        "torch's archive, a memo of index 2**31": lambda content: _with_pickle(
            content, b"\x80\x02]r" + struct.pack("<I", 2**31) + b"."
        ),
        "torch's archive without its pickle": lambda content: _without(content, "data.pkl"),
        "torch's archive without a tensor": lambda content: _without(content, "data/3"),
        "torch's archive without its version": lambda content: _without(content, "version"),
        "twice itself": lambda content: content + content,
        "junk before it": lambda content: b"junk" * 100 + content,
        "a list": lambda _: _saved([1, 2]),
        "a number": lambda _: _saved(5),
        "a tensor": lambda _: _tensor(),
        "an empty dictionary": lambda _: _saved({}),
        "a dictionary of something else": lambda _: _saved({"epoch": 5, "model": {}}),
        "a state dict of another network": lambda _: _other_network(),
        "a state dict whose names are numbers": lambda _: _numbered(),
        "a whole module": lambda _: _module(),
    }


def _tensor() -> bytes:
    import torch

    return _saved(torch.zeros(3))


def _other_network() -> bytes:
    import torch

    return _saved({"conv1.weight": torch.zeros(3, 3), "fc.bias": torch.zeros(5)})


def _numbered() -> bytes:
    import torch

    return _saved({1: torch.zeros(3)})


def _module() -> bytes:
    import torch

    return _saved(torch.nn.Linear(2, 2))


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        *above, last = path.split("/")
        for name in above:
            content = content[name]
        content[last] = value

    return change


def _drop(path: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        *above, last = path.split("/")
        for name in above:
            content = content[name]
        del content[last]

    return change


def _both(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A schedule's number in the network's shape and in the configuration, as somebody would who changes it."""

    def change(content: dict[str, Any]) -> None:
        content["reasoner"][name] = value
        if name in content["config"]["network"]:
            content["config"]["network"][name] = value

    return change


def _fill(value: float) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        weights = content["weights"]
        name = next(name for name, tensor in weights.items() if tensor.is_floating_point() and tensor.dim() == 2)
        weights[name] = weights[name].clone().fill_(value)

    return change


def _weights(edit: Callable[[dict[str, Any], str], Any]) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        name = next(name for name, tensor in content["weights"].items() if tensor.dim() == 2)
        edit(content["weights"], name)

    return change


def _changed_models() -> dict[str, Callable[[dict[str, Any]], Any]]:
    found: dict[str, Callable[[dict[str, Any]], Any]] = {}
    for section in ("format", "reasoner", "config", "updates", "weights"):
        found[f"no {section}"] = _drop(section)
        for value in (None, "abc", [1], float("nan")):
            found[f"{section} is {value!r}"] = _set(section, value)
    found |= {f"format is {value}": _set("format", value) for value in (0, 2, 10**30)}
    found |= {f"updates is {value}": _set("updates", value) for value in (-1, 1.5, 10**400)}
    found |= {f"ids_digest is {value!r}": _set("ids_digest", value) for value in (5, None, "abc")}
    found |= {
        f"halting is {value!r}": _set("halting", value)
        for value in (5, "abc", [], {"shape": {}}, {"shape": {"width": 10**9, "hidden": 10**9}, "weights": {}},
                      {"shape": {"width": 16, "hidden": 8, "floor": 0.1}, "weights": {}})
    }  # fmt: skip
    for name in ("cycles", "inner_updates", "layers", "width", "vocab_size", "seq_len", "heads", "multiple_of"):
        for value in (10**9, 0, -1, "abc", 1.5, None, 10**30):
            found[f"{name} is {value!r}"] = _both(name, value)
    found |= {
        f"{name} is {value!r}": _both(name, value)
        for name, value in (
            ("expansion", float("nan")), ("expansion", float("inf")), ("expansion", 1e12), ("expansion", -1.0),
            ("mixer", "nonsense"), ("positions", 5), ("kernel", 10**9), ("kernel", -3), ("feed", "nothing"),
            ("puzzle_positions", 10**9), ("num_puzzle_ids", 10**12),
            ("puzzle_embedding_width", 10**9), ("step_embedding_steps", 10**12), ("step_embedding_steps", -1),
        )
    }  # fmt: skip
    found["an unknown field in its shape"] = _set("reasoner/nonsense", 5)
    found["no seq_len in its shape"] = _drop("reasoner/seq_len")
    for key, value in (
        ("env/max_steps", 10**9), ("env/max_steps", -1), ("env/id", "nonsense"), ("env/id", 5),
        ("env/options/size", 9), ("env/options/size", [4]), ("env/options/train", 10**12), ("env/options/test", 10**12),
        ("env/options/seed", 2**70), ("env/options/seed", -1), ("env/options/blanks", 3), ("env/options", 5),
        ("env/options/nonsense", 1), ("env", 5), ("network/width", "abc"), ("network", None), ("seed", 2**70),
        ("threads", 2**31), ("threads", 10**6), ("evaluation/batch_size", 0), ("evaluation/batch_size", "x"),
        ("nonsense", 5), ("baseline_passes_per_puzzle", 0), ("halting/ppo/hidden", 10**12), ("halting/rule", "x"),
        ("env/reward/pass_cost", float("nan")), ("env/reward/pass_cost", float("inf")), ("env/reward/pass_cost", -1),
        ("budget/seconds", float("nan")),
    ):  # fmt: skip
        found[f"its {key} is {value!r}"] = _set(f"config/{key}", value)
    found |= {
        "weights that are not numbers": _fill(float("nan")),
        "weights that are infinite": _fill(float("inf")),
        "a weight too few": _weights(lambda weights, name: weights.pop(name)),
        "a weight too many": _weights(lambda weights, name: weights.__setitem__("nonsense", weights[name])),
        "a weight of another shape": _weights(lambda weights, name: weights.__setitem__(name, weights[name][:, :-1])),
        "a weight of integers": _weights(lambda weights, name: weights.__setitem__(name, weights[name].long())),
        "a weight of complex numbers": _weights(lambda weights, name: weights.__setitem__(name, weights[name] + 1j)),
        "a weight that is a list": _weights(lambda weights, name: weights.__setitem__(name, [1.0])),
        "a weight that is sparse": _weights(lambda weights, name: weights.__setitem__(name, weights[name].to_sparse())),
        "a weight on no device": _weights(lambda weights, name: weights.__setitem__(name, weights[name].to("meta"))),
        "a weight expanded from one number": _weights(
            lambda weights, name: weights.__setitem__(name, weights[name][:1, :1].expand(10**5, 10**5))
        ),
    }
    return found


def _changed_trainings() -> dict[str, Callable[[dict[str, Any]], Any]]:
    found: dict[str, Callable[[dict[str, Any]], Any]] = {}
    sections = (
        "format",
        "puzzle",
        "learner",
        "collection",
        "halting",
        "ledger",
        "clock",
        "history",
        "random",
        "config",
    )
    for section in sections:
        found[f"no {section}"] = _drop(section)
        for value in (None, "abc", [1], float("nan"), {}):
            if (section, value) != ("puzzle", "abc"):
                found[f"{section} is {value!r}"] = _set(section, value)
    for path, values in {
        "clock/seconds": (None, "abc", -1.0, float("inf"), float("nan"), 10**400),
        "collection/finished_puzzles": (None, "abc", -1, 1.5, 2**70),
        "collection/environment": (None, "abc", [1], {}),
        "collection/environment/episodes": (None, "abc", {}),
        "collection/environment/sampler": (None, "abc", {}),
        "learner/updates": (None, "abc", -1, 1.5, 2**70),
        "ledger/forward/collect": (None, "abc", -1, 1.5, 2**70),
        "history/milestones": (None, "abc", 5, ["abc"], [{"a": 1}]),
        "mlflow_run_id": (5, ["abc"]),
        "ids_digest": (5, None, "abc"),
        "random/cuda": (None, "abc", [1]),
    }.items():
        found |= {f"{path} is {value!r:.40}": _set(path, value) for value in values}
    for path in ("clock/seconds", "collection/environment", "learner/reasoner", "learner/optimizers", "random/torch"):
        found[f"no {path}"] = _drop(path)
    found |= {
        "a random state too short": lambda content: content["random"].__setitem__(
            "torch", content["random"]["torch"][:5]
        ),
        "a random state that is a text": _set("random/torch", "abc"),
    }
    for section in ("learner", "collection", "ledger"):
        found |= {
            f"{section}: {wrong}": partial(_first_leaf, section, value)
            for wrong, value in (
                ("a leaf is null", None),
                ("a leaf is a text", "abc"),
                ("a leaf is not a number", float("nan")),
                ("a leaf is a list", [[1]]),
            )
        }
        found[f"{section}: its first entry is gone"] = partial(_without_first, section)
    found["weights that are not numbers"] = partial(_fill_learner, float("nan"))
    return found


MEANINGLESS = ("halting is ", "no config", "config is None")
"""Beginnings of changes that may be accepted: this run learns no halting, and a checkpoint of an earlier version keeps
no configuration, in which case `config.yaml` counts."""


def _first_leaf(section: str, value: Any, content: dict[str, Any]) -> None:
    where = content[section]
    while isinstance(where[key := next(iter(where))], dict) and where[key]:
        where = where[key]
    where[key] = value


def _without_first(section: str, content: dict[str, Any]) -> None:
    content[section].pop(next(iter(content[section])))


def _fill_learner(value: float, content: dict[str, Any]) -> None:
    import torch

    def walk(where: Any) -> None:
        for one in where.values() if isinstance(where, dict) else where if isinstance(where, list | tuple) else ():
            if isinstance(one, torch.Tensor) and one.is_floating_point():
                one.fill_(value)
            else:
                walk(one)

    walk(content["learner"])


HELPER = """
open("owned", "w").close()
from latent_rl.envs import register_puzzle
from latent_rl.envs.sudoku import Sudoku
register_puzzle("Theirs-v0", Sudoku)
"""


def _strangers() -> Iterator[Case]:
    """A run from a stranger names a module that lies in it: nothing of it may be imported."""
    for program in (*PROGRAMS, "train"):
        for where, module in (("here", "helper"), ("in the run", "run.helper")):

            def prepare(folder: Path, material: Material, module: str = module) -> None:
                with_run(folder, material)
                (folder / f"{module.replace('.', '/')}.py").write_text(HELPER)
                _edit(MODEL, _set("config/env/id", f"{module}:Theirs-v0"), folder)
                file = folder / "run/config.yaml"
                file.write_text(file.read_text().replace("latent_rl/Sudoku-v0", f"{module}:Theirs-v0"))

            arguments = ("run", *_steps(program)) if program != "train" else ("--resume", "run", "budget.updates=7")
            stdin = b"321...32.12.23.1" if program == "solve" else b""
            yield Case("checkpoints: strangers", f"a module {where} ({program})", program, arguments, prepare, stdin)

        def hoard(folder: Path, material: Material) -> None:
            with_run(folder, material)
            _edit(MODEL, _set("config/env/options/cache_dir", "owned"), folder)
            file = folder / "run/config.yaml"
            file.write_text(file.read_text().replace("size: 4", "size: 4\n    cache_dir: owned"))

        yield Case("checkpoints: strangers", f"a folder to write in ({program})", program, arguments, hoard, stdin,
                   expected="either", harmless=lambda folder, _: not (folder / "owned").exists())  # fmt: skip


def _elsewhere() -> Iterator[Case]:
    """Checkpoints where there are none."""

    def prepare(folder: Path, material: Material) -> None:
        with_run(folder, material)
        (folder / "empty").mkdir()
        (folder / "file").write_text("hello")
        (folder / "loop.pt").symlink_to("loop.pt")
        (folder / "deep/checkpoint/model.pt").mkdir(parents=True)

    wrong = {
        "missing": "none",
        "an empty folder": "empty",
        "a text": "file",
        "a link to itself": "loop.pt",
        "a folder called model.pt": "deep",
        "too long a name": "a" * 300,
        "far too long a name": "a" * 5000,
        "an empty name": "",
        "a name under a file": "file/model.pt",
        "a device": "/dev/null",
        "the configuration": "run/config.yaml",
        "a name with a bracket": "[/b]",
    }
    for number, (what, path) in enumerate(wrong.items()):
        for program in (PROGRAMS[number % 4], PROGRAMS[(number + 1) % 4]):
            yield Case("checkpoints: elsewhere", f"{what} ({program})", program, (path,), prepare)
        yield Case("checkpoints: elsewhere", f"{what} (--init)", "train", ("--init", path), prepare)
    for program in PROGRAMS:
        yield Case("checkpoints: elsewhere", f"a --config for one of ours ({program})", program,
                   ("run", "--config", "sudoku-4x4"), prepare, named=("--config",))  # fmt: skip
    for setting in ("network.width=32", "env.options.size=6", "network.layers=1"):
        arguments = ("--init", "run", "env.options.train=20", "env.options.test=5", SMALL[0], *SMALL[3:], setting)
        yield Case("checkpoints: elsewhere", f"--init with {setting}", "train", arguments, prepare)
