"""Stopping rules by name, for the programs that use a trained model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from latent_rl.cli.manners import Parser
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.agents import Search
    from latent_rl.envs import Puzzle
    from latent_rl.storage import TrainedModel


def add_halting_arguments(parser: Parser) -> None:
    """When to stop, and how to read the answer: `--halt --halt-threshold --guidance`."""
    parser.add_argument(
        "--halt",
        metavar="RULE",
        # In words, not from the registry: that comes with torch, which takes seconds to load. A test compares them.
        help="leave a puzzle alone once this rule says so: agree (two successive answers agree), confident (the value "
        "head is sure), rule (the puzzle's own rule confirms the answer), learned (the model's halting policy) or "
        "never; by default learned if the model can, else never",
    )
    parser.add_argument(
        "--halt-threshold",
        type=float,
        metavar="P",
        help="probability at which confident and learned stop (default: 0.5)",
    )
    parser.add_argument(
        "--guidance", type=float, default=1.0, metavar="W", help="weight of the guided readout; 1 is the plain one"
    )


def add_search_arguments(parser: Parser) -> None:
    """Several trajectories of a puzzle: `--trajectories --budget-passes --choose --noise --enough`."""
    parser.add_argument(
        "--trajectories", type=int, metavar="K", help="run K trajectories of every puzzle, all but the first with noise"
    )
    parser.add_argument(
        "--budget-passes",
        type=int,
        metavar="N",
        help="begin with one trajectory and add others while the answer is not good enough, at most N network passes "
        "a puzzle (and K trajectories)",
    )
    parser.add_argument(
        "--choose",
        choices=["value", "rule", "vote"],
        help="which trajectory answers: the value head's favourite, one that the puzzle's own rule confirms, or the "
        "most frequent answer (default: value)",
    )
    parser.add_argument("--noise", type=float, metavar="S", help="standard deviation of the noise on y (default: 0.3)")
    parser.add_argument(
        "--enough", type=float, metavar="P", help="probability of being right that is good enough (default: 0.9)"
    )


def check_search(parser: Parser, options: argparse.Namespace) -> None:
    """Refuse values out of range, by the name of their option, and options of a search that nobody asked for."""
    defaults = {"choose": "value", "noise": 0.3, "enough": 0.9}
    named = [name for name in defaults if getattr(options, name) is not None]
    for name in defaults.keys() - set(named):
        setattr(options, name, defaults[name])
    parser.check_range("--trajectories", options.trajectories, 1, 10_000)
    parser.check_range("--budget-passes", options.budget_passes, 1, 10**9)
    parser.check_range("--noise", options.noise, 0.0, 1000.0)
    if not 0.0 < options.enough <= 1.0:
        parser.error(f"--enough is a probability of at most 1, got {options.enough:g}")
    if named and options.trajectories is None and options.budget_passes is None:
        parser.error(f"--{named[0]} is for a search: add --trajectories or --budget-passes")
    if "enough" in named and (options.budget_passes is None or options.choose == "rule"):
        parser.error("--enough is for a search by --budget-passes that chooses by value or vote")


def check_halting(parser: Parser, options: argparse.Namespace) -> None:
    """Refuse values out of range, by the name of their option."""
    if options.halt_threshold is not None and not 0.0 < options.halt_threshold < 1.0:
        parser.error(f"--halt-threshold is a probability between 0 and 1, got {options.halt_threshold:g}")
    if not options.guidance >= 0.0:
        parser.error(f"--guidance is a weight of 0 or more, got {options.guidance:g}")
    parser.check_range("--guidance", options.guidance, 0.0, 1000.0)


def chosen_rule(options: argparse.Namespace, trained: TrainedModel) -> str:
    """The name of the rule that the arguments ask for, or that the model comes with."""
    if options.halt is not None:
        return options.halt
    return "never" if trained.halting is None else "learned"


def refuse_for_deduction(trained: TrainedModel, options: argparse.Namespace) -> None:
    """Raise `UserError` if a model that deduces is asked for what only recursion over latents has."""
    if trained.config.env.state != "candidates":
        return
    plain = {**dict.fromkeys(("halt", "halt_threshold", "trajectories", "budget_passes")), "guidance": 1.0}
    for name, value in plain.items():
        if getattr(options, name, value) != value:
            raise UserError(
                f"--{name.replace('_', '-')}: {trained.path} deduces (env.state=candidates): it stops when the "
                "puzzle's rule confirms the answer, and begins anew where it was wrong; --steps is its limit"
            )


def refuse_deduction(trained: TrainedModel, what: str) -> None:
    """Raise `UserError` if a model deduces, where only recursion over latents has `what`."""
    if trained.config.env.state == "candidates":
        raise UserError(f"{trained.path} deduces (env.state=candidates): {what}")


def search_settings(options: argparse.Namespace, trained: TrainedModel, puzzle: Puzzle) -> Search | None:
    """The search that the arguments ask for, or None for a plain run.

    Raises:
        UserError: if the budget does not pay for a step, or the choice needs a rule that the puzzle does not have or a
            value head that was never trained.
    """
    from latent_rl.agents import Search
    from latent_rl.measuring import value_head_is_trained

    if options.trajectories is None and options.budget_passes is None:
        return None
    per_step = trained.reasoner.config.passes_per_step
    budget = options.budget_passes
    if budget is not None and budget < per_step:
        raise UserError(f"--budget-passes {budget} does not pay for one recursion step of {per_step} network passes")
    if options.choose == "rule" and not puzzle.has_rule:
        raise UserError(f"--choose rule: only its key tells whether an answer of {puzzle.name} is right")
    if options.choose == "value" and not value_head_is_trained(trained):
        raise UserError(
            f"--choose value reads the value head, which was not trained in {trained.path}: use rule or vote"
        )
    # Without a number of trajectories the budget is the limit: no more than one a step can be had.
    most = options.trajectories if options.trajectories is not None else max(1, budget // per_step)
    return Search(
        trajectories=most,
        choose=options.choose,
        noise=options.noise,
        budget=budget,
        adaptive=budget is not None,
        enough=options.enough,
    )
