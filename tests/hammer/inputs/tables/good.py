"""Good inputs, which strictness must not refuse."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tables.arc_tasks import TASK
from tables.arguments import WORK
from tables.case import SMALL, Case, Material
from tables.configuration import with_run
from tables.options import train

AREA = "good inputs"
LITTLE = (*SMALL, "collector.num_envs=8", "budget.updates=2", "env.options.train=50", "env.options.test=10")


def cases() -> Iterator[Case]:
    """All of this page."""
    yield from _settings()
    yield from _yaml()
    yield from _options()
    yield from _files()
    yield from _models()


def _good(name: str, program: str, arguments: tuple[str, ...], prepare: Any = None, stdin: bytes = b"") -> Case:
    return Case(AREA, name, program, arguments, prepare, stdin, expected="accepted")


def _settings() -> Iterator[Case]:
    for settings in (
        "seed=0", f"seed={2**63 - 1}", "seed=123456789", "network.width=8 network.heads=1", "network.layers=1",
        "network.mixer=attention network.heads=4 network.positions=rope",
        "network.mixer=attention network.positions=learned",
        "network.kernel=3", "network.expansion=1", "network.expansion=2.5", "network.multiple_of=8",
        "network.puzzle_positions=3", "network.puzzle_positions=1 network.puzzle_embedding_width=16",
        "network.step_embedding=true", "network.step_embedding=yes", "network.feed=answer", "network.cycles=2",
        "network.inner_updates=1", "env.max_steps=1", "env.max_steps=3", "env.terminate_on_solved=0",
        "env.terminate_on_solved=1", "env.reward.pass_cost=0", "env.reward.solve_bonus=0", "halting.rule=confident",
        "halting.rule=learned", "halting.rule=never", "collector.mode=replay", "collector.num_envs=1",
        "collector.mode=replay collector.epochs=2 collector.minibatch_size=16", "optimizer.name=muon",
        "optimizer.lr=1e-3", "optimizer.lr=3e-4", "optimizer.lr=1", "optimizer.betas=[0, 0]",
        "optimizer.betas=[0.9, 0.999]",
        "optimizer.weight_decay=0", "optimizer.warmup_updates=0", "optimizer.ema_decay=0", "optimizer.ema_decay=1",
        "optimizer.clip_norm=1e6", "scheme=trm network.cycles=1 network.inner_updates=1 env.max_steps=2", "scheme=dis",
        "scheme=pi-halt", "scheme=pi", "precision=bfloat16", "threads=0", "threads=2", "device=auto",
        "checkpoint_every_seconds=0.001", "baseline_passes_per_puzzle=1", "evaluation.every_updates=1",
        "evaluation.points=2", "evaluation.puzzles=5", "evaluation.batch_size=1", "evaluation.puzzles=1000000",
        "budget.passes=100", "budget.updates=null budget.passes=500", "budget.seconds=1000", "budget.seconds=0.001",
        "name=mine", "name=A-b_c.d+e", "name=größe", "name=名前", "name='two words'", "name=-x", "name=" + "a" * 100,
        "name=\"'[b]'\"", "name='50%'", "tracking.enabled=true", "tracking.enabled=true tracking.uri=sqlite:///mine.db",
        "tracking.enabled=true tracking.experiment='two words'",
    ):  # fmt: skip
        arguments = _split(settings)
        yield _good(f"train {settings[:60]}", "train", (*LITTLE, *arguments))


def _split(settings: str) -> list[str]:
    import shlex

    return shlex.split(settings.replace(", ", ","))


def _yaml() -> Iterator[Case]:
    for what, content in {
        "nothing": b"",
        "a comment": b"# mine\n",
        "a byte-order mark": "\ufeffseed: 3\n".encode(),
        "Windows line ends": b"seed: 3\r\nname: mine\r\n",
        "UTF-8": "name: größe\n".encode(),
        "a harmless anchor": b"network: {width: &w 16}\nhalting: {ppo: {hidden: *w}}\n",
        "a document's start": b"---\nseed: 3\n",
        "quotes": b"name: 'mine'\n",
    }.items():

        def write(folder: Path, _: Material, content: bytes = content) -> None:
            (folder / "mine.yaml").write_bytes(content)

        yield _good(f"a config that holds {what}", "train", ("--config", "mine.yaml", *LITTLE), write)


def _options() -> Iterator[Case]:
    for family, options in (
        ("Sudoku", {"size": "4", "train": "1", "test": "1"}),
        ("Sudoku", {"size": "6", "train": "5", "test": "5"}),
        ("Sudoku", {"size": "9", "train": "5", "test": "5"}),
        ("Sudoku", {"blanks": "[1, 1]", "train": "20", "test": "5"}),
        ("Sudoku", {"blanks": "[0, 8]"}),
        ("Sudoku", {"blanks": "null"}),
        ("Sudoku", {"seed": "0", "augment": "true"}),
        ("Sudoku", {"seed": str(2**63 - 1)}),
        ("Maze", {"size": "2", "min_path": "1", "train": "1", "test": "1"}),
        ("Maze", {"rows": "4", "columns": "7"}),
        ("Maze", {"unique": "true", "augment": "true"}),
        ("NQueens", {"size": "4", "train": "3", "test": "1"}),
        ("NQueens", {"size": "12", "train": "20", "test": "5"}),
        ("Arc", {"side": "8", "augmentations": "0"}),
        ("Arc", {"test": "[mini]"}),
        ("Arc", {"test": "mini", "train": "mini", "allow_leak": "true"}),
    ):
        yield _good(f"{family} {options}", "train", train(family, **options))


def _files() -> Iterator[Case]:
    changes: dict[str, Callable[[bytes], bytes]] = {
        "as they are": lambda content: content,
        "gzip": gzip.compress,
        "with a byte-order mark": lambda content: b"\xef\xbb\xbf" + content,
        "with Windows line ends": lambda content: content.replace(b"\n", b"\r\n"),
        "with empty lines": lambda content: content.replace(b"\n", b"\n\n"),
        "without the last line end": lambda content: content.rstrip(b"\n"),
        "with quotes": lambda content: content.replace(b"made,", b'"made, by us",'),
        "with a row twice": lambda content: content + content.splitlines()[3] + b"\n",
    }
    for family, prefix in (("Sudoku", ""), ("Maze", "maze_")):
        for what, change in changes.items():

            def write(folder: Path, material: Material, prefix: str = prefix, change: Any = change) -> None:
                for split in ("train", "test"):
                    (folder / f"{split}.csv").write_bytes(change(getattr(material, f"{prefix}{split}").read_bytes()))

            arguments = train(family, train_file="train.csv", test_file="test.csv")
            yield _good(f"{family} files {what}", "train", arguments, write)

    def tasks(folder: Path, _: Material) -> None:
        (folder / "tasks/deep").mkdir(parents=True)
        (folder / "tasks/one.json").write_text(json.dumps(TASK))
        (folder / "tasks/deep/two.json").write_text(json.dumps({**TASK, "train": TASK["train"][::-1], "id": "more"}))

    def kaggle(folder: Path, _: Material) -> None:
        hidden = {**TASK, "test": [{"input": [[5, 0, 6]]}]}
        (folder / "my_challenges.json").write_text(json.dumps({"one": hidden}))

    yield _good("a folder of ARC tasks", "train", train("Arc", test="tasks"), tasks)
    yield _good("Kaggle's challenges without solutions", "train", train("Arc", test="my_challenges.json"), kaggle)


def _models() -> Iterator[Case]:
    board = "321...32.12.23.1"
    boards = {
        "as an argument": (("run", board), b""),
        "from stdin": (("run",), f"{board}\n".encode()),
        "after a dash": (("run", "-"), board.encode()),
        "in lines": (("run",), b"321.\n..32\n.12.\n23.1\n"),
        "with zeros": (("run", board.replace(".", "0")), b""),
        "with spaces": (("run", "3 2 1 . . . 3 2 . 1 2 . 2 3 . 1"), b""),
        "framed": (("run",), b"32|1.\n..|32\n--+--\n.1|2.\n23|.1\n"),
        "several": (("run",), f"{board}\n{board}\n".encode()),
        "with Windows line ends": (("run",), b"321.\r\n..32\r\n.12.\r\n23.1\r\n"),
        "with a byte-order mark": (("run",), b"\xef\xbb\xbf" + board.encode()),
        "an empty board": (("run", "." * 16), b""),
        "a full board": (("run", "1234341221434321"), b""),
        "with figures": (("run", board, "--png", "a.png", "--gif", "a.gif", "--json", "a.json"), b""),
        "as JSON": (("run", board, "--json", "-"), b""),
    }
    for what, (arguments, stdin) in boards.items():
        yield _good(f"solve: a board {what}", "solve", (*arguments, "--steps", "2"), with_run, stdin)
    for what, path in {
        "a folder": "run",
        "its checkpoint folder": "run/checkpoint",
        "a file": "run/checkpoint/model.pt",
    }.items():
        yield _good(f"evaluate {what}", "evaluate", (path, "--puzzles", "5"), with_run)
    for arguments in (
        "--halt rule", "--halt agree", "--halt confident --halt-threshold 0.9", "--guidance 0", "--guidance 1.5",
        "--trajectories 2 --puzzles 5", "--budget-passes 30 --puzzles 5", "--steps 1", "--steps 20 --puzzles 5",
        "--puzzles 100", "--json out.json", "env.options.test=150", "env.options.seed=9", "evaluation.batch_size=7",
    ):  # fmt: skip
        yield _good(f"evaluate {arguments}", "evaluate", ("run", *arguments.split()), with_run)
    for program in ("analyze", "halt", "compare", "train"):
        yield _good(f"{program} as usual", program, WORK[program], with_run)
    yield _good("halt at two prices", "halt", (*WORK["halt"], "--pass-costs", "0", "0.01"), with_run)
    for setting in ("budget.updates=8", "budget.passes=1000000", "evaluation.batch_size=50", "tracking.every_updates=5",
                    "checkpoint_every_seconds=5", "threads=2", "budget.updates=6"):  # fmt: skip
        yield _good(f"resumed with {setting}", "train", ("--resume", "run", setting), with_run)

    def two(folder: Path, material: Material) -> None:
        with_run(folder, material)
        shutil.copytree(folder / "run", folder / "other")

    yield _good("halt of two models", "halt", ("run", "other", *WORK["halt"][1:]), two)
    init = ("--init", "run", *LITTLE)
    yield _good("--init of one of ours", "train", init, with_run)
