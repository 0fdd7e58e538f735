"""When to stop: rules that cost no network pass, and a policy that learns it by PPO."""

from latent_rl.agents.halting.policy import HaltingFeatures, HaltingPolicy, LearnedHalt
from latent_rl.agents.halting.ppo import HaltingLearner, decisions_of_episodes, decisions_of_steps
from latent_rl.agents.halting.registry import RULES, check_rule, make_rule
from latent_rl.agents.halting.rules import (
    AgreeHalt,
    CheckedHalt,
    ConfidentHalt,
    HaltingRule,
    NeverHalt,
    RuleContext,
)

__all__ = [
    "RULES",
    "AgreeHalt",
    "CheckedHalt",
    "ConfidentHalt",
    "HaltingFeatures",
    "HaltingLearner",
    "HaltingPolicy",
    "HaltingRule",
    "LearnedHalt",
    "NeverHalt",
    "RuleContext",
    "check_rule",
    "decisions_of_episodes",
    "decisions_of_steps",
    "make_rule",
]
