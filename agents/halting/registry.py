"""Halting rules by name."""

from __future__ import annotations

import difflib
import inspect
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

RULES: dict[str, type[HaltingRule]] = {
    "never": NeverHalt,
    "agree": AgreeHalt,
    "confident": ConfidentHalt,
    "rule": CheckedHalt,
    "learned": LearnedHalt,
}
"""Halting rules by the name that a configuration or a command line gives them; a new one is entered here."""


def make_rule(name: str, context: RuleContext, **options: Any) -> HaltingRule:
    """A halting rule by its name, from its surroundings and its options.

    Raises:
        ValueError: in one line, if there is no such rule, it does not take an option, or the surroundings lack what it
            reads.
    """
    if name not in RULES:
        near = difflib.get_close_matches(name, RULES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(RULES)}"
        raise ValueError(f"unknown halting rule {name!r}{hint}")
    known = rule_options(name)
    for option in options:
        if option not in known:
            raise ValueError(f"the halting rule {name} has no option {option!r}; it has: {', '.join(known) or 'none'}")
    return RULES[name].build(context, **options)


def rule_options(name: str) -> list[str]:
    """Names of the options of a rule: what its constructor takes beside what `build` gives it, and has a default."""
    parameters = inspect.signature(RULES[name]).parameters.values()
    return [parameter.name for parameter in parameters if parameter.default is not parameter.empty]
