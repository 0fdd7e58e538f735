"""What the programs that use a trained model share: their arguments, opening the model, and its puzzle."""

from __future__ import annotations

import argparse
import json
import logging
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from latent_rl.cli.manners import Parser, json_file
from latent_rl.config import CACHES, Config, check_named, merge, named_code, parse_overrides, preset_options, validate
from latent_rl.envs import PuzzleError
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.envs import Instances, Puzzle, Split
    from latent_rl.storage import TrainedModel

CHANGEABLE = (
    "env.id",
    "env.options",
    "evaluation",
    "halting.ppo",
    "deduction",
    "baseline_passes_per_puzzle",
    "baseline_run",
    "precision",
    "compile",
    "threads",
)
"""Keys of the configuration that may be changed after training; the others describe training or the network itself."""


MOST_STEPS = 1000
"""As many as `env.max_steps` can be."""

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
        help="run directory, exported folder, model.pt, or a file of the official code"
        + ("; several are averaged; key=value changes a setting" if several else ""),
    )
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        help="preset that names the puzzle of an official checkpoint (default: a guess)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="most steps a puzzle (default: the model's own)")
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
    """How many puzzles: `--puzzles`."""
    parser.add_argument("--puzzles", type=int, metavar="N", help="only the first N puzzles of a split")


def add_test_arguments(parser: Parser) -> None:
    """How many test puzzles, and changes: `--puzzles key=value…`."""
    add_puzzles_argument(parser)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes, such as env.options.test=5000")


def check_counts(parser: Parser, options: argparse.Namespace) -> None:
    """Refuse counts out of range, by the name of their option."""
    for name, most in (("puzzles", 10**9), ("steps", MOST_STEPS)):
        parser.check_range(f"--{name}", getattr(options, name, None), 1, most)


def open_model(
    options: argparse.Namespace, overrides: Sequence[str], *, checkpoint: Path | None = None, compile: bool = True
) -> tuple[TrainedModel, Config, Puzzle]:
    """The model that the arguments name, the configuration with overrides, and the puzzle; nothing has run yet.

    `checkpoint` is the one to open where the arguments name several.

    A model may come from a stranger: code and files that it names are imported and read only if the overrides name
    them again. Without its files the puzzle can be solved, but has no instances (see `instances_to_test`).

    Raises:
        UserError: if there is no such model, a key cannot be changed, or the puzzle is not the model's.
    """
    import torch

    from latent_rl.storage import load_model
    from latent_rl.training import accelerate, build_puzzle, choose_device

    path = checkpoint if checkpoint is not None else options.checkpoint
    trained = load_model(path, choose_device(options.device), preset=options.config, overrides=overrides)
    if not trained.official:
        check_named({"env": {"id": trained.config.env.id}}, parse_overrides(overrides), trained.path)
    config = change(trained, overrides)
    if not trained.official:
        config = without_paths(config, parse_overrides(overrides))
    if config.threads:
        torch.set_num_threads(config.threads)
    if trained.ids_digest:
        # What the embeddings stand for is in the data.
        refuse_left_out(trained, config)
    try:
        puzzle = build_puzzle(config)
    except PuzzleError:
        refuse_left_out(trained, config)
        raise
    check_same_puzzle(trained, config, puzzle)
    plain = _settled(config) if trained.official else config
    if not compile:
        plain = plain.model_copy(update={"compile": False})
    accelerate(trained.reasoner, plain, insist=False)
    return trained, config, puzzle


def _settled(config: Config) -> Config:
    """An official checkpoint has the `auto` of its preset, which no training of ours has settled: it runs plain."""
    precision = "float32" if config.precision == "auto" else config.precision
    return config.model_copy(update={"precision": precision, "compile": config.compile is True})


def name_of(trained: TrainedModel) -> str:
    """What to call a model that lies in no run directory: an export by its folder, any other file by its own name."""
    from latent_rl.storage import WEIGHTS_FILE

    return trained.path.resolve().parent.name if trained.path.name == WEIGHTS_FILE else trained.path.stem


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


def without_paths(config: Config, changes: Mapping[str, Any]) -> Config:
    """The configuration without the files and folders that neither the changes nor a preset of ours name."""
    from latent_rl.envs import paths_of

    options, ours = config.env.options, preset_options()
    paths = [name for name in paths_of(config.env.id) if options.get(name) is not None]
    named = changes.get("env", {}).get("options", {})
    kept = {
        name: value for name, value in options.items() if name not in paths or name in named or (name, value) in ours
    }
    return config.model_copy(update={"env": config.env.model_copy(update={"options": kept})})


def own_config(trained: TrainedModel, config: Config) -> Config:
    """A model's own configuration, without the files and folders that `config` does not name as it does."""
    from latent_rl.envs import paths_of

    if trained.official:
        return trained.config
    env, there = trained.config.env, config.env.options
    paths = paths_of(env.id)
    kept = {name: value for name, value in env.options.items() if name not in paths or there.get(name) == value}
    return trained.config.model_copy(update={"env": env.model_copy(update={"options": kept})})


def _with_paths_of(trained: TrainedModel, config: Config) -> Config:
    """A model's own configuration with the files and folders that `config` names."""
    from latent_rl.envs import paths_of

    env, there = trained.config.env, config.env.options
    options = env.options | {name: there.get(name) for name in paths_of(env.id)}
    return trained.config.model_copy(update={"env": env.model_copy(update={"options": options})})


def _left_out(trained: TrainedModel, config: Config) -> dict[str, Any]:
    """The options of a model's puzzle that a configuration lacks and on which its instances depend."""
    return {
        name: value
        for name, value in trained.config.env.options.items()
        if name not in config.env.options and name not in CACHES and value is not None
    }


def refuse_left_out(trained: TrainedModel, config: Config) -> None:
    """Raise `UserError`, saying how to name them, if the model's puzzle needs files that `config` leaves out."""
    if settings := _options_as_settings(_left_out(trained, config)):
        raise UserError(
            f"{trained.path} names files with its puzzles, read only if you name them too: add {' '.join(settings)}"
        )


def named_again(config: Config) -> list[str]:
    """What a command has to name beside a trained model before it is imported or read: `key=value` for a shell."""
    from latent_rl.envs import paths_of

    options, ours = config.env.options, preset_options()
    files = {name: options[name] for name in paths_of(config.env.id) if options.get(name) is not None}
    strange = {name: value for name, value in files.items() if name not in CACHES and (name, value) not in ours}
    return [*named_code({"env": {"id": config.env.id}}).values(), *_options_as_settings(strange)]


def _options_as_settings(options: Mapping[str, Any]) -> list[str]:
    return [
        shlex.quote(f"env.options.{name}={value if isinstance(value, str) else json.dumps(value)}")
        for name, value in options.items()
    ]


def check_same_puzzle(trained: TrainedModel, config: Config, puzzle: Puzzle) -> None:
    """Raise `UserError`, naming both, unless the puzzle is the kind that the model was trained on."""
    from latent_rl.training import build_puzzle

    try:
        own = build_puzzle(own_config(trained, config))
    except PuzzleError:
        # Its kind shows only with files, of which others are named now: with these.
        own = build_puzzle(_with_paths_of(trained, config))
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
    if shape.grid_shape not in (None, tuple(puzzle.grid_shape)):
        raise UserError(f"{trained.path} has grid_shape={shape.grid_shape}, {puzzle.name} {tuple(puzzle.grid_shape)}")
    if not trained.official and trained.ids_digest != puzzle.ids_digest:
        raise UserError(
            f"{trained.path} knows the embeddings of the puzzles that it was trained on, not those of {puzzle.name} as "
            "configured here: use its own env.options and data"
        )
    ids, known = puzzle.num_puzzle_ids, shape.num_puzzle_ids
    # Without embeddings a network has no use for the number, and an official one does not tell it.
    if known < ids if shape.puzzle_embedding_width else known not in (0, ids):
        raise UserError(f"{trained.path} has num_puzzle_ids={known}, {puzzle.name} {ids}")


def instances_to_test(
    trained: TrainedModel, config: Config, puzzle: Puzzle, count: int | None, split: Split = "test"
) -> Instances:
    """The first `count` puzzles of a split that a model was not trained on, or all of them.

    Raises:
        UserError: if there are fewer, or they are in files that the model names and the user does not.
        PuzzleError: if there is no such split, or other options than in training made puzzles of it that the model was
            trained on.
    """
    from latent_rl.envs import instances_of

    refuse_left_out(trained, config)
    instances = instances_of(puzzle, split)
    if count is not None and count > len(instances):
        raise UserError(f"--puzzles {count}: the {split} split of {puzzle.name} has {len(instances)} puzzles")
    own = own_config(trained, config)
    if config.env.options != own.env.options and not trained.official:
        _check_unseen(trained, own, instances)
    return instances[:count]


def known_instances(instances: Instances) -> Instances:
    """Those whose answer is known, wholly or in part.

    Raises:
        UserError: if there is none.
    """
    from latent_rl.measuring import is_known

    known = instances[is_known(instances.solution)]
    if not len(known):
        raise UserError("no answer to these puzzles is known: there is nothing to hold what the model says against")
    return known


def _check_unseen(trained: TrainedModel, own: Config, test: Instances) -> None:
    from latent_rl.envs import check_disjoint
    from latent_rl.training import build_puzzle

    try:
        if lost := _left_out(trained, own):
            raise PuzzleError(f"{trained.path} names {' and '.join(lost)}, read only if you name the same")
        seen = build_puzzle(own).instances("train")
    except PuzzleError as error:
        logging.warning("cannot check that the puzzles are new to the model: %s", error)
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
