"""Measure a trained model on the test split of its puzzle, after every recursion step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_rl import cli
from latent_rl.config import Config
from latent_rl.config_loading import merge, parse_overrides, validate
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from latent_rl.checkpoint import TrainedModel
    from latent_rl.envs import Puzzle
    from latent_rl.evaluation import Evaluation

EXAMPLE = """\
  python -m latent_rl.evaluate runs/sudoku-4x4-pi-0
  python -m latent_rl.evaluate runs/sudoku-9x9-pi-0 --puzzles 5000 --json result.json env.options.test_file=hard.csv"""

CHANGEABLE = ("env.id", "env.options", "evaluation", "baseline_passes_per_puzzle", "bf16", "compile", "threads")
"""Keys of the configuration that an evaluation may change; the others describe training or the network itself."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("evaluate", "Measure a trained model on the test puzzles, after every recursion step.", EXAMPLE)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="run directory or model.pt")
    parser.add_argument("--puzzles", type=int, metavar="N", help="only the first N test puzzles")
    parser.add_argument("--steps", type=int, metavar="N", help="recursion steps (default: as in training)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there; - for standard output")
    parser.add_argument("--device", default="auto", metavar="D", help="cpu, cuda, mps or auto (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes, such as env.options.test=5000")
    # Intermixed: positional arguments may stand before, between and after the options.
    options = parser.parse_args(arguments)
    for name in ("puzzles", "steps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, got {value}")

    # Late, because torch takes seconds to load.
    import torch
    from rich.console import Console

    from latent_rl.build import accelerate, build_puzzle, choose_device
    from latent_rl.checkpoint import load_model

    trained = load_model(options.checkpoint, choose_device(options.device))
    config = change(trained.config, options.overrides)
    if config.threads:
        torch.set_num_threads(config.threads)
    puzzle = build_puzzle(config)
    check_same_puzzle(trained, config, puzzle)
    accelerate(trained.reasoner, config)
    found = measure(trained, puzzle, config, options.puzzles, options.steps)

    # With the JSON on standard output, what people read goes beside it.
    console = Console(stderr=str(options.json) == "-", highlight=False)
    show(console, puzzle, config, found)
    cli.write_json(options.json, as_json(trained, puzzle, config, found))


def change(config: Config, overrides: Sequence[str]) -> Config:
    """A checkpoint's configuration with overrides.

    Raises:
        UserError: on an unknown key, or one that cannot be changed after training.
    """
    changes = parse_overrides(overrides)
    changed = validate(merge(config.model_dump(mode="json"), changes))
    for override in overrides:
        key = override.partition("=")[0]
        if not any(f"{key}.".startswith(f"{allowed}.") for allowed in CHANGEABLE):
            raise UserError(f"{key} is settled by training; an evaluation may change {', '.join(CHANGEABLE)}")
    return changed


def check_same_puzzle(trained: TrainedModel, config: Config, puzzle: Puzzle) -> None:
    """Raise `UserError`, naming both, unless the puzzle is the kind that the model was trained on."""
    from latent_rl.build import build_puzzle

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


def measure(
    trained: TrainedModel, puzzle: Puzzle, config: Config, puzzles: int | None, steps: int | None
) -> Evaluation:
    """Evaluate on the first `puzzles` test puzzles, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from latent_rl.evaluation import evaluate
    from latent_rl.ledger import Ledger

    instances = puzzle.instances("test")
    if puzzles is not None and puzzles > len(instances):
        raise UserError(f"--puzzles {puzzles}: the test split of {puzzle.name} has {len(instances)} puzzles")
    instances = instances[:puzzles]
    ledger = Ledger()
    ledger.watch(trained.reasoner.network)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("evaluating", total=len(instances))
        return evaluate(
            trained.reasoner,
            puzzle,
            instances,
            max_steps=steps or trained.config.env.max_steps,
            batch_size=config.evaluation.batch_size,
            ledger=ledger,
            on_progress=lambda count: progress.advance(task, count),
        )


def show(console: Console, puzzle: Puzzle, config: Config, found: Evaluation) -> None:
    """Print the table and the totals."""
    console.print(step_table(puzzle, found))
    console.print(
        f"{found.exact_accuracy:.1%} exact, {found.solved_rate:.1%} solved with {found.passes_per_puzzle:g} network "
        f"passes a puzzle: {config.baseline_passes_per_puzzle / found.passes_per_puzzle:.1f}x fewer than TRM's "
        f"{config.baseline_passes_per_puzzle} ({found.seconds:.1f} s)",
        soft_wrap=True,
    )


def step_table(puzzle: Puzzle, found: Evaluation) -> Table:
    """One row a recursion step."""
    from rich.table import Table

    rows = Table(title=f"{puzzle.name}, {found.puzzles:,} test puzzles")
    for name in ("step", "exactly right", "solved", "cells right", "network passes"):
        rows.add_column(name, justify="right")
    steps = len(found.accuracy_by_step)
    for step in range(steps):
        rows.add_row(
            str(step + 1),
            f"{found.accuracy_by_step[step]:.1%}",
            f"{found.solved_by_step[step]:.1%}",
            f"{found.cells_by_step[step]:.1%}",
            f"{found.passes_per_puzzle * (step + 1) / steps:g}",
        )
    return rows


def as_json(trained: TrainedModel, puzzle: Puzzle, config: Config, found: Evaluation) -> dict[str, Any]:
    """The result for machines."""
    values = asdict(found)
    passes = values.pop("passes_per_puzzle")
    return {
        "checkpoint": str(trained.path),
        "puzzle": puzzle.name,
        "eval_puzzles": values.pop("puzzles"),
        "exact_accuracy": found.exact_accuracy,
        "solved_rate": found.solved_rate,
        "cell_accuracy": found.cell_accuracy,
        **values,
        "eval_passes_per_puzzle": passes,
        "baseline_passes_per_puzzle": config.baseline_passes_per_puzzle,
        "savings_vs_trm": config.baseline_passes_per_puzzle / passes,
    }


if __name__ == "__main__":
    cli.run_program(main)
