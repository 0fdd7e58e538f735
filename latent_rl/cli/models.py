"""What the programs that use a trained model share: their arguments, opening the model, and its puzzle."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from latent_rl.cli.manners import Parser, json_file
from latent_rl.config import Config, merge, parse_overrides, validate
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.envs import Instances, Puzzle
    from latent_rl.storage import TrainedModel

CHANGEABLE = (
    "env.id",
    "env.options",
    "evaluation",
    "halting.ppo",
    "baseline_passes_per_puzzle",
    "bf16",
    "compile",
    "threads",
)
"""Keys of the configuration that may be changed after training; the others describe training or the network itself."""


Number = TypeVar("Number", int, float)

SETTING = re.compile(r"[a-z_]\w*(\.\w+)*=")
"""How an argument begins that is a setting and no file or puzzle."""


def add_model_arguments(parser: Parser, *, device: str = "auto", several: bool = False) -> None:
    """The model, its puzzle and where it runs: `CHECKPOINT --config --steps --device --json`.

    With `several`, the argument takes a list of models, and settings among them: see `split_settings`.
    """
    parser.add_argument(
        "checkpoint",
        type=str if several else Path,
        nargs="+" if several else None,
        metavar="CHECKPOINT",
        help="run directory, model.pt, or a file of the official code"
        + ("; several are averaged; key=value changes a setting" if several else ""),
    )
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        help="preset that names the puzzle of an official checkpoint (default: a guess)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="recursion steps (default: as in training)")
    parser.add_argument("--json", type=json_file, metavar="FILE", help="write the result there; - for standard output")
    parser.add_argument("--device", default=device, metavar="D", help="cpu, cuda, mps or auto (default: %(default)s)")


def split_settings(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words that are no settings, and those that are (`key=value`)."""
    settings = [word for word in words if SETTING.match(word)]
    return [word for word in words if word not in settings], settings


def split_numbers(
    parser: Parser, option: str, words: Sequence[str], kind: Callable[[str], Number]
) -> tuple[list[Number], list[str]]:
    """The numbers that an option with `nargs="+"` was given, and the settings that it took in after them."""
    texts, settings = split_settings(words)
    numbers = []
    for text in texts:
        try:
            numbers.append(kind(text))
        except ValueError:
            parser.error(f"{option}: {text!r} is no number")
    return numbers, settings


def add_puzzles_argument(parser: Parser) -> None:
    """How many test puzzles: `--puzzles`."""
    parser.add_argument("--puzzles", type=int, metavar="N", help="only the first N test puzzles")


def add_test_arguments(parser: Parser) -> None:
    """How many test puzzles, and changes: `--puzzles key=value…`."""
    add_puzzles_argument(parser)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes, such as env.options.test=5000")


def check_counts(parser: Parser, options: argparse.Namespace) -> None:
    """Refuse counts below 1, by the name of their option."""
    for name in ("puzzles", "steps"):
        value = getattr(options, name, None)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, got {value}")


def open_model(
    options: argparse.Namespace, overrides: Sequence[str], *, checkpoint: Path | None = None, compile: bool = True
) -> tuple[TrainedModel, Config, Puzzle]:
    """The model that the arguments name, the configuration with overrides, and the puzzle; nothing has run yet.

    `checkpoint` is the one to open where the arguments name several.

    Raises:
        UserError: if there is no such model, a key cannot be changed, or the puzzle is not the model's.
    """
    import torch

    from latent_rl.storage import load_model
    from latent_rl.training import accelerate, build_puzzle, choose_device

    path = checkpoint if checkpoint is not None else options.checkpoint
    trained = load_model(path, choose_device(options.device), preset=options.config, overrides=overrides)
    config = change(trained, overrides)
    if config.threads:
        torch.set_num_threads(config.threads)
    puzzle = build_puzzle(config)
    check_same_puzzle(trained, config, puzzle)
    accelerate(trained.reasoner, config if compile else config.model_copy(update={"compile": False}))
    return trained, config, puzzle


def change(trained: TrainedModel, overrides: Sequence[str]) -> Config:
    """A model's configuration with overrides; an official checkpoint's has them already, and they are only checked.

    Raises:
        UserError: on an unknown key, or one that cannot be changed after training.
    """
    from latent_rl.storage import SETTABLE

    changed = trained.config
    if not trained.official:
        changed = validate(merge(trained.config.model_dump(mode="json"), parse_overrides(overrides)))
    allowed = (*CHANGEABLE, *SETTABLE) if trained.official else CHANGEABLE
    for override in overrides:
        key = override.partition("=")[0]
        if not any(f"{key}.".startswith(f"{one}.") for one in allowed):
            raise UserError(f"{key} is settled by training; what may be changed is {', '.join(allowed)}")
    return changed


def check_same_puzzle(trained: TrainedModel, config: Config, puzzle: Puzzle) -> None:
    """Raise `UserError`, naming both, unless the puzzle is the kind that the model was trained on."""
    from latent_rl.training import build_puzzle

    own = build_puzzle(trained.config)
    shape = trained.reasoner.config

    def kind(one: Puzzle, puzzle_id: str) -> tuple[str, tuple[int, int], tuple[str, ...]]:
        return puzzle_id, tuple(one.grid_shape), tuple(one.symbols)

    def words(one: Puzzle, puzzle_id: str) -> str:
        rows, columns = one.grid_shape
        return f"{one.name} ({puzzle_id}, {rows} x {columns} cells, {one.vocab_size} symbols)"

    if kind(own, trained.config.env.id) != kind(puzzle, config.env.id):
        raise UserError(
            f"{trained.path} was trained on {words(own, trained.config.env.id)}, "
            f"which is not {words(puzzle, config.env.id)}"
        )
    if (shape.seq_len, shape.vocab_size) != (puzzle.seq_len, puzzle.vocab_size):
        # The puzzle's class has changed since training.
        raise UserError(
            f"{trained.path} was trained on {shape.seq_len} cells and {shape.vocab_size} symbols, "
            f"which is not {words(puzzle, config.env.id)}"
        )
    if not trained.official and trained.ids_digest != puzzle.ids_digest:
        raise UserError(
            f"{trained.path} knows the embeddings of the puzzles that it was trained on, not those of {puzzle.name} as "
            "configured here: use its own env.options and data"
        )


def instances_to_test(trained: TrainedModel, config: Config, puzzle: Puzzle, count: int | None) -> Instances:
    """The first `count` test puzzles, or all of them.

    Raises:
        UserError: if there are fewer.
        PuzzleError: if other options than in training made test puzzles that the model was trained on.
    """
    instances = puzzle.instances("test")
    if count is not None and count > len(instances):
        raise UserError(f"--puzzles {count}: the test split of {puzzle.name} has {len(instances)} puzzles")
    if config.env.options != trained.config.env.options and not trained.official:
        _check_unseen(trained, instances)
    return instances[:count]


def _check_unseen(trained: TrainedModel, test: Instances) -> None:
    from latent_rl.envs import PuzzleError, check_disjoint
    from latent_rl.training import build_puzzle

    try:
        seen = build_puzzle(trained.config).instances("train")
    except PuzzleError as error:
        logging.warning("cannot check that the test puzzles are new to the model: %s", error)
        return
    check_disjoint(seen, test, f"what {trained.path} was trained on, and env.options as changed here")


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], object]]:
    """A progress bar on a terminal, and nothing elsewhere; gives the function that moves it on."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
