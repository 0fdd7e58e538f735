"""Settings that a user gives and that change nothing in this training: they are told so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from latent_rl.config.loading import parse_overrides
from latent_rl.config.schema import Config


class _Idle(NamedTuple):
    """Keys that begin with `prefix` do nothing where `applies`, for the reason `because`."""

    prefix: str
    applies: Callable[[Config], bool]
    because: str


def _learns_without_reward(config: Config) -> bool:
    # What a plug-in reads is not known here.
    reads = any(config.loss.weight(name) for name in config.loss.terms if name == "return" or ":" in name)
    return config.halting.rule != "learned" and not reads


def _learns_without_worth(config: Config) -> bool:
    """Without what answers are worth by the rule, that is."""
    return _learns_without_reward(config) and config.answers.group is None


def _only_compares(config: Config) -> bool:
    """Answers are ranked by what they are worth, and how much more a solved one is worth changes no rank."""
    return (
        config.answers.group is not None
        and config.env.reward.violation_cost > 0
        and not config.loss.weight("answer")
        and _learns_without_reward(config)
    )


def _learns_without_search(config: Config) -> bool:
    # What a plug-in reads is not known here.
    policy = config.loss.terms.get("policy")
    targets = "" if policy is None else policy.options.get("targets", "")
    name = targets["name"] if isinstance(targets, dict) else targets
    plugged_in = any(":" in term for term in config.loss.terms if config.loss.weight(term))
    return config.answers.group is not None and name != "search" and ":" not in name and not plugged_in


_IDLE = (
    *(
        _Idle(f"env.reward.{key}", _learns_without_reward, "only halting.rule=learned and loss.terms.return read it")
        for key in ("pass_cost", "quality_weight")
    ),
    *(
        _Idle(f"env.reward.{key}", _learns_without_worth, "no scheme but pi-halt, grpo and exit learns from reward")
        for key in ("solve_bonus", "violation_cost")
    ),
    _Idle("env.reward.solve_bonus", _only_compares, "with a violation_cost, a solved answer is the best at any bonus"),
    *(
        _Idle(f"answers.{key}", lambda config: config.answers.group is None, "no answers are sampled (answers.group)")
        for key in ("temperature", "cross_entropy", "act", "memory")
    ),
    _Idle("answers.memory", _learns_without_search, "only targets search (scheme exit) learn from what is remembered"),
    _Idle("deduction.", lambda config: config.env.state != "candidates", "it is of env.state=candidates"),
    *(
        _Idle(f"env.{key}", lambda config: config.env.state != "candidates", "it is of env.state=candidates")
        for key in ("lost_steps", "guided_branches")
    ),
    _Idle(
        "env.terminate_on_solved",
        lambda config: config.env.state == "candidates",
        "over candidates a solved puzzle always ends its episode",
    ),
    _Idle("halting.ppo.steps", lambda config: config.halting.rule != "learned", "it is of halting.rule=learned"),
    *(
        _Idle(f"collector.{key}", lambda config: config.collector.mode != "replay", "it is of collector.mode=replay")
        for key in ("steps_per_batch", "epochs", "minibatch_size")
    ),
    _Idle("optimizer.muon_lr", lambda config: config.optimizer.name != "muon", "it is of optimizer.name=muon"),
    _Idle(
        "optimizer.puzzle_",
        lambda config: not config.network.puzzle_embedding_width,
        "there are no puzzle embeddings (network.puzzle_embedding_width=0)",
    ),
    _Idle(
        "evaluation.every_updates",
        lambda config: config.evaluation.points is not None,
        "evaluation.points decides",
    ),
)


def idle_settings(config: Config, overrides: Sequence[str]) -> dict[str, str]:
    """Keys among `overrides` that change nothing in training with `config`, each with the reason.

    Args:
        config: complete, the overrides included.
        overrides: `dotted.key=value`, as they were given.
    """
    given = list(_dotted(parse_overrides(overrides)))
    found = ((key, idle) for key in given for idle in _IDLE if key.startswith(idle.prefix) and idle.applies(config))
    return {key: idle.because for key, idle in found}


def _dotted(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key
