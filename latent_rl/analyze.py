"""Ask of a trained model what each of its recursion steps is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latent_rl import cli

if TYPE_CHECKING:
    from latent_rl.storage import TrainedModel

EXAMPLE = """\
  python -m latent_rl.analyze runs/sudoku-4x4-pi-0
  python -m latent_rl.analyze runs/sudoku-9x9-pi-0 --puzzles 500 --steps 12 --out analysis
  python -m latent_rl.analyze official_step_50000 --config sudoku-hard network.heads=8"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser(
        "analyze",
        "Measure what each recursion step of a trained model is worth: how far it moves the answer to the solution,\n"
        "on how many puzzles it is dead compute, where one could have stopped, and whether guidance helps.",
        EXAMPLE,
    )
    cli.add_model_arguments(parser)
    cli.add_test_arguments(parser)
    parser.add_argument(
        "--out",
        type=cli.output_folder,
        metavar="DIR",
        help="folder of report and figures (default: analysis/ in the run directory, or NAME-analysis/ here)",
    )
    options = parser.parse_args(arguments)
    cli.check_counts(parser, options)

    # Late, because torch takes seconds to load.
    from rich.console import Console
    from rich.markdown import Markdown

    from latent_rl.measuring import Ledger, analyze, has_continue_value, value_is_judged_by
    from latent_rl.reporting.analysis import REPORT_FILE, as_dict, findings, write_report
    from latent_rl.reporting.files import make_folder

    trained, config, puzzle = cli.open_model(options, options.overrides)
    cli.refuse_deduction(trained, "there are no latents whose steps could be analyzed; evaluate says what its steps do")
    instances = cli.known_instances(cli.instances_to_test(trained, config, puzzle, options.puzzles))
    folder = options.out or default_folder(trained)
    make_folder(folder)
    ledger = Ledger()
    ledger.watch(trained.reasoner.network)
    with cli.progress_bar("analyzing", len(instances)) as advance:
        found = analyze(
            trained.reasoner,
            puzzle,
            instances,
            max_steps=options.steps or config.evaluation_steps,
            batch_size=config.evaluation.batch_size,
            ledger=ledger,
            judged_by=value_is_judged_by(trained),
            has_continue_value=has_continue_value(trained),
            on_progress=advance,
        )
    named = {"checkpoint": str(trained.path), "puzzle": puzzle.name}
    write_report(folder, found, **named)

    # With the JSON on standard output, what people read goes beside it.
    console = Console(stderr=str(options.json) == "-", highlight=False)
    for paragraph in findings(found):
        console.print(Markdown(paragraph), "")
    console.print(f"report and figures: {folder / REPORT_FILE}", soft_wrap=True, markup=False)
    cli.write_json(options.json, as_dict(found, **named))


def default_folder(trained: TrainedModel) -> Path:
    """`analysis/` in the run directory of one of our checkpoints, `NAME-analysis/` here for any other file."""
    if trained.path.parent.name == "checkpoint":
        return trained.path.parent.parent / "analysis"
    return Path(f"{cli.name_of(trained)}-analysis")


if __name__ == "__main__":
    cli.run_program(main)
