"""Measure a trained model on the test split of its puzzle, after every recursion step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_rl import cli
from latent_rl.cli.models import (
    add_model_arguments,
    add_test_arguments,
    check_counts,
    instances_to_test,
    open_model,
    progress_bar,
)
from latent_rl.cli.stopping import (
    add_halting_arguments,
    add_search_arguments,
    check_halting,
    check_search,
    chosen_rule,
    search_settings,
)
from latent_rl.config import Config

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from latent_rl.agents import HaltingRule, Search
    from latent_rl.envs import Puzzle
    from latent_rl.measuring import Election, Evaluation, SearchEvaluation
    from latent_rl.storage import TrainedModel

EXAMPLE = """\
  python -m latent_rl.evaluate runs/sudoku-4x4-pi-0
  python -m latent_rl.evaluate runs/sudoku-6x6-pi-0 --halt confident --halt-threshold 0.9
  python -m latent_rl.evaluate runs/sudoku-6x6-pi-0 --budget-passes 200 --choose rule
  python -m latent_rl.evaluate runs/sudoku-9x9-pi-0 --puzzles 5000 --json result.json env.options.test_file=hard.csv
  python -m latent_rl.evaluate official_step_50000 --config sudoku-hard network.heads=8"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("evaluate", "Measure a trained model on the test puzzles, after every recursion step.", EXAMPLE)
    add_model_arguments(parser)
    add_test_arguments(parser)
    parser.add_argument(
        "--submission",
        type=Path,
        metavar="FILE",
        default=Path("submission.json"),
        help="ARC: where two attempts a test input go, in Kaggle's format (default: %(default)s)",
    )
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="ARC: draw right, wrong and undecided test inputs")
    add_halting_arguments(parser)
    add_search_arguments(parser)
    options = parser.parse_args(arguments)
    check_counts(parser, options)
    check_halting(parser, options)
    check_search(parser, options)

    # Late, because torch takes seconds to load.
    from rich.console import Console

    from latent_rl.measuring import stopping_rule
    from latent_rl.reporting.arc_figures import contact_sheet
    from latent_rl.reporting.curves import save

    trained, config, puzzle = open_model(options, options.overrides)
    name = chosen_rule(options, trained)
    rule = stopping_rule(name, trained, puzzle, options.halt_threshold)
    steps = options.steps or trained.config.env.max_steps
    settings = search_settings(options, trained, puzzle)
    found = measure(trained, puzzle, config, options.puzzles, steps, rule, options.guidance, settings)

    # With the JSON on standard output, what people read goes beside it.
    console = Console(stderr=str(options.json) == "-", highlight=False)
    asked: dict[str, Any] = {"halting": name, "guidance": options.guidance}
    if settings is None:
        show(console, puzzle, config, found, name)
    else:
        show_search(console, puzzle, config, found, settings, name)
        asked["search"] = asdict(settings)
    result = {**as_json(trained, puzzle, config, found), **asked}
    election = hold_vote(trained, puzzle, config, options.puzzles, options.steps)
    if election is not None:
        election.write_submission(options.submission)
        console.print(f"{election.in_words}; {options.submission} written", soft_wrap=True)
        result |= {"views": election.views, "pass_at": election.pass_at, "submission": str(options.submission)}
        if options.sheet is not None:
            save(contact_sheet(puzzle, election), options.sheet)
    cli.write_json(options.json, result)


def measure(
    trained: TrainedModel,
    puzzle: Puzzle,
    config: Config,
    puzzles: int | None,
    steps: int,
    halting: HaltingRule,
    guidance: float,
    settings: Search | None,
) -> Evaluation | SearchEvaluation:
    """Evaluate on the first `puzzles` test puzzles, with a progress bar on a terminal; with `settings`, by search."""
    import torch

    from latent_rl.measuring import Ledger, evaluate, evaluate_search

    instances = instances_to_test(trained, config, puzzle, puzzles)
    ledger = Ledger()
    watch = ledger.watch(trained.reasoner.network)
    how = {"max_steps": steps, "batch_size": config.evaluation.batch_size, "ledger": ledger}
    how |= {"halting": halting, "guidance": guidance}
    with progress_bar("evaluating", len(instances)) as advance:
        if settings is None:
            found = evaluate(trained.reasoner, puzzle, instances, **how, on_progress=advance)
        else:
            torch.manual_seed(config.seed)
            found = evaluate_search(trained.reasoner, puzzle, instances, settings, **how, on_progress=advance)
    watch.remove()
    return found


def hold_vote(
    trained: TrainedModel, puzzle: Puzzle, config: Config, puzzles: int | None, steps: int | None
) -> Election | None:
    """Let `evaluation.views` views of the first `puzzles` test inputs vote; None where the puzzle has no vote."""
    from latent_rl.measuring import Ledger, elect

    vote = puzzle.vote
    if vote is None:
        return None
    instances = puzzle.instances("test")[:puzzles]
    views = min(config.evaluation.views, vote.views)
    ledger = Ledger()
    ledger.watch(trained.reasoner.network)
    with progress_bar("voting", views * len(instances)) as advance:
        return elect(
            trained.reasoner,
            vote,
            instances,
            views=views,
            max_steps=steps or trained.config.env.max_steps,
            batch_size=config.evaluation.batch_size,
            ledger=ledger,
            on_progress=advance,
        )


def show(console: Console, puzzle: Puzzle, config: Config, found: Evaluation, rule: str) -> None:
    """Print the table and the totals."""
    from latent_rl.agents import RULES

    console.print(step_table(puzzle, found))
    if rule != "never":
        steps = sum(found.active_by_step)
        console.print(f"stopping rule {rule}: {RULES[rule].when}; {steps:.2f} steps a puzzle", soft_wrap=True)
    show_totals(console, config, found)


def show_search(
    console: Console, puzzle: Puzzle, config: Config, found: SearchEvaluation, settings: Search, rule: str
) -> None:
    """Say how was searched, and print the totals."""
    from latent_rl.agents import RULES

    how = "as many as needed of at most" if settings.adaptive else "always"
    limit = "" if settings.budget is None else f" and {settings.budget} network passes a puzzle"
    console.print(
        f"{puzzle.name}, {found.puzzles:,} test puzzles\n"
        f"search: {how} {settings.trajectories} trajectories{limit}, noise {settings.noise:g}, chosen by "
        f"{settings.choose}, stopping rule {rule}: {RULES[rule].when}\n"
        f"{found.trajectories_per_puzzle:.2f} trajectories and {found.steps_per_puzzle:.2f} steps a puzzle, at most "
        f"{found.most_passes} passes; some trajectory was right on {found.any_right:.1%} (no accuracy: only the key "
        "knows which)",
        soft_wrap=True,
    )
    show_totals(console, config, found)


def show_totals(console: Console, config: Config, found: Evaluation | SearchEvaluation) -> None:
    """The accuracies beside what they cost."""
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
    for name in ("step", "exactly right", "solved", "cells right", "took it", "network passes"):
        rows.add_column(name, justify="right")
    for step in range(len(found.accuracy_by_step)):
        rows.add_row(
            str(step + 1),
            f"{found.accuracy_by_step[step]:.1%}",
            f"{found.solved_by_step[step]:.1%}",
            f"{found.cells_by_step[step]:.1%}",
            f"{found.active_by_step[step]:.1%}",
            f"{found.passes_by_step[step]:g}",
        )
    return rows


def as_json(
    trained: TrainedModel, puzzle: Puzzle, config: Config, found: Evaluation | SearchEvaluation
) -> dict[str, Any]:
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
