"""The table at the end of training, and which commands come next."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from latent_rl.reporting.mlflow_page import page
from latent_rl.reporting.text import fewer, markdown_table
from latent_rl.storage import OwnStop, Summary


def show(summary: Summary, *, tracking_uri: str | None = None, settings: Iterable[str] = ()) -> None:
    """Show the table, and what to do next, to a person.

    Args:
        tracking_uri: where MLflow keeps the run; None if it was off.
        settings: what a command must name again to use the model, `key=value` for a shell.
    """
    console = Console(highlight=False)
    console.print(table(summary))
    # Not wrapped, so that commands can be copied.
    console.print("\n".join(next_steps(summary, tracking_uri, settings)), soft_wrap=True, markup=False)


def table(summary: Summary) -> Table:
    """The summary as a table of two columns."""
    found = Table(title=f"{summary.puzzle}, scheme {summary.scheme}, seed {summary.seed}", show_header=False)
    found.add_column(style="bold", no_wrap=True)
    found.add_column(justify="right")
    found.add_row("exactly right", f"{summary.exact_accuracy:.1%} of {summary.eval_puzzles:,} unseen puzzles")
    found.add_row("solved by the puzzle's rule", f"{summary.solved_rate:.1%}")
    found.add_row("cells right", f"{summary.cell_accuracy:.1%}")
    if summary.pass_at:
        found.add_row("voted by views", ", ".join(f"{name} {share:.1%}" for name, share in summary.pass_at.items()))
    found.add_row("network passes a puzzle", f"{summary.eval_passes_per_puzzle:,.4g}")
    if summary.own_stop is not None:
        found.add_row("… stopped by its own means", stop_in_words(summary.own_stop))
    found.add_row("savings against TRM's schedule", savings(summary))
    if summary.savings_vs_stopped_trm is not None:
        stopped = f"{fewer(summary.savings_vs_stopped_trm)} {stop_in_words(summary.baseline_stop)}"
        found.add_row("… both stopped by their own means", stopped)
    found.add_row("training", f"{summary.train_seconds:,.1f} s on {summary.device}, {summary.updates:,} updates")
    found.add_row("puzzles seen", f"{summary.puzzles_seen:,}")
    found.add_row(
        "training passes", f"{summary.train_passes_total:,} ({summary.train_passes_per_puzzle:,.1f} a puzzle)"
    )
    if summary.train_gradient_passes_total is not None:
        found.add_row("… with gradient", f"{summary.train_gradient_passes_total:,}")
    found.add_row("parameters", f"{summary.parameters:,}")
    return found


def description(summary: Summary) -> str:
    """The summary in Markdown, for the head of a run's page in MLflow: what was trained, and the table."""
    found = table(summary)
    names, values = (list(column.cells) for column in found.columns)
    rows = markdown_table(("", f"{summary.puzzle}, scheme {summary.scheme}"), list(zip(names, values, strict=True)))
    # Relative to MLflow's page, wherever its server is. MLflow clips what is wider than the page: the others are named.
    file = f"get-artifact?run_uuid={summary.mlflow_run_id}&path=figures/accuracy_by_step.png"
    picture = f"![accuracy by recursion step]({file})"
    return (
        f"**{fewer(summary.savings_vs_trm, 'network passes**')} TRM's schedule "
        f"({summary.eval_passes_per_puzzle:,.4g} a puzzle instead of {summary.baseline_passes_per_puzzle:,}), "
        f"**{summary.solved_rate:.1%} solved**: scheme `{summary.scheme}` on {summary.puzzle}, seed {summary.seed}.\n\n"
        f"{rows}\n\nMore pictures: *Artifacts*, `figures/`.\n\n{picture}"
    )


def headline(summary: Summary) -> str:
    """One line, for a version in a model registry, whose lists show its beginning."""
    return (
        f"{summary.solved_rate:.1%} solved, {summary.eval_passes_per_puzzle:,.4g} passes a puzzle "
        f"({summary.puzzle}, scheme {summary.scheme}, seed {summary.seed})"
    )


def stop_in_words(stop: OwnStop) -> str:
    """`21 (after 1 step, 99.8% solved)`."""
    return f"{stop.passes_per_puzzle:,.4g} ({stop.way}, {stop.solved_rate:.1%} solved)"


def savings(summary: Summary) -> str:
    """The savings together with the accuracy that they came with: one means nothing without the other."""
    return (
        f"{fewer(summary.savings_vs_trm)} {summary.baseline_passes_per_puzzle:,}, at {summary.exact_accuracy:.1%} exact"
    )


def next_steps(summary: Summary, tracking_uri: str | None = None, settings: Iterable[str] = ()) -> list[str]:
    """Lines that say where the model is and which commands come next."""
    lines = [
        f"checkpoint    {summary.checkpoint}",
        f"solve one     python -m latent_rl.solve {' '.join((summary.checkpoint, 'PUZZLE', *settings))}",
    ]
    if tracking_uri is None or summary.mlflow_experiment_id is None:
        return lines
    if tracking_uri.startswith(("http://", "https://")):
        return [*lines, f"charts        {page(tracking_uri.rstrip('/'), summary.mlflow_experiment_id)}"]
    store = "" if tracking_uri == "sqlite:///mlflow.db" else f" --backend-store-uri {tracking_uri}"
    address = page("http://127.0.0.1:5000", summary.mlflow_experiment_id)
    return [*lines, f"charts        mlflow ui{store}    then open {address}"]
