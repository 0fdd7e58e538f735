"""The recursive reasoner, its policy, learning rules and inference."""

from latent_rl.agents.continue_value import ContinueValueLoss
from latent_rl.agents.halting import AgreeHalt, CheckedHalt, ConfidentHalt, HaltingRule, NeverHalt, Thought
from latent_rl.agents.halting_policy import HaltingPolicy, LearnedHalt, halting_features
from latent_rl.agents.halting_ppo import Decisions, HaltingLearner
from latent_rl.agents.improvement import (
    NEGLIGIBLE_MARGIN,
    advantage_margin,
    cell_margin,
    guided_logits,
    is_dead,
    likelihood_gain,
)
from latent_rl.agents.inference import Taken, recurse, think
from latent_rl.agents.network import ReasonerConfig, RecursiveReasoner, StepOutput
from latent_rl.agents.official import CheckpointError, load_official
from latent_rl.agents.policy import RecursionPolicy
from latent_rl.agents.policy_improvement import PolicyImprovementLoss
from latent_rl.agents.puzzle_embedding import (
    TABLE,
    PuzzleEmbedding,
    SignSGD,
    compact_state,
    load_compact_state,
    state_shapes,
)
from latent_rl.agents.search import Candidates, Search, search
from latent_rl.agents.targets import TARGETS, DiffusionTargets, TargetGenerator, TerminalTargets
from latent_rl.agents.value import ReturnHead, ReturnValueLoss, SolvedValueLoss

__all__ = [
    "NEGLIGIBLE_MARGIN",
    "TABLE",
    "TARGETS",
    "AgreeHalt",
    "Candidates",
    "CheckedHalt",
    "CheckpointError",
    "ConfidentHalt",
    "ContinueValueLoss",
    "Decisions",
    "DiffusionTargets",
    "HaltingLearner",
    "HaltingPolicy",
    "HaltingRule",
    "LearnedHalt",
    "NeverHalt",
    "PolicyImprovementLoss",
    "PuzzleEmbedding",
    "ReasonerConfig",
    "RecursionPolicy",
    "RecursiveReasoner",
    "ReturnHead",
    "ReturnValueLoss",
    "SignSGD",
    "Search",
    "SolvedValueLoss",
    "StepOutput",
    "Taken",
    "TargetGenerator",
    "TerminalTargets",
    "Thought",
    "advantage_margin",
    "cell_margin",
    "compact_state",
    "guided_logits",
    "is_dead",
    "halting_features",
    "likelihood_gain",
    "load_compact_state",
    "load_official",
    "recurse",
    "state_shapes",
    "search",
    "think",
]
