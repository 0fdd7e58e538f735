"""The stopping rule that a name means for a trained model, and which of its heads mean anything."""

from __future__ import annotations

from latent_rl.agents import HaltingRule, OptionError, check_rule, make_rule
from latent_rl.config import rule_context
from latent_rl.envs import Puzzle
from latent_rl.errors import UserError
from latent_rl.storage import TrainedModel


def stopping_rule(name: str, trained: TrainedModel, puzzle: Puzzle, threshold: float | None = None) -> HaltingRule:
    """The rule of a name for a model; `threshold`, by default 0.5, is for rules that have one.

    Raises:
        UserError: if there is no such rule, it has no threshold, or the model or its puzzle do not have what it reads.
    """
    context = rule_context(trained.config, puzzle, trained.halting)
    try:
        has_threshold = "threshold" in check_rule(name, {})
        if threshold is not None and not has_threshold:
            raise UserError(f"--halt-threshold: the rule {name} has none; confident and learned have")
        options = {"threshold": 0.5 if threshold is None else threshold} if has_threshold else {}
        return make_rule(name, context, **options)
    except OptionError as error:
        raise UserError(f"--halt: {error}") from None
    except ValueError as error:
        raise UserError(f"--halt {name}, {trained.path}: {error}") from None


def value_head_is_trained(trained: TrainedModel) -> bool:
    """Whether the q head of a model means anything: it learned "exactly right"."""
    return trained.config.loss.weight("solved") > 0


def value_is_judged_by(trained: TrainedModel) -> str:
    """What the q head learned to call right: `"rule"`, what the puzzle's rule confirms, or `"key"`, as TRM has it."""
    term = trained.config.loss.terms.get("solved")
    return "rule" if term is None else term.options.get("judged_by", "rule")


def has_continue_value(trained: TrainedModel) -> bool:
    """Whether a model has a continue value: the second output of its q head learned "right in the end, if I go on"."""
    return trained.config.loss.weight("continue") > 0
