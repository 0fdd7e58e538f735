"""Train a recursive reasoner: collect recursion steps, improve the policy, measure, save."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latent_rl import cli
from latent_rl.config import DEFAULT_PRESET, Config, dump, load_config, load_resolved, preset_names, scheme_names
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.storage import Summary

EXAMPLE = """\
  python -m latent_rl.train
  python -m latent_rl.train --config sudoku-6x6 scheme=trm seed=1
  python -m latent_rl.train --config my_config.yaml optimizer.lr=3e-4 budget.seconds=600
  python -m latent_rl.train --resume runs/sudoku-6x6-pi-0 budget.seconds=900"""


def train(config: Config, run_dir: Path, *, resume: bool = False, init: Path | None = None) -> Summary:
    """Train until the budget is spent; the summary returned also lies in the run directory.

    With `init`, a checkpoint of ours or of the official code, the network starts with its weights.

    Raises:
        UserError: if the configuration, the data or the checkpoint to resume from do not fit.
        KeyboardInterrupt: after a signal, once the update in work is done and saved.
    """
    # Late: torch, torchrl and MLflow take seconds to load, and `--help` or a typo should not wait for them.
    from latent_rl.reporting.mlflow_run import start_tracking
    from latent_rl.storage import Summary, write_history
    from latent_rl.training import Every, Interruption, Progress, Session

    session = Session(config, init)
    mlflow_run_id = session.restore(run_dir) if resume else None
    # Only now: a start that is refused leaves nothing behind, and a refused resume leaves the run as it was.
    prepare_run_dir(run_dir, config)
    chart = Every(config.tracking.every_updates, session.updates)
    points = config.evaluation.points
    evaluation = (
        Every(config.evaluation.every_updates, session.updates)
        if points is None
        else Every(1 / points, session.budget_share)
    )
    save = Every(config.checkpoint_every_seconds, session.train_seconds)

    with (
        start_tracking(config, mlflow_run_id) as tracker,
        Progress(session, run_dir) as progress,
        Interruption() as interruption,
    ):
        batches = session.collect()
        while not session.budget_spent and not interruption.requested:
            with session.training_clock():
                batch = next(batches)
                metrics = session.learn(batch)
            progress.advance(metrics)
            if chart.due(session.updates):
                tracker.update(session, batch, metrics)
            # The last evaluation of all is the one on all test puzzles, below.
            reached = session.updates if points is None else session.budget_share
            if evaluation.due(reached) and not session.budget_spent:
                found = session.evaluate(config.evaluation.puzzles)
                tracker.evaluation(session, found)
                progress.evaluated(found)
            if save.due(session.train_seconds):
                session.save(run_dir, tracker.run_id)

        model_file = session.save(run_dir, tracker.run_id)
        if interruption.requested:
            progress.say(f"stopped and saved; go on with: python -m latent_rl.train --resume {run_dir}")
            raise KeyboardInterrupt
        progress.say(f"measuring on all {len(session.test_instances)} test puzzles")
        found = session.evaluate()
        session.hold_vote()
        progress.evaluated(found)
        summary = Summary.of(session, found, model_file, tracker.run_id)
        write_history(run_dir, session.history)
        summary.write(run_dir)
        tracker.evaluation(session, found)
        tracker.finish(session, summary, found, run_dir)
    return summary


def choose_run_dir(config: Config) -> Path:
    """`runs/<name>`, or `runs/<name>-2`, `-3`, … if that is taken: a new run never overwrites an old one."""
    first = run_dir = Path("runs") / str(config.name)
    number = 2
    while run_dir.exists():
        run_dir = first.with_name(f"{first.name}-{number}")
        number += 1
    return run_dir


def prepare_run_dir(run_dir: Path, config: Config) -> None:
    """Make the run directory and leave the resolved configuration in it."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / "config.yaml").write_text(dump(config))
    except OSError as error:
        raise UserError(f"run directory {run_dir} cannot be written: {error.strerror}") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser(
        "train",
        "Train a recursive reasoner as a reinforcement-learning agent and count every network pass.\n\n"
        f"presets: {', '.join(preset_names())}\nschemes: {', '.join(scheme_names())}",
        EXAMPLE,
    )
    parser.add_argument("--config", default=DEFAULT_PRESET, metavar="NAME|FILE", help="preset or YAML file")
    parser.add_argument("--resume", type=Path, metavar="RUN_DIR", help="continue a run from its checkpoint")
    parser.add_argument(
        "--init", type=Path, metavar="CHECKPOINT", help="start from these weights, ours or official ones"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the summary there; - for the screen")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes, such as optimizer.lr=3e-4")
    options = parser.parse_args(arguments)
    if options.resume is not None and options.init is not None:
        parser.error("--resume goes on from its own weights: leave out --init")

    if options.resume is not None:
        run_dir = options.resume
        if not run_dir.is_dir():
            raise UserError(f"run directory {run_dir} does not exist")
        config = load_resolved(run_dir / "config.yaml", options.overrides)
    else:
        config = load_config(options.config, options.overrides)
        run_dir = choose_run_dir(config)
    summary = train(config, run_dir, resume=options.resume is not None, init=options.init)
    cli.write_json(options.json, summary.model_dump())
    if str(options.json) != "-":
        summary.print(tracking_uri=config.tracking.uri if config.tracking.enabled else None)


if __name__ == "__main__":
    cli.run_program(main)
