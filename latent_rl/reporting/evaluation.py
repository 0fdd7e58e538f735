"""What `evaluate` says of a model: the table of its steps or how was searched, the totals, and the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from latent_rl.reporting.summary import stop_in_words
from latent_rl.reporting.text import fewer

if TYPE_CHECKING:
    from latent_rl.agents import Search
    from latent_rl.measuring import Evaluation, Kind, SearchEvaluation
    from latent_rl.storage import OwnStop


ALL_STEPS_TO = 16
"""Episodes that are no longer than TRM's are shown step by step."""


def shown_steps(found: Evaluation) -> list[int]:
    """The steps (from 1) that tables and charts show: all of a short episode, else powers of two and the last."""
    last = len(found.accuracy_by_step)
    if last <= ALL_STEPS_TO:
        return list(range(1, last + 1))
    return [*(2**power for power in range((last - 1).bit_length())), last]


def step_table(puzzle: str, split: str, found: Evaluation) -> Table:
    """One row a recursion step, see `shown_steps`."""
    rows = Table(title=f"{puzzle}, {found.puzzles:,} {split} puzzles")
    for name in ("step", "exactly right", "solved", "cells right", "took it", "network passes"):
        rows.add_column(name, justify="right")
    for step in (number - 1 for number in shown_steps(found)):
        rows.add_row(
            str(step + 1),
            f"{found.accuracy_by_step[step]:.1%}",
            f"{found.solved_by_step[step]:.1%}",
            f"{found.cells_by_step[step]:.1%}",
            f"{found.active_by_step[step]:.1%}",
            f"{found.passes_by_step[step]:g}",
        )
    return rows


def kind_table(by: str, kinds: Sequence[Kind]) -> Table:
    """One row a kind of puzzles."""
    rows = Table(title=f"by {by}")
    rows.add_column(by)
    for name in ("puzzles", "exactly right", "solved", "cells right"):
        rows.add_column(name, justify="right")
    for kind in kinds:
        shares = (f"{share:.1%}" for share in (kind.exact_accuracy, kind.solved_rate, kind.cell_accuracy))
        rows.add_row(kind.name, f"{kind.puzzles:,}", *shares)
    return rows


def search_in_words(puzzle: str, split: str, found: SearchEvaluation, settings: Search, rule: str) -> str:
    """How was searched, with which stopping rule, and what it took."""
    how = "as many as needed of at most" if settings.adaptive else "always"
    limit = "" if settings.budget is None else f" and {settings.budget} network passes a puzzle"
    return (
        f"{puzzle}, {found.puzzles:,} {split} puzzles\n"
        f"search: {how} {settings.trajectories} trajectories{limit}, noise {settings.noise:g}, chosen by "
        f"{settings.choose}, stopping rule {rule}\n"
        f"{found.trajectories_per_puzzle:.2f} trajectories and {found.steps_per_puzzle:.2f} steps a puzzle, at most "
        f"{found.most_passes} passes; some trajectory was right on {found.any_right:.1%} (no accuracy: only the key "
        "knows which)"
    )


def totals_in_words(found: Evaluation | SearchEvaluation, baseline: int, stopped: OwnStop | None = None) -> str:
    """The accuracies beside what they cost, against the passes of TRM's schedule and of a TRM that stops."""
    fair = ""
    if stopped is not None:
        fair = f", {fewer(stopped.passes_per_puzzle / found.passes_per_puzzle)} {stop_in_words(stopped)}"
    return (
        f"{found.exact_accuracy:.1%} exact, {found.solved_rate:.1%} solved with {found.passes_per_puzzle:g} network "
        f"passes a puzzle: {fewer(baseline / found.passes_per_puzzle)} TRM's {baseline}{fair} "
        f"({found.seconds:.1f} s)"
    )


def as_dict(
    found: Evaluation | SearchEvaluation,
    *,
    checkpoint: str,
    puzzle: str,
    split: str,
    baseline: int,
    stopped: OwnStop | None = None,
) -> dict[str, Any]:
    """The result for machines."""
    values = asdict(found)
    passes = values.pop("passes_per_puzzle")
    return {
        "checkpoint": checkpoint,
        "puzzle": puzzle,
        "split": split,
        "eval_puzzles": values.pop("puzzles"),
        "exact_accuracy": found.exact_accuracy,
        "solved_rate": found.solved_rate,
        "cell_accuracy": found.cell_accuracy,
        **values,
        "eval_passes_per_puzzle": passes,
        "baseline_passes_per_puzzle": baseline,
        "savings_vs_trm": baseline / passes,
        "savings_vs_stopped_trm": stopped and stopped.passes_per_puzzle / passes,
    }
