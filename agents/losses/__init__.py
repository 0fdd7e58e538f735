"""What an update minimises: TorchRL loss modules over batches of recursion steps."""

from latent_rl.agents.losses.answer_policy import AnswerPolicyLoss
from latent_rl.agents.losses.base import RecursionLoss
from latent_rl.agents.losses.continue_value import ContinueValueLoss
from latent_rl.agents.losses.deduction import ConflictLoss, KeepLoss, SymbolLoss, answer_lost
from latent_rl.agents.losses.givens import GivensLoss
from latent_rl.agents.losses.policy_improvement import PolicyImprovementLoss
from latent_rl.agents.losses.return_value import ReturnHead, ReturnValueLoss
from latent_rl.agents.losses.right_cells import count_right
from latent_rl.agents.losses.solved_value import SolvedValueLoss
from latent_rl.agents.options import find

LOSSES: dict[str, type[RecursionLoss]] = {
    "policy": PolicyImprovementLoss,
    "answer": AnswerPolicyLoss,
    "givens": GivensLoss,
    "solved": SolvedValueLoss,
    "return": ReturnValueLoss,
    "continue": ContinueValueLoss,
    "keep": KeepLoss,
    "symbol": SymbolLoss,
    "conflict": ConflictLoss,
}
"""Losses by the name that `loss.terms` of a configuration gives them, in the order in which they are summed."""


def loss_class(name: str) -> type[RecursionLoss]:
    """The loss of a name in `LOSSES`, or of `module:Class`.

    Raises:
        OptionError: there is none; the message names the nearest.
    """
    return find(LOSSES, name, RecursionLoss, "loss")


__all__ = [
    "LOSSES",
    "AnswerPolicyLoss",
    "ConflictLoss",
    "ContinueValueLoss",
    "GivensLoss",
    "KeepLoss",
    "PolicyImprovementLoss",
    "RecursionLoss",
    "ReturnHead",
    "ReturnValueLoss",
    "SolvedValueLoss",
    "SymbolLoss",
    "answer_lost",
    "count_right",
    "loss_class",
]
