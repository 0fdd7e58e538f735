"""Train several schemes on the same puzzles with the same network and budget, and say what each one costs."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from latent_rl import cli
from latent_rl.comparison_plan import (
    Plan,
    Question,
    budget_overrides,
    check_same_settings,
    differing_settings,
    make_plans,
    split_overrides,
)
from latent_rl.config_loading import DEFAULT_PRESET, flatten, preset_names, scheme_names
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.comparison import Comparison

EXAMPLE = """\
  python -m latent_rl.compare --config sudoku-6x6
  python -m latent_rl.compare --config sudoku-6x6 --seeds 5 --budget-seconds 600 --target-accuracy 0.9
  python -m latent_rl.compare --schemes trm pi network.width=32 trm:optimizer.lr=5e-4 trm:budget.seconds=900"""

REPORT_FILE, TABLE_FILE = "compare.json", "compare.md"


def compare(question: Question, plans: Sequence[Plan]) -> Comparison:
    """Make the runs that are not finished yet, one after the other; the report is brought up to date after each.

    Raises:
        UserError: if a folder holds runs with other settings, or a configuration does not fit.
        KeyboardInterrupt: after a signal, with the run in work saved.
    """
    from latent_rl.comparison import Run
    from latent_rl.tracking import start_tracking
    from latent_rl.train import train

    console = Console(stderr=True)
    for plan in plans:
        check_same_settings(plan)
    first = plans[0].config
    parent = first.model_copy(update={"name": f"compare-{Path(question.preset).stem}"})
    with start_tracking(parent, known_parent_run(question.out), parent_parameters(question, plans)) as tracker:
        comparison = report(question, plans, tracker.run_id)
        for number, plan in enumerate(plans, start=1):
            title = f"run {number} of {len(plans)}: scheme {plan.scheme}, seed {plan.seed}"
            if Run.finished(plan.run_dir):
                console.print(f"{title}: finished before", highlight=False)
                continue
            console.print(title, style="bold", highlight=False)
            try:
                train(plan.config, plan.run_dir, resume=(plan.run_dir / "checkpoint" / "training.pt").is_file())
            except KeyboardInterrupt:
                console.print("the same command goes on with the whole comparison", highlight=False)
                raise
            comparison = report(question, plans, tracker.run_id)
        tracker.metrics(parent_metrics(comparison), 0)
        for path in (question.out / REPORT_FILE, question.out / TABLE_FILE):
            tracker.artifact(path)
        for path in sorted((question.out / "figures").glob("*.png")):
            tracker.artifact(path, "figures")
    return comparison


def report(question: Question, plans: Sequence[Plan], mlflow_run_id: str | None) -> Comparison:
    """Write `compare.json`, `compare.md` and the figures from the runs that are finished."""
    from latent_rl.comparison import Comparison, Run
    from latent_rl.comparison_figures import CAPTIONS, figures
    from latent_rl.comparison_tables import grids, markdown, notes
    from latent_rl.figures import save

    runs = [Run.read(plan.scheme, plan.seed, plan.run_dir) for plan in plans if Run.finished(plan.run_dir)]
    schemes = list(dict.fromkeys(plan.scheme for plan in plans))
    comparison = Comparison.of(runs, schemes, question.metric, question.target)
    try:
        (question.out / "figures").mkdir(parents=True, exist_ok=True)
        write(
            question.out / REPORT_FILE,
            json.dumps(as_dict(question, plans, comparison, mlflow_run_id), indent=1) + "\n",
        )
        if runs:
            for name, figure in figures(comparison, schemes).items():
                save(figure, question.out / "figures" / f"{name}.png")
            title = f"{runs[0].summary.puzzle}: {', '.join(schemes)} ({len(runs)} of {len(plans)} runs finished)"
            links = {caption: Path("figures") / f"{name}.png" for name, caption in CAPTIONS.items()}
            lines = [*notes(comparison), f"Made by `{question.command}`."]
            write(
                question.out / TABLE_FILE,
                markdown(title, grids(comparison, settings_table(question, plans)), lines, links),
            )
    except OSError as error:
        raise UserError(f"folder {question.out} cannot be written: {error.strerror}") from None
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


def write(path: Path, text: str) -> None:
    """Write a file; a reader never sees half of it."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser(
        "compare",
        "Train schemes on the same puzzles, with the same network and budget, and report what each one costs.\n"
        "Stopped at any time, the same command goes on where it was.\n\n"
        f"presets: {', '.join(preset_names())}\nschemes: {', '.join(scheme_names())}",
        EXAMPLE,
    )
    parser.add_argument("--config", default=DEFAULT_PRESET, metavar="NAME|FILE", help="preset or YAML file")
    parser.add_argument("--schemes", nargs="+", default=["trm", "dis", "pi"], metavar="SCHEME", help="by name or file")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each scheme, seeds 0 to N - 1")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--budget-seconds", type=float, metavar="S", help="seconds of training for every run")
    budget.add_argument("--budget-passes", type=int, metavar="P", help="network passes of training for every run")
    parser.add_argument(
        "--target-accuracy", type=float, default=0.9, metavar="A", help="share whose cost is reported (0.9)"
    )
    parser.add_argument(
        "--metric", choices=["solved", "exact"], default="solved", help="by the puzzle's rule, or equal to the key"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the runs and the report")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write compare.json there; - for the screen")
    parser.add_argument(
        "overrides", nargs="*", metavar="[SCHEME:]key=value", help="changes for all schemes, or for one"
    )
    options = parser.parse_args(arguments)
    # `--schemes trm pi network.width=32` takes all of them: a scheme has no equals sign.
    schemes = [word for word in options.schemes if "=" not in word]
    overrides = [word for word in options.schemes if "=" in word] + options.overrides
    if not schemes:
        raise UserError("--schemes names no scheme")
    if options.seeds < 1:
        raise UserError(f"--seeds is the number of runs of each scheme, at least 1, got {options.seeds}")
    if not 0.0 < options.target_accuracy <= 1.0:
        raise UserError(f"--target-accuracy is a share between 0 and 1, such as 0.9, got {options.target_accuracy:g}")

    common, own = split_overrides(overrides, schemes)
    question = Question(
        preset=options.config,
        schemes=schemes,
        seeds=options.seeds,
        metric=options.metric,
        target=options.target_accuracy,
        overrides=common,
        own=own,
        out=options.out or Path("runs") / f"compare-{Path(options.config).stem}",
        command=shlex.join(["python", "-m", "latent_rl.compare", *(sys.argv[1:] if arguments is None else arguments)]),
    )
    plans = make_plans(question, budget_overrides(options.budget_seconds, options.budget_passes))
    comparison = compare(question, plans)
    if options.json is not None:
        cli.write_json(options.json, json.loads((question.out / REPORT_FILE).read_text()))
    if str(options.json) != "-":
        from latent_rl.comparison_tables import grids, notes, show

        console = Console(highlight=False)
        show(console, grids(comparison, settings_table(question, plans)), notes(comparison))
        console.print(f"report        {question.out / TABLE_FILE}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    cli.run_program(main)
