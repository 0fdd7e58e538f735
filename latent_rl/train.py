"""Train a recursive reasoner: collect recursion steps, improve the policy, measure, save."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latent_rl import cli
from latent_rl.config import DEFAULT_PRESET, Config, dump, load_config, load_resolved, preset_names, scheme_names
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.storage import Evaluation, Summary
    from latent_rl.training import Run

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
    from latent_rl.measuring import hold_vote
    from latent_rl.reporting.mlflow_run import start_tracking
    from latent_rl.reporting.run_results import evaluation_metrics, result_figures, save_figures, training_metrics
    from latent_rl.training import Every, Interruption, Progress, assemble, restore, save, weighted_sum

    run = assemble(config, init)
    collection, experience, losses = run.collection, run.experience, run.losses
    learner, halting = run.learner, run.halting
    mlflow_run_id = restore(run, run_dir) if resume else None
    # Only now: a start that is refused leaves nothing behind, and a refused resume leaves the run as it was.
    prepare_run_dir(run_dir, config)
    baseline, clock = config.baseline_passes_per_puzzle, run.clock
    chart_due = Every(config.tracking.every_updates, learner.updates)
    save_due = Every(config.checkpoint_every_seconds, clock.seconds)
    if config.evaluation.points is None:
        evaluation_due = Every(config.evaluation.every_updates, learner.updates)
    else:
        evaluation_due = Every(1 / config.evaluation.points, run.budget_share)

    with start_tracking(config, mlflow_run_id) as tracker, Progress() as progress, Interruption() as interruption:
        progress.say(describe(run, run_dir))
        while run.budget_share < 1.0 and not interruption.requested:
            with clock:
                batch = next(collection)
                with run.ledger.phase("update"):
                    for steps in experience(batch):
                        found = {name: loss(steps) for name, loss in losses.items()}
                        total, metrics = weighted_sum(found, run.loss_weights)
                        metrics |= learner.step(total)
                metrics |= halting.learn(batch)
            updates, share = learner.updates, run.budget_share
            progress.advance(updates, clock.seconds, share, metrics)
            if chart_due.due(updates):
                tracker.metrics(training_metrics(batch, metrics, run.spent), updates)
            # The last evaluation of all is the one on all test puzzles, below.
            if evaluation_due.due(updates if config.evaluation.points is None else share) and share < 1.0:
                evaluation = measure(run, config.evaluation.puzzles)
                tracker.metrics(evaluation_metrics(evaluation, run.spent, baseline), updates)
                progress.evaluated(run.spent, evaluation)
            if save_due.due(clock.seconds):
                save(run, run_dir, tracker.run_id)

        model_file = save(run, run_dir, tracker.run_id)
        if interruption.requested:
            progress.say(f"stopped and saved; go on with: python -m latent_rl.train --resume {run_dir}")
            raise KeyboardInterrupt
        progress.say(f"measuring on all {len(run.puzzle.instances('test'))} test puzzles")
        spent, evaluation = run.spent, measure(run)
        election = hold_vote(learner.averaged_reasoner, run.puzzle, config, run.ledger)
        progress.evaluated(spent, evaluation)
        summary = summarize(run, evaluation, election.pass_at if election else {}, model_file, tracker.run_id)
        run.history.write(run_dir)
        tracker.artifact(summary.write(run_dir))
        tracker.metrics(evaluation_metrics(evaluation, spent, baseline, election), spent.updates)
        for path in save_figures(result_figures(run, evaluation, election), run_dir):
            tracker.artifact(path, "figures")
        tracker.model(model_file, run.puzzle)
    return summary


def measure(run: Run, puzzles: int | None = None) -> Evaluation:
    """Measure the averaged weights on the first `puzzles` test puzzles (all of them if None), and remember it."""
    from latent_rl.measuring import evaluate

    found = evaluate(
        run.learner.averaged_reasoner,
        run.puzzle,
        run.puzzle.instances("test")[:puzzles],
        max_steps=run.config.env.max_steps,
        batch_size=run.config.evaluation.batch_size,
        ledger=run.ledger,
        halting=run.halting.rule,
    )
    run.history.add(run.spent, found)
    return found


def summarize(
    run: Run, found: Evaluation, pass_at: dict[str, float], model_file: Path, mlflow_run_id: str | None
) -> Summary:
    """The summary of a run whose final evaluation is `found`."""
    from latent_rl.storage import Summary

    return Summary.of(
        found,
        run.spent,
        run.config.baseline_passes_per_puzzle,
        puzzle=run.puzzle.name,
        scheme=run.config.scheme,
        seed=run.config.seed,
        device=str(run.device),
        parameters=count_parameters(run),
        pass_at=pass_at,
        checkpoint=str(model_file),
        mlflow_run_id=mlflow_run_id,
    )


def describe(run: Run, run_dir: Path) -> str:
    """What is about to be trained, in one line."""
    return (
        f"{run.puzzle.name}: scheme {run.config.scheme}, {count_parameters(run):,} parameters on {run.device}, "
        f"run directory {run_dir}"
    )


def count_parameters(run: Run) -> int:
    """Trainable numbers of the network."""
    return sum(parameter.numel() for parameter in run.reasoner.parameters())


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
    parser.add_argument(
        "--json", type=cli.json_file, metavar="FILE", help="also write the summary there; - for the screen"
    )
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
        from latent_rl.reporting.summary import show

        show(summary, tracking_uri=config.tracking.uri if config.tracking.enabled else None)


if __name__ == "__main__":
    cli.run_program(main)
