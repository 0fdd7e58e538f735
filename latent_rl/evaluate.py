"""Measure a trained model on puzzles that it was not trained on, after every recursion step."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_rl import cli
from latent_rl.config import Config
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from latent_rl.agents import HaltingRule, Search, Team
    from latent_rl.envs import Instances, Puzzle, Split
    from latent_rl.measuring import Election, Evaluation, SearchEvaluation
    from latent_rl.storage import TrainedModel

EXAMPLE = """\
  python -m latent_rl.evaluate runs/sudoku-4x4-pi-0
  python -m latent_rl.evaluate runs/sudoku-6x6-pi-0 --halt confident --halt-threshold 0.9
  python -m latent_rl.evaluate runs/sudoku-6x6-pi-0 --budget-passes 200 --choose rule
  python -m latent_rl.evaluate runs/sudoku-9x9-pi-0 --puzzles 5000 --json result.json env.options.test=5000
  python -m latent_rl.evaluate runs/sudoku-hard-pi-0 --by source env.options.train_file=… env.options.test_file=…
  torchrun --nproc-per-node 2 -m latent_rl.evaluate runs/sudoku-9x9-pi-0 --puzzles 5000
  python -m latent_rl.evaluate official_step_50000 --config sudoku-hard network.heads=8"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("evaluate", "Measure a trained model on new puzzles, after every recursion step.", EXAMPLE)
    cli.add_model_arguments(parser)
    cli.add_test_arguments(parser)
    parser.add_argument(
        "--split",
        choices=["validation", "test"],
        default="test",
        help="test puzzles, to report on, or validation puzzles, to choose by (default: %(default)s)",
    )
    parser.add_argument(
        "--by",
        metavar="LABEL",
        help="also accuracies by kind: source or rating of puzzles from files, blanks of a Sudoku",
    )
    parser.add_argument(
        "--submission",
        type=cli.submission_file,
        metavar="FILE",
        default=Path("submission.json"),
        help="ARC: where two attempts a test input go, in Kaggle's format (default: %(default)s)",
    )
    parser.add_argument(
        "--sheet", type=cli.figure_file, metavar="FILE", help="ARC: draw right, wrong and undecided test inputs"
    )
    cli.add_halting_arguments(parser)
    cli.add_search_arguments(parser)
    options = parser.parse_args(arguments)
    cli.check_counts(parser, options)
    cli.check_halting(parser, options)
    cli.check_search(parser, options)

    from latent_rl.training import join  # late, because torch takes seconds to load

    with join() as team:
        report(options, team)


def report(options: argparse.Namespace, team: Team) -> None:
    """Measure and tell, as the command line has it; in a team each process measures its share, and the first tells.

    Raises:
        UserError: an option that does not fit the model or the puzzle.
    """
    import torch
    from rich.console import Console

    from latent_rl.measuring import baseline_stop, by_kind, stopping_rule
    from latent_rl.reporting.arc_figures import contact_sheet
    from latent_rl.reporting.evaluation import as_dict, kind_table, search_in_words, step_table, totals_in_words
    from latent_rl.reporting.files import write
    from latent_rl.reporting.style import save
    from latent_rl.training import one_after_the_other

    trained, config, puzzle = cli.open_model(options, options.overrides)
    if puzzle.vote is not None:
        # The default, too, and not for puzzles that make none.
        cli.submission_file(str(options.submission))
    if options.sheet is not None and (puzzle.vote is None or options.split != "test"):
        raise UserError("--sheet draws the answers that views of test inputs have voted for, which only ARC has")
    cli.refuse_for_deduction(trained, options)
    name = cli.chosen_rule(options, trained)
    rule = stopping_rule(name, trained, puzzle, options.halt_threshold)
    # Only if it is asked for here: where a model comes from may not be where its baseline is.
    named = any(override.startswith("baseline_run=") for override in options.overrides)
    stopped = baseline_stop(config) if named else None
    steps = options.steps or config.evaluation_steps
    settings = cli.search_settings(options, trained, puzzle)
    if team.world_size > 1 and settings is not None:
        raise UserError("search draws at random, batch by batch: measure it without torchrun")
    with one_after_the_other(team):  # which makes the puzzles, if they are not there yet
        instances = cli.instances_to_test(trained, config, puzzle, options.puzzles, options.split)
    labels = None if options.by is None else labels_of(puzzle, options.split, options.by)[: len(instances)]
    if labels is not None and settings is not None:
        raise UserError("--by says which puzzles the recursion solves: leave out the options of search")
    if labels is not None:
        by_kind(torch.zeros(3, len(labels)), labels)  # too many kinds are refused before anything is measured
    scores: list[Tensor] = []
    found = measure(trained, puzzle, config, instances, steps, rule, options.guidance, settings, scores.append, team)
    if labels is not None and team.world_size > 1:
        scores = team.gather_uneven(torch.cat([*scores, torch.empty(3, 0)], dim=1).cpu())
    if not team.is_first:
        return

    # With the JSON on standard output, what people read goes beside it.
    console = Console(stderr=str(options.json) == "-", highlight=False)
    asked: dict[str, Any] = {"halting": name, "guidance": options.guidance}
    rule_in_words, baseline = f"{name}: {rule.when}", config.baseline_passes_per_puzzle
    if settings is not None:
        asked["search"] = asdict(settings)
        console.print(search_in_words(puzzle.name, options.split, found, settings, rule_in_words), soft_wrap=True)
    else:
        console.print(step_table(puzzle.name, options.split, found))
        if name != "never":
            taken = sum(found.active_by_step)
            console.print(f"stopping rule {rule_in_words}; {taken:.2f} steps a puzzle", soft_wrap=True, markup=False)
    console.print(totals_in_words(found, baseline, stopped), soft_wrap=True)
    named = {"checkpoint": str(trained.path), "puzzle": puzzle.name, "split": options.split}
    result = {**as_dict(found, **named, baseline=baseline, stopped=stopped), **asked}
    if labels is not None:
        kinds = by_kind(torch.cat(scores, dim=1), labels)
        console.print(kind_table(options.by, kinds))
        result["by"] = {options.by: [asdict(kind) for kind in kinds]}
    election = None
    if options.split == "test":  # whose inputs are voted on
        election = vote(trained, puzzle, config, options.puzzles, options.steps)
    if election is not None:
        write(options.submission, json.dumps(election.submission))
        console.print(f"{election.in_words}; {options.submission} written", soft_wrap=True, markup=False)
        if name != "never" or options.guidance != 1.0:
            console.print("views take all steps, and vote with plain answers", soft_wrap=True)
        result |= {"views": election.views, "pass_at": election.pass_at, "submission": str(options.submission)}
        if options.sheet is not None:
            save(contact_sheet(puzzle, election), options.sheet)
    cli.write_json(options.json, result)


def measure(
    trained: TrainedModel,
    puzzle: Puzzle,
    config: Config,
    instances: Instances,
    steps: int,
    halting: HaltingRule,
    guidance: float,
    settings: Search | None,
    on_scores: Callable[[Tensor], object],
    team: Team,
) -> Evaluation | SearchEvaluation:
    """Evaluate on instances, with a progress bar on a terminal; with `settings`, by search, which has no scores.

    In a team each process has its share of the instances, and of the scores.
    """
    import torch

    from latent_rl.measuring import Ledger, evaluate, evaluate_deduction, evaluate_search
    from latent_rl.training import build_deduction

    ledger = Ledger()
    watch = ledger.watch(trained.reasoner.network)
    how = {"max_steps": steps, "batch_size": config.evaluation.batch_size, "ledger": ledger}
    deduces = config.env.state == "candidates"
    if not deduces:
        how |= {"halting": halting, "guidance": guidance}
    with cli.progress_bar("evaluating", -(-len(instances) // team.world_size)) as advance:
        if deduces:
            found = evaluate_deduction(
                trained.reasoner,
                puzzle,
                instances,
                build_deduction(config),
                **how,
                on_progress=advance,
                on_scores=on_scores,
                team=team,
            )
        elif settings is None:
            told = {"on_progress": advance, "on_scores": on_scores}
            found = evaluate(trained.reasoner, puzzle, instances, **how, **told, team=team)
        else:
            torch.manual_seed(config.seed)
            found = evaluate_search(trained.reasoner, puzzle, instances, settings, **how, on_progress=advance)
    watch.remove()
    return found


def labels_of(puzzle: Puzzle, split: Split, by: str) -> list[str]:
    """What is known under a name of the puzzles of a split; `UserError` if nothing is."""
    labels = puzzle.labels(split)
    if by not in labels:
        raise UserError(f"--by {by}: of these puzzles is known: {', '.join(labels) or 'nothing'}")
    return labels[by]


def vote(
    trained: TrainedModel, puzzle: Puzzle, config: Config, puzzles: int | None, steps: int | None
) -> Election | None:
    """Let views of the first `puzzles` test inputs vote, with a progress bar; None where the puzzle has no vote."""
    from latent_rl.measuring import Ledger, hold_vote

    if puzzle.vote is None:
        return None
    ledger = Ledger()
    ledger.watch(trained.reasoner.network)
    views = min(config.evaluation.views, puzzle.vote.views) * len(puzzle.instances("test")[:puzzles])
    with cli.progress_bar("voting", views) as advance:
        return hold_vote(trained.reasoner, puzzle, config, ledger, count=puzzles, steps=steps, on_progress=advance)


if __name__ == "__main__":
    cli.run_program(main)
