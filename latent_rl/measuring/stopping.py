"""The stopping rule that a name means for a trained model, and which of its heads mean anything."""

from __future__ import annotations

from latent_rl.agents import AgreeHalt, CheckedHalt, ConfidentHalt, HaltingRule, LearnedHalt, NeverHalt
from latent_rl.envs import Puzzle
from latent_rl.errors import UserError
from latent_rl.storage import TrainedModel


def stopping_rule(name: str, trained: TrainedModel, puzzle: Puzzle, threshold: float = 0.5) -> HaltingRule:
    """The rule of a name for a model.

    Raises:
        UserError: if the model does not have what the rule reads.
    """
    if name == "agree":
        return AgreeHalt()
    if name == "rule":
        if not puzzle.has_rule:
            raise UserError(f"--halt rule: only its key tells whether an answer of {puzzle.name} is right")
        return CheckedHalt(puzzle.is_solved)
    if name == "confident":
        if not value_head_is_trained(trained):
            raise UserError(f"--halt confident reads the value head, which was not trained in {trained.path}")
        return ConfidentHalt(max_steps=2, exploration=0.0, threshold=threshold)
    if name == "learned":
        if trained.halting is None:
            raise UserError(
                f"{trained.path} has no halting policy to stop by: give it one with python -m latent_rl.halt"
            )
        return LearnedHalt(trained.halting, threshold)
    return NeverHalt()


def value_head_is_trained(trained: TrainedModel) -> bool:
    """Whether the q head of a model means anything: it learned "exactly right"."""
    return trained.config.loss.weight("solved") > 0


def continue_value_is_trained(trained: TrainedModel) -> bool:
    """Whether the second output of the q head means anything: it learned "right in the end, if I go on"."""
    return trained.config.loss.weight("continue") > 0
