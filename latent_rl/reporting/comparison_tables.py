"""The tables of a comparison, once for the screen and once in Markdown: quantities down, schemes across."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from latent_rl.measuring import (
    OWN_ACCURACY_TOLERANCE,
    Comparison,
    Estimate,
    Ratio,
    SchemeRatios,
    SchemeResult,
    TargetCost,
    not_reached,
)

METRIC_NAMES = {"solved": "solved by the puzzle's rule", "exact": "exactly right"}


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
    target = _percent(comparison.target_accuracy)
    lines = [
        f"Accuracy: share of the test puzzles {METRIC_NAMES[comparison.metric]} after the last recursion step. In "
        f"brackets 95% intervals, for accuracy: {'; '.join(methods)}; for costs: t over seeds, none from one seed.",
        f"Cost to {target}: at the first evaluation that reached it, so too high by one interval between evaluations "
        "at most; a number only if every seed reached it.",
    ]
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
        for number, head in enumerate(grid.head):
            table.add_column(head, style="bold" if number == 0 else "", justify="left" if number == 0 else "right")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    for line in lines:
        console.print(line, markup=False)


def markdown(title: str, found: Sequence[Grid], lines: Sequence[str], figures: Mapping[str, Path]) -> str:
    """The same in Markdown; `figures` by caption, paths relative to the file."""
    parts = [f"# {title}"]
    for grid in found:
        head = [_cell(text) for text in grid.head]
        rules = ["---", *["---:"] * (len(head) - 1)]
        body = [[_cell(text) for text in row] for row in grid.rows]
        parts.append(f"## {grid.title}")
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in [head, rules, *body]))
    parts.append("\n".join(f"- {line}" for line in lines))
    parts.extend(f"![{caption}]({path.as_posix()})" for caption, path in figures.items())
    return "\n\n".join(parts) + "\n"


def _results(comparison: Comparison) -> Grid:
    target = _percent(comparison.target_accuracy)
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
        (f"training passes to {target}", lambda result: _target(result.train_passes_to_target)),
        (f"training seconds to {target}", lambda result: _target(result.train_seconds_to_target)),
        ("training passes in all", lambda result: number(result.train_passes)),
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


def _ratios(comparison: Comparison) -> Grid:
    target = _percent(comparison.target_accuracy)
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
    ]
    return Grid(
        "How many times as much the first scheme costs",
        ["", *(f"{ratios.baseline} / {ratios.scheme}" for ratios in comparison.ratios)],
        [[name, *(text(ratios) for ratios in comparison.ratios)] for name, text in rows],
    )


def share(estimate: Estimate) -> str:
    """`97.1% [96.0, 98.2]`."""
    text = _percent(estimate.mean)
    return text if estimate.low is None else f"{text} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def number(estimate: Estimate) -> str:
    """`1.23 M [1.1 M, 1.36 M]`; without brackets if there is no interval, or all seeds agree."""
    text = short(estimate.mean)
    return text if estimate.low in (None, estimate.mean) else f"{text} [{short(estimate.low)}, {short(estimate.high)}]"


def times(ratio: Ratio) -> str:
    """`18.7x [12.1, 28.9]`, or the reason why there is no number."""
    if ratio.value is None:
        return ratio.note
    text = f"{ratio.value:.3g}x"
    return text if ratio.low in (None, ratio.value) else f"{text} [{ratio.low:.3g}, {ratio.high:.3g}]"


def short(value: float) -> str:
    """Three digits, with k, M, G for large numbers."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if size == 1e4 else size):.3g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _target(cost: TargetCost) -> str:
    return not_reached(cost) if cost.estimate is None else number(cost.estimate)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
