"""Teach a trained model when to stop, its network frozen; with several prices of a pass, the whole trade-off."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from latent_rl import cli
from latent_rl.config import Config
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.agents import HaltingPolicy
    from latent_rl.envs import Instances, Puzzle
    from latent_rl.measuring import Point
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
    cli.add_model_arguments(parser, several=True)
    cli.add_puzzles_argument(parser)
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
        type=cli.output_folder,
        metavar="DIR",
        help="run directory of the result (default: NAME-halt); of several models, the folder of all (default: halt)",
    )
    options = parser.parse_args(arguments)
    names, overrides = cli.split_settings(options.checkpoint)
    costs, more = cli.split_numbers(parser, "--pass-costs", options.pass_costs, float)
    overrides += more
    cli.check_counts(parser, options)
    if not names:
        parser.error("name at least one CHECKPOINT")
    if costs and not 0.0 <= min(costs) <= max(costs) < float("inf"):
        parser.error(f"--pass-costs must be at least 0, got {min(costs):g}")

    # Late, because torch takes seconds to load.
    from latent_rl.storage import hold

    lessons = [open_lesson(Path(name), overrides, options) for name in names]
    if len({lesson.puzzle.name for lesson in lessons}) > 1:
        raise UserError(f"the models solve different puzzles: {', '.join(lesson.puzzle.name for lesson in lessons)}")
    refuse_unlike(lessons)
    costs = costs or [lessons[0].config.env.reward.pass_cost]
    out, folders = choose_folders([lesson.trained for lesson in lessons], options.out)
    refuse_taken(folders)
    with ExitStack() as held:
        for folder in dict.fromkeys([out, *folders]):
            held.enter_context(hold(folder))
        # Another program may have finished there just before.
        refuse_taken(folders)
        report = teach_all(lessons, costs, options, out, folders)
    cli.write_json(options.json, report)


def refuse_unlike(lessons: Sequence[Lesson]) -> None:
    """Raise `UserError` if the models are not measured in the same ways on as many puzzles: they are to be averaged."""
    from latent_rl.measuring import value_head_is_trained

    told = {
        "recursion steps": [lesson.config.env.max_steps for lesson in lessons],
        "test puzzles": [len(lesson.instances) for lesson in lessons],
        "validation puzzles": [0 if lesson.validation is None else len(lesson.validation) for lesson in lessons],
        "trained value heads": [int(value_head_is_trained(lesson.trained)) for lesson in lessons],
    }
    for what, counts in told.items():
        if len(set(counts)) > 1:
            raise UserError(f"the models differ in {what} ({', '.join(map(str, counts))}): they cannot be averaged")


def refuse_taken(folders: Sequence[Path]) -> None:
    """Raise `UserError` if a folder holds a model."""
    for folder in folders:
        # The file, not its folder: a disk that was full has left the folder alone, and the same command makes the rest.
        if (folder / "checkpoint" / "model.pt").exists():
            raise UserError(f"{folder} holds a model already: name another folder with --out")


def teach_all(
    lessons: Sequence[Lesson], costs: Sequence[float], options: argparse.Namespace, out: Path, folders: Sequence[Path]
) -> dict[str, Any]:
    """Teach every model and leave in its folder what came of it, the model itself last; returns the report."""
    from rich.console import Console

    from latent_rl.measuring import average
    from latent_rl.reporting.files import write
    from latent_rl.reporting.style import save
    from latent_rl.reporting.tradeoff import table, tradeoff
    from latent_rl.training import save_taught

    # With the JSON on standard output, what people read goes beside it.
    console = Console(stderr=str(options.json) == "-", highlight=False)
    by_model, chosen_by, reports, policies = [], [], [], []
    for lesson, folder in zip(lessons, folders, strict=True):
        points, validation, policy, metrics = teach_and_measure(lesson, costs)
        by_model.append(points)
        chosen_by.append(validation)
        policies.append(policy)
        reports.append(
            {
                "checkpoint": str(lesson.trained.path),
                "puzzle": lesson.puzzle.name,
                "eval_puzzles": points[0].puzzles,
                "baseline_passes_per_puzzle": lesson.config.baseline_passes_per_puzzle,
                "pass_costs": costs,
                **metrics,
                "points": [asdict(point) for point in points],
                "validation_points": [asdict(point) for point in validation],
            }
        )
        reports[-1]["choice"] = chosen_in_words(lesson.puzzle, [validation], [points])
        write(folder / JSON_FILE, json.dumps(reports[-1], indent=1) + "\n")

    averaged, first = average(by_model), lessons[0]
    words = chosen_in_words(first.puzzle, chosen_by, by_model)
    save(tradeoff(first.puzzle.name, averaged), out / FIGURE_FILE)
    report = reports[0]
    if len(reports) > 1:
        report = {"models": reports, "points": [asdict(point) for point in averaged], "choice": words}
        write(out / JSON_FILE, json.dumps(report, indent=1) + "\n")
    # A folder with a model is finished: cut off before, the same command begins again.
    for lesson, folder, policy in zip(lessons, folders, policies, strict=True):
        save_taught(folder, lesson.trained, lesson.config, costs[0], policy)
        console.print(f"model         {folder}", soft_wrap=True, markup=False)
    console.print(table(first.puzzle.name, averaged, first.config.baseline_passes_per_puzzle))
    for line in words:
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"figure        {out / FIGURE_FILE}", soft_wrap=True, markup=False)
    command = " ".join((str(folders[0]), *cli.named_again(first.config)))
    console.print(f"measure it    python -m latent_rl.evaluate {command}", soft_wrap=True, markup=False)
    return report


def chosen_in_words(
    puzzle: Puzzle, validation: Sequence[Sequence[Point]], test: Sequence[Sequence[Point]]
) -> list[str]:
    """What one would choose on validation puzzles, from the points of all models there and on test puzzles."""
    from latent_rl.measuring import Choice, average
    from latent_rl.reporting.tradeoff import choice_in_words

    if not all(validation):
        return [f"{puzzle.name} has no validation puzzles: no price is chosen"]
    return choice_in_words(Choice.of(average(validation), average(test)))


class Lesson(NamedTuple):
    """A model to be taught, its configuration with changes, its puzzle, and what it is measured on.

    `instances` are test puzzles; `validation` is None where there is no such split.
    """

    trained: TrainedModel
    config: Config
    puzzle: Puzzle
    instances: Instances
    validation: Instances | None


def open_lesson(path: Path, overrides: Sequence[str], options: argparse.Namespace) -> Lesson:
    """The model in a file or run directory; UserError if there is nothing to teach it."""
    trained, config, puzzle = cli.open_model(options, overrides, checkpoint=path)
    cli.refuse_deduction(trained, "it stops when the puzzle's rule confirms the answer, and has nothing to be taught")
    # What is learned is to stop within the steps that the model is used with, and that is what the taught model keeps.
    env = config.env.model_copy(update={"max_steps": options.steps or config.evaluation_steps})
    evaluation = config.evaluation.model_copy(update={"steps": None})
    config = config.model_copy(update={"env": env, "evaluation": evaluation})
    if config.env.max_steps < 2:
        raise UserError("a model of one step has nothing to decide: give more with --steps")
    instances = cli.known_instances(cli.instances_to_test(trained, config, puzzle, options.puzzles))
    validation = None
    if puzzle.has_validation:
        count = None if options.puzzles is None else min(options.puzzles, len(puzzle.instances("validation")))
        validation = cli.known_instances(cli.instances_to_test(trained, config, puzzle, count, "validation"))
    return Lesson(trained, config, puzzle, instances, validation)


def teach_and_measure(
    lesson: Lesson, costs: Sequence[float]
) -> tuple[list[Point], list[Point], HaltingPolicy, dict[str, Any]]:
    """Learn a policy for every price, and measure all of them and the simple rules, on test and validation puzzles.

    The policy is the first one; without a validation split, the second list is empty.
    """
    from latent_rl.measuring import Ledger, measure_policy, measure_rules
    from latent_rl.training import teach

    trained, config, puzzle, instances, validation = lesson
    ledger = Ledger()
    ledger.watch(trained.reasoner.network)
    taught = teach(trained, puzzle, config, costs, ledger, cli.progress_bar)

    def measure(split: Instances) -> list[Point]:
        points = [
            measure_policy(trained, policy, cost, puzzle, split, config, ledger)
            for cost, policy in zip(costs, taught.policies, strict=True)
        ]
        return points + measure_rules(trained, puzzle, split, config, ledger)

    points = measure(instances)
    return points, [] if validation is None else measure(validation), taught.policies[0], taught.metrics


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
    """The run directory that a model lies in, or `runs/NAME` for an export or any other file."""
    if model.path.parent.name == "checkpoint":
        # A path like `checkpoint/model.pt` has the name of its run directory only once it is resolved.
        return model.path.parent.parent.with_name(model.path.resolve().parent.parent.name)
    return Path("runs") / cli.name_of(model)


if __name__ == "__main__":
    cli.run_program(main)
