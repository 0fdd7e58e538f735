"""Train a recursive reasoner: collect recursion steps, improve the policy, measure, save."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from latent_rl import cli
from latent_rl.config import (
    DEFAULT_PRESET,
    Config,
    dump,
    idle_settings,
    load_config,
    load_resolved,
    named_code,
    preset_names,
    scheme_names,
)
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.envs import Split
    from latent_rl.reporting.mlflow_run import NullTracker
    from latent_rl.storage import Evaluation, Summary
    from latent_rl.training import Progress, Run

EXAMPLE = """\
  python -m latent_rl.train
  python -m latent_rl.train --config sudoku-6x6 scheme=trm seed=1
  python -m latent_rl.train --config my_config.yaml optimizer.lr=3e-4 budget.seconds=600
  python -m latent_rl.train --resume runs/sudoku-6x6-pi-0 budget.seconds=900
  torchrun --nproc-per-node 8 -m latent_rl.train --config sudoku-hard-gpu"""


class NotAllWrittenError(UserError):
    """A finished run of which some files could not be written.

    Attributes:
        summary: its result.
    """

    def __init__(self, message: str, summary: Summary) -> None:
        super().__init__(message)
        self.summary = summary


def train(config: Config, run_dir: Path | None = None, *, resume: bool = False, init: Path | None = None) -> Summary:
    """Train until the budget is spent; the summary returned also lies in the run directory.

    Under `torchrun` its processes train together, each with its share of the rows, and the first one writes.

    Args:
        config: describes the run.
        run_dir: of the run, which nobody else may work in meanwhile; if None, one of its own under `runs/`, by name.
        resume: go on from the checkpoint there.
        init: a checkpoint of ours or of the official code, whose weights the network starts with.

    Raises:
        UserError: if the configuration, the data or the checkpoint to resume from do not fit, another program works
            in the run directory, training diverges, or what it has come to cannot be written.
        KeyboardInterrupt: after a signal, once the update in work is done and saved.
    """
    # Late: torch, torchrl and MLflow take seconds to load, and `--help` or a typo should not wait for them.
    from latent_rl.measuring import baseline_stop
    from latent_rl.storage import claim, hold
    from latent_rl.training import assemble, check_settings, exactly, join, restore

    baseline_stop(config)  # needed in the end, missed at once
    with ExitStack() as held, exactly():  # whatever training sets is taken back after it
        team = held.enter_context(join())
        if resume:
            if team.is_first:
                held.enter_context(hold(run_dir))
            check_settings(run_dir, config)
        run = assemble(config, init, team)
        held.callback(run.collection.close)
        mlflow_run_id = restore(run, run_dir) if resume else None
        # Only now: a start that is refused leaves nothing behind, and a refused resume leaves the run as it was.
        if not resume and team.is_first:
            run_dir = held.enter_context(hold(run_dir) if run_dir else claim(Path("runs") / str(config.name)))
        return learn(run, team.of_first(run_dir), mlflow_run_id)


def learn(run: Run, run_dir: Path, mlflow_run_id: str | None) -> Summary:
    """Go on with a run until its budget is spent, measure it, and leave in the run directory what it has come to."""
    from latent_rl.reporting.metrics import training_metrics
    from latent_rl.reporting.mlflow_run import NullTracker, start_tracking
    from latent_rl.storage import SUMMARY_FILE, write_text
    from latent_rl.training import (
        Every,
        Interruption,
        Progress,
        Throughput,
        explained,
        refuse_divergence,
        save,
        weighted_sum,
    )

    config, clock, learner, halting = run.config, run.clock, run.learner, run.halting
    collection, experience, losses, team = run.collection, run.experience, run.losses, run.team
    chart_due = Every(config.tracking.every_updates, learner.updates)
    throughput = Throughput(run.spent)
    warned: list[str] = []
    save_due = Every(config.checkpoint_every_seconds, clock.seconds)
    if config.evaluation.points is None:
        evaluation_due = Every(config.evaluation.every_updates, learner.updates)
    else:
        evaluation_due = Every(1 / config.evaluation.points, run.budget_share)

    with (
        start_tracking(config, mlflow_run_id) if team.is_first else NullTracker() as tracker,
        Progress(quiet=not team.is_first) as progress,
        Interruption(in_team=team.world_size > 1) as interruption,
    ):
        # Only now: a store that is refused leaves nothing behind, and a run that it was to go on with as it was.
        if team.is_first:
            write_text(run_dir / "config.yaml", dump(config))
            if run.budget_share < 1.0:  # of a run that was finished once, with a smaller budget
                (run_dir / SUMMARY_FILE).unlink(missing_ok=True)
        if mlflow_run_id is None:
            tracker.data(run.puzzle)
        progress.say(describe(run, run_dir))
        for note in run.notes:
            progress.say(note)
        if not run.puzzle.has_validation:
            progress.say(f"{run.puzzle.name} has no validation split: it is measured at the end only, on test puzzles")
        if run.policy.answers is not None and not run.puzzle.counts_violations:
            progress.say(f"{run.puzzle.name} counts no violations: only sampled answers that are solved can teach")
        while run.budget_share < 1.0 and not interruption.requested:
            with clock, explained(run), team.at_work():
                if run.captured is not None:
                    batch, metrics = run.captured()
                else:
                    batch = next(collection)
                    with run.ledger.phase("update"):
                        for steps in experience(batch):
                            found = {name: loss(steps) for name, loss in losses.items()}
                            total, metrics = weighted_sum(found, run.loss_weights)
                            metrics |= learner.step(total)
                    metrics |= halting.learn(batch)
                    collection.send_weights(learner.updates)
                throughput.steps += batch.numel() * team.world_size
            run.share_counts(interruption)
            updates, share = learner.updates, run.budget_share
            progress.advance(updates, clock.seconds, share, metrics)
            if chart_due.due(updates):
                refuse_divergence(run)
                charts = training_metrics(batch, metrics, run.spent, team)
                tracker.metrics(charts | throughput.read(run.spent), updates)
            # Test puzzles are met once, when nothing is left to be chosen: below.
            if evaluation_due.due(updates if config.evaluation.points is None else share) and share < 1.0:
                validate(run, tracker, progress, config.evaluation.puzzles)
            if save_due.due(clock.seconds):
                refuse_divergence(run)
                with noting(unsaved := []):
                    save(run, run_dir, tracker.run_id)
                # Once, as long as it stays so.
                if unsaved and unsaved != warned:
                    every = f"{config.checkpoint_every_seconds:g} s of training"
                    progress.say(f"warning: {unsaved[0]}; tried again every {every}")
                warned = unsaved

        refuse_divergence(run)
        unwritten: list[str] = []
        with noting(unwritten):
            save(run, run_dir, tracker.run_id)
        if interruption.requested and unwritten:
            raise UserError(f"stopped, but {unwritten[0]}; what was saved before stays")
        # Who was told during the last update or while it was saved tells the others.
        run.share_counts(interruption)
        try:
            interruption.stop_at_once()
            return finish(run, run_dir, tracker, progress, unwritten)
        except KeyboardInterrupt:
            again = " ".join(("", *named_code(config.model_dump(mode="json")).values()))
            progress.say(f"stopped and saved; go on with: python -m latent_rl.train --resume {run_dir}{again}")
            raise


def finish(run: Run, run_dir: Path, tracker: NullTracker, progress: Progress, unwritten: list[str]) -> Summary:
    """Measure a run on all validation and test puzzles and leave the result, as far as it can be written.

    Args:
        run: its training is over and saved.
        run_dir: where the result goes.
        tracker: told of it.
        progress: told of it.
        unwritten: what could not be written so far.

    Raises:
        NotAllWrittenError: if a part could not be written.
    """
    from latent_rl.measuring import hold_vote
    from latent_rl.reporting.metrics import test_metrics
    from latent_rl.reporting.run_results import result_figures, save_figures
    from latent_rl.reporting.summary import description, headline
    from latent_rl.storage import PENDING_FILE, write_text
    from latent_rl.training import exactly

    saved, first = not unwritten, run.team.is_first
    validation = validate(run, tracker, progress)
    progress.say(f"measuring on all {len(run.puzzle.instances('test'))} test puzzles")
    spent, evaluation = run.spent, measure(run, "test")
    with exactly():
        election = hold_vote(run.learner.averaged_reasoner, run.puzzle, run.config, run.ledger) if first else None
    progress.evaluated(spent, evaluation, "test")
    model_file = run_dir / "checkpoint" / "model.pt"
    pass_at = election.pass_at if election else {}
    summary = summarize(run, evaluation, validation, pass_at, model_file, tracker)
    if not first:
        return summary
    with noting(unwritten):
        write_text(run_dir / PENDING_FILE, "")
    with noting(unwritten):
        run.history.write(run_dir)
    with noting(unwritten):
        tracker.artifact(summary.write(run_dir))
    tracker.metrics(test_metrics(summary, evaluation, election), spent.updates)
    tracker.describe(description(summary))
    with noting(unwritten):
        for path in save_figures(result_figures(run, evaluation, election), run_dir):
            tracker.artifact(path, "figures")
    if saved:
        tracker.model(model_file, run.puzzle, headline(summary))
    if unwritten:
        more = f" (and {len(unwritten) - 1} more)" if len(unwritten) > 1 else ""
        raise NotAllWrittenError(f"trained and measured, but {unwritten[0]}{more}", summary)
    (run_dir / PENDING_FILE).unlink(missing_ok=True)
    return summary


@contextmanager
def noting(unwritten: list[str]) -> Iterator[None]:
    """Note what the block cannot write, and go on."""
    try:
        yield
    except UserError as error:
        unwritten.append(str(error))
    except OSError as error:
        unwritten.append(f"cannot write {error.filename}: {error.strerror}")


def validate(run: Run, tracker: NullTracker, progress: Progress, puzzles: int | None = None) -> Evaluation | None:
    """Measure on the first `puzzles` validation puzzles, or all of them, and tell of it; None if there are none."""
    from latent_rl.reporting.metrics import evaluation_metrics

    if not run.puzzle.has_validation:
        return None
    found, spent = measure(run, "validation", puzzles), run.spent
    tracker.metrics(evaluation_metrics(found, spent, run.config.baseline_passes_per_puzzle), spent.updates)
    progress.evaluated(spent, found, "validation")
    return found


def measure(run: Run, split: Split, puzzles: int | None = None) -> Evaluation:
    """Measure the averaged weights on the first `puzzles` of a split (all of them if None), and remember it."""
    from latent_rl.envs import instances_of
    from latent_rl.measuring import evaluate, evaluate_deduction
    from latent_rl.training import build_deduction, exactly

    config, instances = run.config, instances_of(run.puzzle, split)[:puzzles]
    what = (run.learner.averaged_reasoner, run.puzzle, instances)
    how = {"max_steps": config.evaluation_steps, "batch_size": config.evaluation.batch_size, "ledger": run.ledger}
    with exactly():
        if config.env.state == "candidates":
            found = evaluate_deduction(*what, build_deduction(config), **how, team=run.team)
        else:
            found = evaluate(*what, **how, halting=run.halting.rule, team=run.team)
    run.share_counts()
    run.history.add(run.spent, found, split)
    return found


def summarize(
    run: Run,
    found: Evaluation,
    validation: Evaluation | None,
    pass_at: dict[str, float],
    model_file: Path,
    tracker: NullTracker,
) -> Summary:
    """The summary of a run whose final evaluations are `found`, on test puzzles, and `validation`."""
    from latent_rl.measuring import baseline_stop, own_stop
    from latent_rl.storage import Summary

    return Summary.of(
        found,
        run.spent,
        run.config.baseline_passes_per_puzzle,
        own_stop=None if validation is None else own_stop(validation, found),
        baseline_stop=baseline_stop(run.config),
        puzzle=run.puzzle.name,
        scheme=run.config.scheme,
        seed=run.config.seed,
        device=str(run.device),
        parameters=count_parameters(run),
        pass_at=pass_at,
        validation={} if validation is None else validation.accuracies,
        checkpoint=str(model_file),
        mlflow_run_id=tracker.run_id,
        mlflow_experiment_id=tracker.experiment_id,
        world_size=run.team.world_size,
    )


def describe(run: Run, run_dir: Path) -> str:
    """What is about to be trained, in one line."""
    return (
        f"{run.puzzle.name}: scheme {run.config.scheme}, {count_parameters(run):,} parameters on {run.device}"
        f"{f' in {size} processes' if (size := run.team.world_size) > 1 else ''}, run directory {run_dir}"
    )


def count_parameters(run: Run) -> int:
    """Trainable numbers of the network."""
    return sum(parameter.numel() for parameter in run.reasoner.parameters())


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
        # Not `Path.is_dir`, which raises on names that no file can have.
        if not os.path.isdir(options.resume):
            raise UserError(f"run directory {str(options.resume)[:200]} does not exist")
        config = load_resolved(options.resume / "config.yaml", options.overrides)
    else:
        config = load_config(options.config, options.overrides)
        for key, reason in idle_settings(config, options.overrides).items():
            cli.warn(f"{key} changes nothing in this training: {reason}")
    problem = None
    try:
        summary = train(config, options.resume, resume=options.resume is not None, init=options.init)
    except NotAllWrittenError as error:
        summary, problem = error.summary, error
    if not cli.is_first():
        return
    cli.write_json(options.json, summary.model_dump())
    if str(options.json) != "-":
        from latent_rl.reporting.summary import show

        show(
            summary,
            tracking_uri=config.tracking.uri if config.tracking.enabled else None,
            settings=cli.named_again(config),
        )
    if problem is not None:
        raise problem


if __name__ == "__main__":
    cli.run_program(main)
