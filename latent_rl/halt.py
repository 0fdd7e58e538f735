"""Teach a trained model when to stop, its network frozen; with several prices of a pass, the whole trade-off."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_rl import cli
from latent_rl.config import Config
from latent_rl.errors import UserError
from latent_rl.trained import add_model_arguments, add_test_arguments, check_counts, instances_to_test, open_model

if TYPE_CHECKING:
    from rich.table import Table

    from latent_rl.checkpoint import TrainedModel
    from latent_rl.envs import Puzzle
    from latent_rl.tradeoff import Point

EXAMPLE = """\
  python -m latent_rl.halt runs/sudoku-6x6-pi-0
  python -m latent_rl.halt runs/sudoku-6x6-pi-0 --pass-costs 1e-4 3e-4 1e-3 3e-3 1e-2
  python -m latent_rl.halt official_step_50000 --config sudoku-hard network.heads=8"""

JSON_FILE, FIGURE_FILE = "tradeoff.json", "tradeoff.png"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser(
        "halt",
        "Teach a trained model when to stop, by clipped PPO on the reward of the environment: quality gained less a\n"
        "price for every network pass. The network is frozen: its steps on some training puzzles are stored once, and\n"
        "learning spends no pass. Several prices give the whole trade-off, beside the simple stopping rules.",
        EXAMPLE,
    )
    add_model_arguments(parser)
    add_test_arguments(parser)
    parser.add_argument(
        "--pass-costs",
        type=float,
        nargs="+",
        metavar="C",
        help="prices of a network pass, in units of quality; the model keeps the policy of the first "
        "(default: env.reward.pass_cost of its training)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="run directory of the result (default: NAME-halt)")
    options = parser.parse_args(arguments)
    check_counts(parser, options)
    if options.pass_costs is not None and min(options.pass_costs) < 0:
        parser.error(f"--pass-costs must be at least 0, got {min(options.pass_costs):g}")

    # Late, because torch takes seconds to load.
    from rich.console import Console

    trained, config, puzzle = open_model(options, options.overrides)
    if options.steps is not None:
        config = config.model_copy(update={"env": config.env.model_copy(update={"max_steps": options.steps})})
    if config.env.max_steps < 2:
        raise UserError("a model of one step has nothing to decide: give more with --steps")
    costs = options.pass_costs or [config.env.reward.pass_cost]
    folder = options.out or default_folder(trained)
    prepare(folder)
    points, metrics = teach(trained, config, puzzle, costs, options.puzzles, folder)

    # With the JSON on standard output, what people read goes beside it.
    console = Console(stderr=str(options.json) == "-", highlight=False)
    console.print(table(puzzle, points))
    console.print(f"model         {folder}\nmeasure it    python -m latent_rl.evaluate {folder}", soft_wrap=True)
    content = {
        "checkpoint": str(trained.path),
        "puzzle": puzzle.name,
        "eval_puzzles": points[0].puzzles,
        "baseline_passes_per_puzzle": config.baseline_passes_per_puzzle,
        "pass_costs": costs,
        **metrics,
        "points": [asdict(point) for point in points],
    }
    (folder / JSON_FILE).write_text(json.dumps(content, indent=1) + "\n")
    cli.write_json(options.json, content)


def teach(
    trained: TrainedModel, config: Config, puzzle: Puzzle, costs: Sequence[float], puzzles: int | None, folder: Path
) -> tuple[list[Point], dict[str, Any]]:
    """Learn a policy for every price, measure all of them and the simple rules, and leave everything in a folder."""
    import time

    from rich.console import Console
    from rich.progress import Progress

    from latent_rl.checkpoint import save_model
    from latent_rl.config_loading import dump
    from latent_rl.figures import save
    from latent_rl.halting import learn_to_halt, store_steps
    from latent_rl.ledger import Ledger
    from latent_rl.tradeoff import measure_policy, measure_rules, tradeoff

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
    save(tradeoff(puzzle.name, points), folder / FIGURE_FILE)
    return points, metrics


def table(puzzle: Puzzle, points: Sequence[Point]) -> Table:
    """One row a rule."""
    from rich.table import Table

    rows = Table(title=f"{puzzle.name}, {points[0].puzzles:,} test puzzles")
    rows.add_column("stopping rule")
    for name in ("exactly right", "solved", "steps", "network passes"):
        rows.add_column(name, justify="right")
    for point in points:
        rows.add_row(
            point.label,
            f"{point.exact_accuracy:.1%}",
            f"{point.solved_rate:.1%}",
            f"{point.steps:.2f}",
            f"{point.passes_per_puzzle:.2f}",
        )
    return rows


def default_folder(trained: TrainedModel) -> Path:
    """`NAME-halt` beside the run directory of one of our checkpoints, `runs/NAME-halt` for any other file."""
    if trained.path.parent.name == "checkpoint":
        run_dir = trained.path.resolve().parent.parent
        return trained.path.parent.parent.with_name(f"{run_dir.name}-halt")
    return Path("runs") / f"{trained.path.stem}-halt"


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
