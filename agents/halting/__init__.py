"""When to stop: rules that cost no network pass, and a policy that learns it by PPO."""

from latent_rl.agents.halting.policy import HaltingPolicy, LearnedHalt, halting_features
from latent_rl.agents.halting.ppo import Decisions, HaltingLearner
from latent_rl.agents.halting.rules import AgreeHalt, CheckedHalt, ConfidentHalt, HaltingRule, NeverHalt, Thought

__all__ = [
    "AgreeHalt",
    "CheckedHalt",
    "ConfidentHalt",
    "Decisions",
    "HaltingLearner",
    "HaltingPolicy",
    "HaltingRule",
    "LearnedHalt",
    "NeverHalt",
    "Thought",
    "halting_features",
]
