"""The report of a comparison: `compare.json`, `compare.md`, the tables, and what MLflow's parent run shows.

Tables are made once for the screen and once in Markdown: quantities down, schemes across.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from latent_rl.config import flatten
from latent_rl.errors import UserError
from latent_rl.measuring import (
    OWN_ACCURACY_TOLERANCE,
    Comparison,
    Plan,
    Question,
    Run,
    SchemeRatios,
    SchemeResult,
    TargetCost,
    differing_settings,
    not_reached,
)
from latent_rl.reporting.comparison_figures import CAPTIONS, METRIC_NAMES, figures
from latent_rl.reporting.files import make_folder, write
from latent_rl.reporting.style import save
from latent_rl.reporting.text import FEW_SEEDS, markdown_table, number, share, short, times

REPORT_FILE, TABLE_FILE = "compare.json", "compare.md"


def report(question: Question, plans: Sequence[Plan], mlflow_run_id: str | None) -> Comparison:
    """Write `compare.json`, `compare.md` and the figures from the runs that are finished.

    Raises:
        UserError: if the folder cannot be written, or a run in it is not one of this version.
    """
    runs = [Run.read(plan.scheme, plan.seed, plan.run_dir) for plan in plans if Run.finished(plan.run_dir)]
    schemes = list(dict.fromkeys(plan.scheme for plan in plans))
    comparison = Comparison.of(runs, schemes, question.metric, question.target)
    folder = question.out / "figures"
    make_folder(folder)
    content = as_dict(question, plans, comparison, mlflow_run_id)
    write(question.out / REPORT_FILE, json.dumps(content, indent=1) + "\n")
    if runs:
        for name, figure in figures(comparison, schemes).items():
            save(figure, folder / f"{name}.png")
        title = f"{runs[0].summary.puzzle}: {', '.join(schemes)} ({len(runs)} of {len(plans)} runs finished)"
        links = {caption: Path("figures") / f"{name}.png" for name, caption in CAPTIONS.items()}
        lines = [*notes(comparison), f"Made by `{question.command}`."]
        tables = grids(comparison, settings_table(question, plans))
        write(question.out / TABLE_FILE, markdown(title, tables, lines, links))
    return comparison


def as_dict(
    question: Question, plans: Sequence[Plan], comparison: Comparison, mlflow_run_id: str | None
) -> dict[str, Any]:
    """The content of `compare.json`."""
    return {
        "preset": question.preset,
        "command": question.command,
        "schemes": list(dict.fromkeys(plan.scheme for plan in plans)),
        "seeds": list(range(question.seeds)),
        "complete": len(comparison.runs) == len(plans),
        "mlflow_run_id": mlflow_run_id,
        "own_settings": question.own,
        "differing_settings": differing_settings(plans),
        **comparison.as_dict(),
    }


def settings_table(question: Question, plans: Sequence[Plan]) -> dict[str, dict[str, str]]:
    """`differing_settings` as text, with a mark on what the command line gave to one scheme alone."""
    own = {scheme: {override.partition("=")[0] for override in given} for scheme, given in question.own.items()}
    return {
        key: {
            scheme: f"{'-' if value is None else value}{' (given)' if key in own[scheme] else ''}"
            for scheme, value in values.items()
        }
        for key, values in differing_settings(plans).items()
    }


def parent_parameters(question: Question, plans: Sequence[Plan]) -> dict[str, Any]:
    """What MLflow's parent run shows as its parameters: the question, and the settings that all runs share."""
    differing = differing_settings(plans)
    shared = {key: value for key, value in flatten(plans[0].config).items() if key not in differing}
    for key in ("scheme", "seed", "name"):
        shared.pop(key)
    asked = {"preset": question.preset, "schemes": question.schemes, "seeds": question.seeds}
    asked |= {"metric": question.metric, "target_accuracy": question.target}
    return {**{f"compare.{key}": value for key, value in asked.items()}, **shared}


def parent_metrics(comparison: Comparison) -> dict[str, float]:
    """What MLflow's parent run shows as its metrics."""
    values = {}
    for result in comparison.results:
        values[f"{result.scheme}/accuracy"] = result.accuracy.mean
        values[f"{result.scheme}/eval_passes_per_puzzle"] = result.eval_passes_per_puzzle.mean
        values[f"{result.scheme}/train_passes_total"] = result.train_passes.mean
        if result.train_passes_to_target.estimate is not None:
            values[f"{result.scheme}/train_passes_to_target"] = result.train_passes_to_target.estimate.mean
    return values


def known_parent_run(out: Path) -> str | None:
    """MLflow's parent run of an earlier start of this comparison."""
    try:
        return json.loads((out / REPORT_FILE).read_text())["mlflow_run_id"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{out / REPORT_FILE} is no report of a comparison ({error}): remove it to go on") from None


class Grid(NamedTuple):
    """A table of text: a title, the head of each column, and rows that begin with their own name."""

    title: str
    head: list[str]
    rows: list[list[str]]


def grids(comparison: Comparison, settings: Mapping[str, Mapping[str, str]]) -> list[Grid]:
    """The tables of a comparison.

    Args:
        comparison: the finished runs.
        settings: by configuration key, the values of the schemes that differ in it, by scheme.
    """
    found = [_results(comparison)]
    if comparison.ratios:
        found.append(_ratios(comparison))
    if settings:
        schemes = [result.scheme for result in comparison.results]
        rows = [[key, *(values.get(scheme, "") for scheme in schemes)] for key, values in settings.items()]
        found.append(Grid("Settings that differ between the schemes; all others are the same", ["", *schemes], rows))
    return found


def notes(comparison: Comparison) -> list[str]:
    """How to read the numbers."""
    methods = sorted({result.accuracy.method for result in comparison.results})
    target = f"{comparison.target_accuracy:.1%}"
    lines = [
        f"Accuracy: share of the test puzzles {METRIC_NAMES[comparison.metric]} after the last recursion step. In "
        f"parentheses every seed, where there are at most {FEW_SEEDS}; in brackets 95% intervals, for accuracy: "
        f"{'; '.join(methods)}; for costs: t over seeds, none from one seed.",
        "Compute, in forward passes: all of them, and each that a gradient came back through twice more.",
        f"Cost to {target}: at the first evaluation on validation puzzles that reached it, so too high by one step "
        "between evaluations at most, whose mean is named; a number only if every seed reached it.",
        f"To within {100 * OWN_ACCURACY_TOLERANCE:g} points: the cheapest stop that a model has by itself, after the "
        "first n steps or by its q head, chosen on validation puzzles; passes and accuracy then on test puzzles.",
    ]
    if any(run.chosen_on_test for run in comparison.runs):
        lines.append(
            "Some runs were made by a version without validation puzzles: their curves, costs to a target and early "
            "stops were chosen on test puzzles, and flatter."
        )
    if comparison.ratios:
        lines.append(
            "Ratios: cost of the first scheme divided by that of the second, of the means above; intervals: Welch's t "
            "on the logarithm. They mean nothing without the accuracies beside them."
        )
    return lines


def show(console: Console, found: Sequence[Grid], lines: Sequence[str]) -> None:
    """Print tables and notes for a person."""
    for grid in found:
        table = Table(title=grid.title)
        for column, head in enumerate(grid.head):
            table.add_column(head, style="bold" if column == 0 else "", justify="left" if column == 0 else "right")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    for line in lines:
        console.print(line, markup=False)


def markdown(title: str, found: Sequence[Grid], lines: Sequence[str], figures: Mapping[str, Path]) -> str:
    """The same in Markdown; `figures` by caption, paths relative to the file."""
    parts = [f"# {title}"]
    for grid in found:
        parts += [f"## {grid.title}", markdown_table(grid.head, grid.rows, first="---")]
    parts.append("\n".join(f"- {line}" for line in lines))
    parts.extend(f"![{caption}]({path.as_posix()})" for caption, path in figures.items())
    return "\n\n".join(parts) + "\n"


def _results(comparison: Comparison) -> Grid:
    target = f"{comparison.target_accuracy:.1%}"
    rows: list[tuple[str, Callable[[SchemeResult], str]]] = [
        ("seeds", lambda result: str(len(result.seeds))),
        ("test puzzles", lambda result: f"{result.eval_puzzles:,}"),
        ("parameters", lambda result: f"{result.parameters:,}"),
        ("exactly right", lambda result: share(result.exact_accuracy)),
        ("solved by the puzzle's rule", lambda result: share(result.solved_rate)),
        ("cells right", lambda result: share(result.cell_accuracy)),
        ("evaluation passes a puzzle", lambda result: number(result.eval_passes_per_puzzle)),
        (
            f"… to within {100 * OWN_ACCURACY_TOLERANCE:g} points of its accuracy",
            lambda result: number(result.eval_passes_to_own_accuracy),
        ),
        (f"  {METRIC_NAMES[comparison.metric]} then", lambda result: share(result.accuracy_stopped_early)),
        (f"training passes to {target}", lambda result: _target(result.train_passes_to_target)),
        (f"training seconds to {target}", lambda result: _target(result.train_seconds_to_target)),
        (f"training compute to {target}", lambda result: _if_counted(_target, result.train_compute_to_target)),
        ("training passes in all", lambda result: number(result.train_passes)),
        ("… with gradient", lambda result: _if_counted(number, result.train_gradient_passes)),
        ("training seconds in all", lambda result: number(result.train_seconds)),
        ("puzzles a second in training", lambda result: number(result.train_puzzles_per_second)),
        ("puzzles a second in evaluation", lambda result: number(result.eval_puzzles_per_second)),
    ]
    puzzle = comparison.runs[0].summary.puzzle if comparison.runs else "no run finished yet"
    return Grid(
        f"{puzzle}: same network and budget, scheme against scheme",
        ["", *(result.scheme for result in comparison.results)],
        [[name, *(text(result) for result in comparison.results)] for name, text in rows],
    )


def _if_counted(text: Callable[[Any], str], value: Any) -> str:
    return "not counted" if value is None else text(value)


def _ratios(comparison: Comparison) -> Grid:
    target = f"{comparison.target_accuracy:.1%}"
    rows: list[tuple[str, Callable[[SchemeRatios], str]]] = [
        (f"{METRIC_NAMES[comparison.metric]}, first", lambda ratios: share(ratios.baseline_accuracy)),
        (f"{METRIC_NAMES[comparison.metric]}, second", lambda ratios: share(ratios.accuracy)),
        ("evaluation passes a puzzle", lambda ratios: times(ratios.eval_passes_per_puzzle)),
        (
            f"… to within {100 * OWN_ACCURACY_TOLERANCE:g} points of its accuracy",
            lambda ratios: times(ratios.eval_passes_to_own_accuracy),
        ),
        (f"training passes to {target}", lambda ratios: times(ratios.train_passes_to_target)),
        (f"training seconds to {target}", lambda ratios: times(ratios.train_seconds_to_target)),
        (f"training compute to {target}", lambda ratios: _if_counted(times, ratios.train_compute_to_target)),
    ]
    return Grid(
        "How many times as much the first scheme costs",
        ["", *(f"{ratios.baseline} / {ratios.scheme}" for ratios in comparison.ratios)],
        [[name, *(text(ratios) for ratios in comparison.ratios)] for name, text in rows],
    )


def _target(cost: TargetCost) -> str:
    if cost.estimate is None:
        return not_reached(cost)
    return f"{number(cost.estimate)}, in steps of {short(cost.spacing)}"
