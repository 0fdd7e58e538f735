"""Accuracy against a budget of network passes: fixed numbers of noisy trajectories, and the adaptive search.

    python benchmarks/search.py runs/sudoku-6x6-pi-0
    python benchmarks/search.py runs/sudoku-hard-pi-0 --trajectories 1 4 16 64 --puzzles 500 --json search.json

Every number of trajectories K is a budget of K whole runs. The fixed search spends it on every puzzle, and its answer
is chosen by the value head, by the puzzle's own rule, or by vote; the adaptive one begins with one trajectory and goes
on only while the value head is not sure, or the rule does not confirm the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_rl import cli
from latent_rl.cli import (
    add_model_arguments,
    add_test_arguments,
    check_counts,
    instances_to_test,
    open_model,
    progress_bar,
    split_numbers,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLE = "  python benchmarks/search.py runs/sudoku-6x6-pi-0 --trajectories 1 2 4 8 16 --puzzles 500"
METHODS = {
    "value": ("o-", "fixed K, by value"),
    "vote": ("s-", "fixed K, by vote"),
    "rule": ("^-", "fixed K, by rule"),
    "adaptive value": ("o:", "adaptive, by value"),
    "adaptive rule": ("^:", "adaptive, by rule"),
}
"""Marker and line, and label, of every curve."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("search", "Measure what search at test time finds, and what it spends.", EXAMPLE)
    parser.prog = "python benchmarks/search.py"
    add_model_arguments(parser)
    add_test_arguments(parser)
    parser.add_argument("--trajectories", nargs="+", default=["1", "2", "4", "8", "16"], metavar="K")
    parser.add_argument("--noise", type=float, default=0.3, metavar="S", help="standard deviation of the noise on y")
    parser.add_argument("--enough", type=float, default=0.9, metavar="P", help="value that an adaptive search accepts")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the curves")
    options = parser.parse_args(arguments)
    check_counts(parser, options)
    trajectories, more = split_numbers(parser, "--trajectories", options.trajectories, int)

    import torch

    from latent_rl.agents import Search
    from latent_rl.measuring import Ledger, evaluate_search, value_head_is_trained
    from latent_rl.reporting.style import save, styled

    trained, config, puzzle = open_model(options, [*options.overrides, *more])
    instances = instances_to_test(trained, config, puzzle, options.puzzles)
    steps = options.steps or config.env.max_steps
    run = steps * trained.reasoner.config.passes_per_step
    ledger = Ledger()
    ledger.watch(trained.reasoner.network)
    methods = [
        name
        for name in METHODS
        if (puzzle.has_rule or "rule" not in name) and (value_head_is_trained(trained) or "value" not in name)
    ]
    found: list[dict[str, Any]] = []
    with progress_bar("searching", len(instances) * len(trajectories) * len(methods)) as advance:
        for count in trajectories:
            for method in methods:
                adaptive, choose = method.startswith("adaptive"), method.split()[-1]
                settings = Search(count, choose, options.noise, count * run, adaptive, options.enough)
                torch.manual_seed(config.seed)
                result = evaluate_search(
                    trained.reasoner,
                    puzzle,
                    instances,
                    settings,
                    max_steps=steps,
                    batch_size=config.evaluation.batch_size,
                    ledger=ledger,
                    on_progress=advance,
                )
                found.append({"method": method, "budget": count * run, **asdict(result)})
    show(puzzle.name, found)
    if options.png is not None:
        save(styled(draw)(puzzle.name, found), options.png)
    cli.write_json(options.json, {"checkpoint": str(trained.path), "noise": options.noise, "results": found})


def show(puzzle: str, found: Sequence[dict[str, Any]]) -> None:
    """Print one row a search."""
    from rich.console import Console
    from rich.table import Table

    table = Table("search", title=f"{puzzle}, {found[0]['puzzles']:,} test puzzles")
    for name in ("budget", "passes spent", "trajectories", "solved"):
        table.add_column(name, justify="right")
    for result in found:
        table.add_row(
            METHODS[result["method"]][1],
            f"{result['budget']}",
            f"{result['passes_per_puzzle']:.1f}",
            f"{result['trajectories_per_puzzle']:.2f}",
            f"{result['solved_rate']:.1%}",
        )
    Console(highlight=False).print(table)


def draw(puzzle: str, found: Sequence[dict[str, Any]]) -> Figure:
    """Solved rate against passes really spent, one curve a method."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    from latent_rl.reporting.style import BLUE, GREEN, ORANGE, percent_axis

    colours = {"value": BLUE, "vote": ORANGE, "rule": GREEN}
    figure = Figure(figsize=(7.5, 5.0))
    axes = figure.subplots()
    for method, (style, label) in METHODS.items():
        curve = [(one["passes_per_puzzle"], one["solved_rate"]) for one in found if one["method"] == method]
        if curve:
            axes.plot(*zip(*curve, strict=True), style, color=colours[method.split()[-1]], label=label)
    axes.set_xscale("log")
    axes.set_xticks(sorted({one["budget"] for one in found}))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("network passes spent on a puzzle")
    percent_axis(axes, "solved")
    axes.set_title(f"{puzzle}, {found[0]['puzzles']:,} test puzzles")
    axes.grid(True, axis="both")
    axes.legend()
    return figure


if __name__ == "__main__":
    cli.run_program(main)
