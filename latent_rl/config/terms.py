"""What names classes, the terms of the loss and the halting rule: checked, and read as earlier versions wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latent_rl.config.schema import Config, LossConfig, LossTerm
from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.agents import HaltingPolicy, RuleContext
    from latent_rl.envs import Puzzle

MOVED = {
    "loss.targets": "loss.terms.policy.targets",
    "loss.cross_entropy": "loss.terms.policy.cross_entropy",
    "loss.step_weights": "loss.terms.policy.step_weights",
    "loss.value.target": "loss.terms (return instead of solved: loss.terms.solved=null loss.terms.return.weight=0.5)",
    "loss.value.weight": "loss.terms.solved.weight, or loss.terms.return.weight",
    "loss.value.continue_weight": "loss.terms.continue.weight",
    "loss.value.stop_gradient": "loss.terms.solved.stop_gradient",
    "loss.value.estimator": "loss.terms.return.estimator",
    "loss.value.gamma": "loss.terms.return.gamma",
    "loss.value.lmbda": "loss.terms.return.lmbda",
    "halting.exploration": "halting.options.exploration",
    "bf16": "precision (bf16=true: precision=bfloat16)",
}
"""Keys of earlier versions, with those of today."""


def complete(config: Config) -> Config:
    """The configuration with every loss and rule found, their options checked, and those not given written out.

    A run thus keeps all that it was trained with, also where a default changes later.

    Raises:
        UserError: on an unknown loss, rule or option (the nearest is named), an option of the wrong type, or a loss
            that needs whole trajectories where none are collected.
    """
    # Late, because torch takes seconds to load and --help has no need of it.
    from latent_rl.agents import OptionError, check_rule, loss_class

    terms: dict[str, LossTerm | None] = {}
    for name, term in config.loss.terms.items():
        try:
            kind = loss_class(name)
        except OptionError as error:
            raise UserError(f"loss.terms: {error}") from None
        if term is None:
            terms[name] = None
            continue
        try:
            terms[name] = LossTerm(weight=term.weight, **kind.check_options(term.options))
        except OptionError as error:
            raise UserError(f"loss.terms.{name}: {error}") from None
        if kind.state != config.env.state:
            raise UserError(
                f"loss.terms.{name} learns from steps over {kind.state}, and env.state is {config.env.state}: "
                f"loss.terms.{name}=null leaves it out"
            )
        if kind.needs_trajectories() and config.collector.mode != "replay":
            raise UserError(f"loss.terms.{name} learns from whole trajectories: set collector.mode=replay")
    try:
        options = check_rule(config.halting.rule, config.halting.options)
    except OptionError as error:
        raise UserError(f"halting.rule={config.halting.rule}: {error}") from None
    config = config.model_copy(update={"loss": LossConfig(terms=terms)})
    _check_candidates(config)
    _check_captured(config)
    _check_something_is_seen(config)
    _check_answers_are_sampled(config)
    halting = config.halting.model_copy(update={"options": options})
    return config.model_copy(update={"halting": halting})


def _check_candidates(config: Config) -> None:
    """Refuse what steps over candidates know nothing of."""
    if config.env.state != "candidates":
        return
    only = (
        ("halting.rule", config.halting.rule, "never"),
        ("collector.mode", config.collector.mode, "fused"),
        ("answers.group", config.answers.group, None),
        ("network.cycles", config.network.cycles, 1),
        ("network.feed", config.network.feed, "puzzle"),
        ("network.step_embedding", config.network.step_embedding, False),
    )
    for key, value, needed in only:
        if value != needed:
            raise UserError(
                f"{key}={value}: with env.state=candidates it can only be {'null' if needed is None else needed}"
            )


def _check_captured(config: Config) -> None:
    """Refuse what is no fixed program: it asks the device how many rows there are, or keeps tensors for later."""
    if config.collector.mode != "captured":
        return
    cannot = (
        ("halting.rule=learned", config.halting.rule == "learned"),
        ("answers.group", config.answers.group is not None),
        ("network.puzzle_embedding_width", config.network.puzzle_embedding_width > 0),
        ("optimizer.name=muon", config.optimizer.name == "muon"),
    )
    for setting, is_set in cannot:
        if is_set:
            raise UserError(f"collector.mode=captured does not take {setting}: leave one of them out")


def _check_something_is_seen(config: Config) -> None:
    """Refuse to learn from states that no episode comes to."""
    always_ends = config.env.terminate_on_solved == 1.0
    never = "but with env.terminate_on_solved=1 there is none"
    if config.halting.rule == "learned":
        if config.env.max_steps < 2:
            raise UserError("halting.rule=learned: episodes of one step (env.max_steps=1) leave nothing to decide")
        if always_ends:
            raise UserError(f"halting.rule=learned learns from episodes that the answer key may not end, {never}")
    if config.loss.weight("continue") and always_ends:
        raise UserError(
            f"loss.terms.continue learns from episodes that go on once they are solved, {never}; "
            "loss.terms.continue=null leaves it out"
        )


def _check_answers_are_sampled(config: Config) -> None:
    """Refuse to learn from sampled answers where there are none, or where none is better than another."""
    terms = {name: term for name, term in config.loss.terms.items() if term is not None}
    asking = [f"loss.terms.{name} learns" for name in ("answer", "givens") if name in terms]
    if "policy" in terms and terms["policy"].options.get("targets") == "search":
        asking.append("loss.terms.policy, targets search: they learn")
    if not asking:
        return
    if config.answers.group is None:
        raise UserError(f"{asking[0]} from sampled answers: set answers.group, the number drawn in each step")
    answer = terms.get("answer")
    if config.answers.group == 1 and answer is not None and answer.options.get("advantage", "group") == "group":
        raise UserError("answers.group=1: a single answer is no better than the mean of its group: sample more")
    if not config.env.reward.violation_cost and not config.env.reward.solve_bonus:
        raise UserError("env.reward: without violation_cost and solve_bonus all answers are worth the same")


def rule_context(config: Config, puzzle: Puzzle, policy: HaltingPolicy | None) -> RuleContext:
    """What a halting rule may be built from, in a run or for a trained model.

    Args:
        config: of the run.
        puzzle: what is solved.
        policy: the halting policy, if there is one.
    """
    # Late, because torch takes seconds to load and --help has no need of it.
    from latent_rl.agents import RuleContext

    return RuleContext(
        # A single step leaves nothing to stop; the rule need not be told.
        max_steps=max(2, config.env.max_steps),
        puzzle=puzzle.name,
        is_solved=puzzle.is_solved if puzzle.has_rule else None,
        policy=policy,
        knows_when_right=config.loss.weight("solved") > 0,
    )


def translate(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values that a run of any version has written, fully resolved, in the keys of today."""
    return _translate_precision(_translate_deduction(_translate_judge(_translate_loss(_translate_halting(values)))))


def _translate_precision(values: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(values.get("bf16"), bool):
        return values
    others = {key: value for key, value in values.items() if key != "bf16"}
    return {"precision": "bfloat16" if values["bf16"] else "float32", **others}


def _translate_deduction(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Restarts changed nothing once, then made steps more careful without a floor; runs write all options out."""
    deduction = values.get("deduction")
    if not isinstance(deduction, Mapping):
        return values
    return {**values, "deduction": {"restart_decay": 1.0, "restart_floor": 0.0, **deduction}}


def _translate_halting(values: Mapping[str, Any]) -> Mapping[str, Any]:
    halting = values.get("halting")
    if not isinstance(halting, Mapping) or "exploration" not in halting:
        return values
    others = {key: value for key, value in halting.items() if key != "exploration"}
    options = {"exploration": halting["exploration"]} if halting.get("rule") == "confident" else {}
    return {**values, "halting": {**others, "options": options}}


def _translate_loss(values: Mapping[str, Any]) -> Mapping[str, Any]:
    loss = values.get("loss")
    if not isinstance(loss, Mapping) or not loss.keys() & {"targets", "cross_entropy", "step_weights", "value"}:
        return values
    value = loss.get("value", {})
    if not isinstance(value, Mapping):
        return values
    weight = {"weight": value.get("weight", 0.5)}

    def given(section: Mapping[str, Any], *keys: str) -> dict[str, Any]:
        return {key: section[key] for key in keys if key in section}

    terms: dict[str, Any] = {"policy": given(loss, "targets", "cross_entropy", "step_weights")}
    if value.get("target") == "return":
        terms |= {"solved": None, "return": {**weight, **given(value, "estimator", "gamma", "lmbda")}}
    else:
        terms["solved"] = {**weight, **given(value, "stop_gradient")}
    if value.get("continue_weight"):
        terms["continue"] = {"weight": value["continue_weight"]}
    return {**values, "loss": {"terms": terms}}


def _translate_judge(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Before the solved value could choose its judge, it was the key; runs write all options out."""
    loss = values.get("loss")
    terms = loss.get("terms") if isinstance(loss, Mapping) else None
    solved = terms.get("solved") if isinstance(terms, Mapping) else None
    if not isinstance(solved, Mapping) or "judged_by" in solved:
        return values
    return {**values, "loss": {**loss, "terms": {**terms, "solved": {**solved, "judged_by": "key"}}}}


def moved(key: str, value: Any) -> str | None:
    """An unknown key that an earlier version knew, with what it is now; None if there is no such key.

    Args:
        key: dotted.
        value: what was given for it; of a section its first key is looked up.
    """
    if key not in MOVED and isinstance(value, Mapping) and value:
        key = f"{key}.{next(iter(value))}"
    return f"unknown config key {key!r}; it is now {MOVED[key]}" if key in MOVED else None
