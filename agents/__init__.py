"""The recursive reasoner, its policy, learning rules and inference."""

from latent_rl.agents.halting import AgreeHalt, CheckedHalt, ConfidentHalt, HaltingRule, NeverHalt, Thought
from latent_rl.agents.halting_policy import HaltingPolicy, LearnedHalt, halting_features
from latent_rl.agents.halting_ppo import Decisions, HaltingLearner
from latent_rl.agents.improvement import advantage_margin, cell_margin, guided_logits, likelihood_gain
from latent_rl.agents.inference import Taken, recurse, think
from latent_rl.agents.network import ReasonerConfig, RecursiveReasoner, StepOutput
from latent_rl.agents.official import CheckpointError, load_official
from latent_rl.agents.policy import RecursionPolicy
from latent_rl.agents.policy_improvement import PolicyImprovementLoss
from latent_rl.agents.search import Candidates, Search, search
from latent_rl.agents.targets import TARGETS, DiffusionTargets, TargetGenerator, TerminalTargets
from latent_rl.agents.value import ReturnHead, ReturnValueLoss, SolvedValueLoss

__all__ = [
    "TARGETS",
    "AgreeHalt",
    "Candidates",
    "CheckedHalt",
    "CheckpointError",
    "ConfidentHalt",
    "Decisions",
    "DiffusionTargets",
    "HaltingLearner",
    "HaltingPolicy",
    "HaltingRule",
    "LearnedHalt",
    "NeverHalt",
    "PolicyImprovementLoss",
    "ReasonerConfig",
    "RecursionPolicy",
    "RecursiveReasoner",
    "ReturnHead",
    "ReturnValueLoss",
    "Search",
    "SolvedValueLoss",
    "StepOutput",
    "Taken",
    "TargetGenerator",
    "TerminalTargets",
    "Thought",
    "advantage_margin",
    "cell_margin",
    "guided_logits",
    "halting_features",
    "likelihood_gain",
    "load_official",
    "recurse",
    "search",
    "think",
]
