"""Ask of a trained model what each of its recursion steps is worth."""

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
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from latent_rl.envs import Puzzle
    from latent_rl.measuring import Analysis
    from latent_rl.storage import TrainedModel

EXAMPLE = """\
  python -m latent_rl.analyze runs/sudoku-4x4-pi-0
  python -m latent_rl.analyze runs/sudoku-9x9-pi-0 --puzzles 500 --steps 12 --out analysis
  python -m latent_rl.analyze official_step_50000 --config sudoku-hard network.heads=8"""

REPORT_FILE, JSON_FILE = "report.md", "analysis.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser(
        "analyze",
        "Measure what each recursion step of a trained model is worth: how far it moves the answer to the solution,\n"
        "on how many puzzles it is dead compute, where one could have stopped, and whether guidance helps.",
        EXAMPLE,
    )
    add_model_arguments(parser)
    add_test_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of report and figures (default: analysis/ in the run directory, or NAME-analysis/ here)",
    )
    options = parser.parse_args(arguments)
    check_counts(parser, options)

    # Late, because torch takes seconds to load.
    from rich.console import Console
    from rich.markdown import Markdown

    from latent_rl.measuring import Ledger, analyze, continue_value_is_trained
    from latent_rl.reporting.analysis_report import findings

    trained, config, puzzle = open_model(options, options.overrides)
    instances = instances_to_test(trained, config, puzzle, options.puzzles)
    folder = options.out or default_folder(trained)
    make_folder(folder)
    ledger = Ledger()
    ledger.watch(trained.reasoner.network)
    with progress_bar("analyzing", len(instances)) as advance:
        found = analyze(
            trained.reasoner,
            puzzle,
            instances,
            max_steps=options.steps or config.env.max_steps,
            batch_size=config.evaluation.batch_size,
            ledger=ledger,
            foresees=continue_value_is_trained(trained),
            on_progress=advance,
        )
    write(folder, found, trained, puzzle)

    # With the JSON on standard output, what people read goes beside it.
    console = Console(stderr=str(options.json) == "-", highlight=False)
    for paragraph in findings(found):
        console.print(Markdown(paragraph), "")
    console.print(f"report and figures: {folder / REPORT_FILE}", soft_wrap=True)
    cli.write_json(options.json, as_json(found, trained, puzzle))


def default_folder(trained: TrainedModel) -> Path:
    """`analysis/` in the run directory of one of our checkpoints, `NAME-analysis/` here for any other file."""
    if trained.path.parent.name == "checkpoint":
        return trained.path.parent.parent / "analysis"
    return Path(f"{trained.path.stem}-analysis")


def make_folder(folder: Path) -> None:
    """Make the folder of the report before the work begins, so that a wrong one costs no waiting."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None


def write(folder: Path, found: Analysis, trained: TrainedModel, puzzle: Puzzle) -> None:
    """Leave report, figures and numbers in a folder."""
    from latent_rl.reporting.analysis_report import report
    from latent_rl.reporting.curves import save

    for name, figure in figures(found).items():
        save(figure, folder / f"{name}.png")
    try:
        page = report(found, checkpoint=str(trained.path), puzzle=puzzle.name)
        (folder / REPORT_FILE).write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {folder / REPORT_FILE}: {error.strerror}") from None
    cli.write_json(folder / JSON_FILE, as_json(found, trained, puzzle))


def figures(found: Analysis) -> dict[str, Figure]:
    """The figures of the report, by the name of their file."""
    from latent_rl.reporting.analysis_figures import calibration, guidance, improvement, movement, stopping

    return {
        "stopping": stopping(found),
        "improvement": improvement(
            found.margin_by_step,
            found.dead_share_by_step,
            quantiles=found.margin_quantiles_by_step,
            stuck_shares=found.stuck_share_by_step,
        ),
        "movement": movement(found),
        "guidance": guidance(found),
        "calibration": calibration(found),
    }


def as_json(found: Analysis, trained: TrainedModel, puzzle: Puzzle) -> dict[str, Any]:
    """The numbers for machines."""
    from latent_rl.measuring import QUANTILES

    return {
        "checkpoint": str(trained.path),
        "puzzle": puzzle.name,
        "steps": found.steps,
        "exact_accuracy": found.accuracy_by_step[-1],
        "enough_steps": found.enough_steps,
        "enough_passes": found.passes_by_step[found.enough_steps - 1],
        "dead_from_step": found.dead_from_step,
        "calibration_error": found.calibration_error,
        "continue_calibration_error": found.continue_calibration_error,
        "margin_quantiles": list(QUANTILES),
        **asdict(found),
    }


if __name__ == "__main__":
    cli.run_program(main)
