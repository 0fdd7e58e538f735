"""Train several schemes on the same puzzles with the same network and budget, and say what each one costs."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from latent_rl import cli
from latent_rl.config import DEFAULT_PRESET, Config, idle_settings, preset_names, scheme_names
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.measuring import Comparison, Plan, Question

EXAMPLE = """\
  python -m latent_rl.compare --config sudoku-6x6
  python -m latent_rl.compare --config sudoku-6x6 --seeds 5 --budget-seconds 600 --target-accuracy 0.9
  python -m latent_rl.compare --config sudoku-4x4 --jobs 2
  python -m latent_rl.compare --schemes trm pi network.width=32 trm:optimizer.lr=5e-4 trm:budget.seconds=900"""


def compare(question: Question, plans: Sequence[Plan], jobs: int | None = None) -> Comparison:
    """Make the runs that are not finished yet; the report is brought up to date after each.

    Args:
        question: what is compared.
        plans: the runs.
        jobs: runs at a time, each in a process of its own with one thread; None: one after the other, in this one.

    Raises:
        UserError: if a folder holds runs with other settings or is in use, or a configuration does not fit.
        KeyboardInterrupt: after a signal, with the runs in work saved.
    """
    from latent_rl.envs import instances_of
    from latent_rl.measuring import Run, check_same_settings
    from latent_rl.reporting.comparison import (
        REPORT_FILE,
        TABLE_FILE,
        known_parent_run,
        parent_metrics,
        parent_parameters,
        report,
    )
    from latent_rl.reporting.mlflow_run import start_tracking
    from latent_rl.storage import hold
    from latent_rl.training import build_puzzle

    console = Console(stderr=True)
    # Before an hour of training: curves and early stops are chosen on validation puzzles.
    instances_of(build_puzzle(plans[0].config), "validation")
    for plan in plans:
        check_same_settings(plan)
    first = plans[0].config
    parent = first.model_copy(update={"name": f"compare-{Path(question.preset).stem}"})
    with (
        hold(question.out),
        start_tracking(parent, known_parent_run(question.out), parent_parameters(question, plans)) as tracker,
    ):
        comparison = report(question, plans, tracker.run_id)
        missing: dict[str, Plan] = {}
        for number, plan in enumerate(plans, start=1):
            title = f"run {number} of {len(plans)}: scheme {plan.scheme}, seed {plan.seed}"
            if Run.complete(plan.run_dir):
                console.print(f"{title}: finished before", highlight=False, markup=False)
                continue
            if Run.finished(plan.run_dir):
                title += ": finished before, but not all of it was written"
            missing[title] = plan

        def done(title: str) -> None:
            nonlocal comparison
            comparison = report(question, plans, tracker.run_id)
            if jobs is not None:
                console.print(f"{title}: finished", style="bold", highlight=False, markup=False)

        try:
            if jobs is not None:
                tasks = [(plan.run_dir.name, make_run, (plan, tracker.run_id)) for plan in missing.values()]
                cli.side_by_side(tasks, jobs, done)
            else:
                for title, plan in missing.items():
                    console.print(title, style="bold", highlight=False, markup=False)
                    make_run(plan)
                    done(title)
        except KeyboardInterrupt:
            console.print("the same command goes on with the whole comparison", highlight=False)
            raise
        except UserError:
            report(question, plans, tracker.run_id)
            raise
        tracker.metrics(parent_metrics(comparison), 0)
        for path in (question.out / REPORT_FILE, question.out / TABLE_FILE):
            tracker.artifact(path)
        for path in sorted((question.out / "figures").glob("*.png")):
            tracker.artifact(path, "figures")
    return comparison


def make_run(plan: Plan, parent: str | None = None) -> None:
    """Make a run of a comparison, or go on with it.

    Args:
        plan: of the run.
        parent: MLflow's id of the comparison that it belongs to, if that is another process.

    Raises:
        UserError: as `train`, with what to do where not all could be written.
        KeyboardInterrupt: as `train`.
    """
    from latent_rl.reporting.mlflow_run import belong_to

    # The only program that another one imports: the loop is to be found in train.py.
    from latent_rl.train import NotAllWrittenError, train

    if parent is not None:
        belong_to(parent)
    begun = (plan.run_dir / "checkpoint" / "training.pt").is_file()
    try:
        train(as_settled(plan) if begun else plan.config, plan.run_dir, resume=begun)
    except NotAllWrittenError as error:
        raise UserError(f"{plan.run_dir}: {error}; the same command writes it and goes on") from None


def as_settled(plan: Plan) -> Config:
    """The configuration of a run that was begun, with the `auto` of its precision and compilation as settled then."""
    from latent_rl.storage import saved_settings

    kept = saved_settings(plan.run_dir / "checkpoint") or {}
    settled = {
        key: kept[key] for key in ("precision", "compile") if getattr(plan.config, key) == "auto" and key in kept
    }
    return plan.config.model_copy(update=settled)


def warn_of_idle(plans: Sequence[Plan], question: Question) -> None:
    """Say which settings change nothing: those of one scheme in it, those of all schemes in any."""
    of_scheme = {plan.scheme: plan.config for plan in plans}
    for scheme, config in of_scheme.items():
        for key, reason in idle_settings(config, question.own[scheme]).items():
            cli.warn(f"{scheme}:{key} changes nothing in this comparison: {reason}")
    in_each = [idle_settings(config, question.overrides) for config in of_scheme.values()]
    for key in in_each[0].keys() & set.intersection(*(set(found) for found in in_each)):
        cli.warn(f"{key} changes nothing in this comparison: {in_each[0][key]}")


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
    parser.add_argument(
        "--data-seeds", action="store_true", help="every seed has its own puzzles (env.options.seed), too"
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--budget-seconds", type=float, metavar="S", help="seconds of training for every run")
    budget.add_argument("--budget-passes", type=int, metavar="P", help="network passes of training for every run")
    parser.add_argument(
        "--target-accuracy", type=float, default=0.9, metavar="A", help="share whose cost is reported (0.9)"
    )
    parser.add_argument(
        "--metric", choices=["solved", "exact"], default="solved", help="by the puzzle's rule, or equal to the key"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs side by side, each in a process of its own with one thread (default: one after the other)",
    )
    parser.add_argument("--out", type=cli.output_folder, metavar="DIR", help="folder of the runs and the report")
    parser.add_argument(
        "--json", type=cli.json_file, metavar="FILE", help="also write compare.json there; - for the screen"
    )
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
    parser.check_range("--seeds", options.seeds, 1, 1000)
    parser.check_range("--jobs", options.jobs, 1, 1000)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("compare starts its own processes, with --jobs N: run it without torchrun")
    if not 0.0 < options.target_accuracy <= 1.0:
        raise UserError(f"--target-accuracy is a share between 0 and 1, such as 0.9, got {options.target_accuracy:g}")

    # Late, because torch takes seconds to load.
    from latent_rl.measuring import Question, budget_overrides, make_plans, split_overrides
    from latent_rl.reporting.comparison import REPORT_FILE, TABLE_FILE, grids, notes, settings_table, show

    common, own = split_overrides(overrides, schemes)
    question = Question(
        preset=options.config,
        schemes=schemes,
        seeds=options.seeds,
        data_seeds=options.data_seeds,
        metric=options.metric,
        target=options.target_accuracy,
        overrides=common,
        own=own,
        out=options.out or Path("runs") / f"compare-{Path(options.config).stem}",
        command=shlex.join(["python", "-m", "latent_rl.compare", *(sys.argv[1:] if arguments is None else arguments)]),
    )
    plans = make_plans(question, budget_overrides(options.budget_seconds, options.budget_passes))
    warn_of_idle(plans, question)
    comparison = compare(question, plans, options.jobs)
    if options.json is not None:
        cli.write_json(options.json, json.loads((question.out / REPORT_FILE).read_text()))
    if str(options.json) != "-":
        console = Console(highlight=False)
        show(console, grids(comparison, settings_table(question, plans)), notes(comparison))
        console.print(f"report        {question.out / TABLE_FILE}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    cli.run_program(main)
