"""Halting rules by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latent_rl.agents.halting.policy import LearnedHalt
from latent_rl.agents.halting.rules import (
    AgreeHalt,
    CheckedHalt,
    ConfidentHalt,
    HaltingRule,
    NeverHalt,
    RuleContext,
)
from latent_rl.agents.options import check_options, find

RULES: dict[str, type[HaltingRule]] = {
    "never": NeverHalt,
    "agree": AgreeHalt,
    "confident": ConfidentHalt,
    "rule": CheckedHalt,
    "learned": LearnedHalt,
}
"""Halting rules by the name that a configuration or a command line gives them; `module:Class` names any other."""


def check_rule(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a rule: those given, checked, and the others at their defaults.

    Raises:
        OptionError: in one line, if there is no such rule, or it does not take an option.
    """
    return check_options(find(RULES, name, HaltingRule, "halting rule"), options)


def make_rule(name: str, context: RuleContext, **options: Any) -> HaltingRule:
    """A halting rule by its name, from its surroundings and its options.

    Raises:
        OptionError: as `check_rule`.
        ValueError: in one line, if the surroundings lack what it reads, or an option is out of range.
    """
    kind = find(RULES, name, HaltingRule, "halting rule")
    return kind.build(context, **check_options(kind, options))
