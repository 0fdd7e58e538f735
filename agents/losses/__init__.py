"""What an update minimises: TorchRL loss modules over batches of recursion steps."""

from latent_rl.agents.losses.continue_value import ContinueValueLoss
from latent_rl.agents.losses.policy_improvement import PolicyImprovementLoss
from latent_rl.agents.losses.value import ReturnHead, ReturnValueLoss, SolvedValueLoss

__all__ = [
    "ContinueValueLoss",
    "PolicyImprovementLoss",
    "ReturnHead",
    "ReturnValueLoss",
    "SolvedValueLoss",
]
