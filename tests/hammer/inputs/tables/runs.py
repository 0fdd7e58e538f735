"""Run directories: a configuration that was cut off, missing files, and a run resumed with other settings."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from tables.case import Case, Material
from tables.configuration import with_run

AREA = "run directories"
CUTS = 48


def cases() -> Iterator[Case]:
    """All of this page."""
    for number in range(CUTS):
        share = number / CUTS

        def cut(folder: Path, material: Material, share: float = share) -> None:
            with_run(folder, material)
            file = folder / "run/config.yaml"
            content = file.read_bytes()
            file.write_bytes(content[: int(len(content) * share)])

        yield Case(
            AREA,
            f"config.yaml cut off at {share:.0%}",
            "train",
            ("--resume", "run", "budget.updates=7"),
            cut,
            expected="either",
            harmless=_same_settings,
        )
    for wrong, change in _damages().items():

        def damage(folder: Path, material: Material, change: Callable[[Path], object] = change) -> None:
            with_run(folder, material)
            change(folder / "run")

        yield Case(AREA, f"resumed, {wrong}", "train", ("--resume", "run", "budget.updates=7"), damage)
    yield from _other_settings()
    yield from _compare()
    yield from _halt()


def _same_settings(folder: Path, material: Material) -> bool:
    """Whether the run went on with its own settings."""
    found, wanted = (yaml.safe_load((run / "config.yaml").read_text()) for run in (folder / "run", material.run))
    del found["budget"], wanted["budget"]
    return found == wanted


def _write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda run: (run / name).write_bytes(content)


def _remove(name: str) -> Callable[[Path], object]:
    return lambda run: shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()


def _folder_instead(name: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        _remove(name)(run)
        (run / name).mkdir()

    return change


def _replaced(old: str, new: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        text = (run / "config.yaml").read_text()
        assert old in text, old
        (run / "config.yaml").write_text(text.replace(old, new, 1))

    return change


def _damages() -> dict[str, Callable[[Path], object]]:
    return {
        "no config.yaml": _remove("config.yaml"),
        "config.yaml is a folder": _folder_instead("config.yaml"),
        "config.yaml is a list": _write("config.yaml", b"[1]\n"),
        "config.yaml is a text": _write("config.yaml", b"hello\n"),
        "config.yaml is in UTF-16": _write("config.yaml", "seed: 0\n".encode("utf-16")),
        "config.yaml is full of zeros": _write("config.yaml", bytes(2000)),
        "no checkpoint": _remove("checkpoint"),
        "the checkpoint is a file": lambda run: (_remove("checkpoint")(run), _write("checkpoint", b"x")(run)),
        "no training.pt": _remove("checkpoint/training.pt"),
        "training.pt is a folder": _folder_instead("checkpoint/training.pt"),
        "training.pt is model.pt": lambda run: shutil.copy(run / "checkpoint/model.pt", run / "checkpoint/training.pt"),
        "an unknown key in config.yaml": _replaced("seed: 0", "seed: 0\nnonsense: 5"),
        "a wrong type in config.yaml": _replaced("width: 16", "width: abc"),
        "another width in config.yaml": _replaced("width: 16", "width: 32"),
        "another seed in config.yaml": _replaced("seed: 0", "seed: 5"),
        "another scheme in config.yaml": _replaced("scheme: pi", "scheme: trm"),
        "another puzzle in config.yaml": _replaced("latent_rl/Sudoku-v0", "latent_rl/NQueens-v0"),
        "other data in config.yaml": _replaced("train: 500", "train: 400"),
        "another optimizer in config.yaml": _replaced("name: adamw", "name: muon"),
        "no puzzle in config.yaml": _replaced("id: latent_rl/Sudoku-v0", "id: nothing"),
    }


def _other_settings() -> Iterator[Case]:
    """What describes the network, its data and what was learned so far cannot change in the middle of a run."""
    for setting in (
        "network.width=32", "network.layers=1", "network.heads=2", "network.mixer=attention", "network.kernel=3",
        "network.cycles=2", "network.inner_updates=3", "network.step_embedding=true", "network.puzzle_positions=2",
        "network.puzzle_embedding_width=8", "network.feed=answer", "network.positions=learned", "network.expansion=2",
        "env.id=latent_rl/NQueens-v0", "env.options.size=6", "env.options.seed=5", "env.options.train=400",
        "env.options.test=50", "env.options.blanks=[3, 8]", "env.options.augment=true", "env.options.size=[4]",
        "env.options.nonsense=1", "env.max_steps=5", "env.terminate_on_solved=0.1", "env.reward.pass_cost=0.5",
        "collector.num_envs=16", "collector.mode=replay", "halting.rule=learned", "halting.rule=confident",
        "scheme=trm", "scheme=dis", "scheme=nonsense", "seed=5", "seed=abc", "name=other", "name=../x",
        "optimizer.name=muon", "optimizer.lr=0", "optimizer.lr=.inf", "optimizer.lr=.nan", "optimizer.betas=[1, 1]",
        "optimizer.weight_decay=.inf", "nonsense=1", "network.widht=16", "budget.updates=0", "budget.updates=abc",
        "device=nonsense", "device=cuda:99", "threads=2147483648", "loss.nonsense=1", "loss=5",
    ):  # fmt: skip
        arguments = ("--resume", "run", "budget.updates=7", setting)
        # Some parts of what a refusal may say: the key, its section, or what stands there.
        key, _, value = setting.partition("=")
        named = tuple(word for word in (key, key.split(".")[-1], value, "sudoku-6x6", "nqueens") if len(word) > 2)
        # What describes the collection of more steps could change, if the change took effect; that is open.
        expected = (
            "either"
            if key.startswith(("env.reward", "env.terminate", "env.max_steps", "collector", "halting.rule"))
            else "refused"
        )
        yield Case(AREA, f"resumed with {setting}", "train", arguments, with_run, named=named, expected=expected)
    for wrong, arguments in {
        "of no run": ("--resume", "none"),
        "of a file": ("--resume", "run/config.yaml"),
        "of its checkpoint folder": ("--resume", "run/checkpoint"),
        "of an empty name": ("--resume", ""),
        "of an empty folder": ("--resume", "."),
        "of a device": ("--resume", "/dev/null"),
        "of too long a name": ("--resume", "a" * 300),
        "of far too long a name": ("--resume", "a" * 5000),
        "with --init": ("--resume", "run", "--init", "run"),
    }.items():
        yield Case(AREA, f"resumed: {wrong}", "train", arguments, with_run)


def _compare() -> Iterator[Case]:
    def made(folder: Path, material: Material, change: Callable[[Path], object] = lambda run: None) -> None:
        (folder / "out").mkdir()
        shutil.copytree(material.run, folder / "out/pi-0")
        change(folder / "out/pi-0")

    same = ("--schemes", "pi", "--seeds", "1", "--out", "out")
    for wrong, change in {
        "runs with other settings": lambda run: None,
        "a damaged config.yaml": _write("config.yaml", b"\xff\xfe"),
        "a config.yaml that is a folder": _folder_instead("config.yaml"),
        "a run that is a file": lambda run: (shutil.rmtree(run), run.write_text("x")),
        "an empty config.yaml": _write("config.yaml", b""),
    }.items():

        def prepare(folder: Path, material: Material, change: Callable[[Path], object] = change) -> None:
            made(folder, material, change)

        yield Case(AREA, f"compare where there are {wrong}", "compare", same, prepare)


def _halt() -> Iterator[Case]:
    def taken(folder: Path, material: Material) -> None:
        with_run(folder, material)
        shutil.copytree(folder / "run", folder / "run-halt")

    def queens(folder: Path, material: Material) -> None:
        with_run(folder, material)
        shutil.copytree(folder / "run", folder / "other")
        (folder / "other/checkpoint/model.pt").write_bytes(b"hello")

    yield Case(AREA, "halt where a model lies already", "halt", ("run",), taken, named=("run-halt",))
    yield Case(AREA, "halt with a second model that is damaged", "halt", ("run", "other"), queens, named=("other",))
    yield Case(AREA, "halt with a second model that is missing", "halt", ("run", "none"), with_run, named=("none",))
    yield Case(AREA, "halt with one model twice and no place", "halt", ("run", "run", "--out", "/proc/x"), with_run)
