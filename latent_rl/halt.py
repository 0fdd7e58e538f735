"""Teach a trained model when to stop, its network frozen; with several prices of a pass, the whole trade-off."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from latent_rl import cli
from latent_rl.cli.models import (
    add_model_arguments,
    add_puzzles_argument,
    check_counts,
    instances_to_test,
    open_model,
    split_numbers,
    split_settings,
)
from latent_rl.config import Config
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from latent_rl.envs import Puzzle
    from latent_rl.measuring import Averaged, Point
    from latent_rl.storage import TrainedModel

EXAMPLE = """\
  python -m latent_rl.halt runs/sudoku-6x6-pi-0
  python -m latent_rl.halt runs/sudoku-6x6-pi-0 --pass-costs 1e-4 3e-4 1e-3 3e-3 1e-2
  python -m latent_rl.halt runs/sudoku-6x6-pi-0 runs/sudoku-6x6-pi-1 runs/sudoku-6x6-pi-2 --pass-costs 1e-3 1e-2
  python -m latent_rl.halt official_step_50000 --config sudoku-hard network.heads=8"""

JSON_FILE, FIGURE_FILE = "tradeoff.json", "tradeoff.png"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser(
        "halt",
        "Teach a trained model when to stop, by clipped PPO on the reward of the environment: quality gained less a\n"
        "price for every network pass. The network is frozen: its steps on some training puzzles are stored once, and\n"
        "learning spends no pass. Several prices give the whole trade-off, beside the simple stopping rules; several\n"
        "models, trained with different seeds, give it with intervals.",
        EXAMPLE,
    )
    add_model_arguments(parser, several=True)
    add_puzzles_argument(parser)
    parser.add_argument(
        "--pass-costs",
        nargs="+",
        default=[],
        metavar="C",
        help="prices of a network pass, in units of quality; the model keeps the policy of the first "
        "(default: env.reward.pass_cost of its training)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="run directory of the result (default: NAME-halt); of several models, the folder of all (default: halt)",
    )
    options = parser.parse_args(arguments)
    names, overrides = split_settings(options.checkpoint)
    costs, more = split_numbers(parser, "--pass-costs", options.pass_costs, float)
    overrides += more
    check_counts(parser, options)
    if not names:
        parser.error("name at least one CHECKPOINT")
    if costs and not 0.0 <= min(costs) <= max(costs) < float("inf"):
        parser.error(f"--pass-costs must be at least 0, got {min(costs):g}")

    # Late, because torch takes seconds to load.
    from rich.console import Console

    from latent_rl.measuring import average
    from latent_rl.reporting.curves import save
    from latent_rl.reporting.tradeoff import tradeoff

    lessons = [open_lesson(Path(name), overrides, options) for name in names]
    if len({lesson.puzzle.name for lesson in lessons}) > 1:
        raise UserError(f"the models solve different puzzles: {', '.join(lesson.puzzle.name for lesson in lessons)}")
    costs = costs or [lessons[0].config.env.reward.pass_cost]
    out, folders = choose_folders([lesson.trained for lesson in lessons], options.out)
    for folder in folders:
        prepare(folder)

    # With the JSON on standard output, what people read goes beside it.
    console = Console(stderr=str(options.json) == "-", highlight=False)
    by_model, reports = [], []
    for lesson, folder in zip(lessons, folders, strict=True):
        points, metrics = teach(lesson, costs, options.puzzles, folder)
        by_model.append(points)
        reports.append(
            {
                "checkpoint": str(lesson.trained.path),
                "puzzle": lesson.puzzle.name,
                "eval_puzzles": points[0].puzzles,
                "baseline_passes_per_puzzle": lesson.config.baseline_passes_per_puzzle,
                "pass_costs": costs,
                **metrics,
                "points": [asdict(point) for point in points],
            }
        )
        (folder / JSON_FILE).write_text(json.dumps(reports[-1], indent=1) + "\n")
        console.print(f"model         {folder}", soft_wrap=True)

    averaged = average(by_model)
    save(tradeoff(lessons[0].puzzle.name, averaged), out / FIGURE_FILE)
    console.print(table(lessons[0], averaged))
    console.print(f"figure        {out / FIGURE_FILE}", soft_wrap=True)
    console.print(f"measure it    python -m latent_rl.evaluate {folders[0]}", soft_wrap=True)
    report = reports[0]
    if len(reports) > 1:
        report = {"models": reports, "points": [asdict(point) for point in averaged]}
        (out / JSON_FILE).write_text(json.dumps(report, indent=1) + "\n")
    cli.write_json(options.json, report)


class Lesson(NamedTuple):
    """A model to be taught, its configuration with changes, and its puzzle."""

    trained: TrainedModel
    config: Config
    puzzle: Puzzle


def open_lesson(path: Path, overrides: Sequence[str], options: argparse.Namespace) -> Lesson:
    """The model in a file or run directory; UserError if there is nothing to teach it."""
    trained, config, puzzle = open_model(options, overrides, checkpoint=path)
    if options.steps is not None:
        config = config.model_copy(update={"env": config.env.model_copy(update={"max_steps": options.steps})})
    if config.env.max_steps < 2:
        raise UserError("a model of one step has nothing to decide: give more with --steps")
    return Lesson(trained, config, puzzle)


def teach(
    lesson: Lesson, costs: Sequence[float], puzzles: int | None, folder: Path
) -> tuple[list[Point], dict[str, Any]]:
    """Learn a policy for every price, measure all of them and the simple rules, and keep the first in a folder."""
    import time

    from rich.console import Console
    from rich.progress import Progress

    from latent_rl.config import dump
    from latent_rl.measuring import Ledger, measure_policy, measure_rules
    from latent_rl.storage import save_model
    from latent_rl.training import learn_to_halt, store_steps

    trained, config, puzzle = lesson
    instances = instances_to_test(trained, config, puzzle, puzzles)
    ledger, ppo, reasoner = Ledger(), config.halting.ppo, trained.reasoner
    ledger.watch(reasoner.network)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        started = time.perf_counter()
        task = progress.add_task("taking steps to learn from", total=ppo.puzzles)
        stored = store_steps(reasoner, puzzle, config, ledger, lambda count: progress.advance(task, count))
        metrics: dict[str, Any] = {"train_passes_total": ledger.forward["collect"]}
        metrics["store_seconds"] = time.perf_counter() - started
        points, metrics["learn_seconds"], metrics["training"] = [], [], []
        for cost in costs:
            started = time.perf_counter()
            task = progress.add_task(f"learning when to stop at {cost:g} a pass", total=ppo.iterations)
            policy, last = learn_to_halt(
                reasoner, stored, config, cost, lambda count, task=task: progress.advance(task)
            )
            metrics["learn_seconds"].append(time.perf_counter() - started)
            metrics["training"].append(last)
            if not points:
                reward = config.env.reward.model_copy(update={"pass_cost": cost})
                kept = config.model_copy(
                    update={
                        "name": folder.name,
                        "env": config.env.model_copy(update={"reward": reward}),
                        "halting": config.halting.model_copy(update={"rule": "learned"}),
                    }
                )
                save_model(folder / "checkpoint", reasoner, kept, trained.updates, trained.ids_digest, policy)
                (folder / "config.yaml").write_text(dump(kept))
            points.append(measure_policy(trained, policy, cost, puzzle, instances, config, ledger))
        points += measure_rules(trained, puzzle, instances, config, ledger)
    return points, metrics


def table(lesson: Lesson, points: Sequence[Averaged]) -> Table:
    """One row a rule."""
    from rich.box import SIMPLE
    from rich.table import Table

    from latent_rl.reporting.comparison_tables import number, share

    first, baseline = points[0], lesson.config.baseline_passes_per_puzzle
    models = "" if first.models == 1 else f", {first.models} models"
    rows = Table(title=f"{lesson.puzzle.name}, {first.puzzles:,} test puzzles{models} (95% intervals)", box=SIMPLE)
    rows.add_column("stopping rule", no_wrap=True)
    for name in ("exact", "solved", "passes", f"of {baseline}"):
        rows.add_column(name, justify="right", no_wrap=True)
    for point in points:
        rows.add_row(
            point.label,
            f"{point.exact_accuracy.mean:.1%}",
            share(point.solved_rate),
            number(point.passes_per_puzzle),
            f"1/{baseline / point.passes_per_puzzle.mean:.0f}",
        )
    return rows


def choose_folders(models: Sequence[TrainedModel], out: Path | None) -> tuple[Path, list[Path]]:
    """Where the report goes, and the folder of each taught model.

    One model: both are `NAME-halt` beside its run directory, or `runs/NAME-halt` for a file from elsewhere. Several:
    a folder `halt` beside the first, with a folder `NAME` for each.
    """
    runs = [run_directory(model) for model in models]
    if len(runs) == 1:
        folder = out or runs[0].with_name(f"{runs[0].name}-halt")
        return folder, [folder]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [f"{number}-{name}" for number, name in enumerate(names)]
    out = out or runs[0].with_name("halt")
    return out, [out / name for name in names]


def run_directory(model: TrainedModel) -> Path:
    """The run directory that a model lies in, or `runs/NAME` for any other file."""
    if model.path.parent.name == "checkpoint":
        # A path like `checkpoint/model.pt` has the name of its run directory only once it is resolved.
        return model.path.parent.parent.with_name(model.path.resolve().parent.parent.name)
    return Path("runs") / model.path.stem


def prepare(folder: Path) -> None:
    """Make the folder of the result before the work begins, so that a wrong one costs no waiting."""
    if (folder / "checkpoint").exists():
        raise UserError(f"{folder} holds a model already: name another folder with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None


if __name__ == "__main__":
    cli.run_program(main)
