"""What a comparison is to do: the question, the runs that answer it, and the settings in which they may differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latent_rl.config import CACHES, Config, flatten, load_config, load_resolved, named_code
from latent_rl.errors import UserError, nearest

EVALUATIONS = 30
"""Points of a learning curve, spread evenly over each scheme's budget, unless the user says otherwise."""

FREE_KEYS = ("tracking.", "checkpoint_every_seconds", *(f"env.options.{name}" for name in CACHES))
"""Settings that may change when a comparison goes on: they do not touch what is trained or measured."""

DATA_SEED = "env.options.seed"
"""Which puzzles are generated, or drawn from files, and which of them are for training."""

SHARED_KEYS = ("env.id", "env.options", "evaluation.puzzles")
"""Settings that no scheme may have to itself: schemes measured on different puzzles cannot be compared."""


@dataclass(frozen=True)
class Plan:
    """One run to be made: where it lives and how it is trained."""

    scheme: str
    seed: int
    config: Config
    run_dir: Path


@dataclass(frozen=True)
class Question:
    """What is compared: all that the report repeats of the command line."""

    preset: str
    schemes: list[str]
    seeds: int
    data_seeds: bool
    metric: str
    target: float
    overrides: list[str]
    own: dict[str, list[str]]
    out: Path
    command: str


def make_plans(question: Question, budget: Sequence[str]) -> list[Plan]:
    """The runs of a comparison, all schemes of one seed before the next seed, so that early reports are fair."""
    common = [*budget, *question.overrides]
    everything = [*common, *(override for overrides in question.own.values() for override in overrides)]
    for key in (override.partition("=")[0] for override in everything):
        if key in ("scheme", "seed", "name"):
            raise UserError(
                f"{key}= cannot be set here: a comparison chooses it for every run (--schemes, --seeds, --out)"
            )
        if key == DATA_SEED and question.data_seeds:
            raise UserError(f"{key}= cannot be set beside --data-seeds, which chooses it for every run")
    plans = []
    for seed in range(question.seeds):
        for scheme in question.schemes:
            label = Path(scheme).stem
            identity = [f"scheme={scheme}", f"seed={seed}", f"name={label}-{seed}"]
            if question.data_seeds:
                identity.append(f"{DATA_SEED}={seed}")
            chosen = [*common, *question.own[label]]
            if not any(override.startswith("evaluation.every_updates=") for override in chosen):
                chosen.insert(0, f"evaluation.points={EVALUATIONS}")
            config = load_config(question.preset, [*chosen, *identity])
            plans.append(Plan(label, seed, config, question.out / f"{label}-{seed}"))
    for key, values in differing_settings(plans).items():
        if any(key == shared or key.startswith(f"{shared}.") for shared in SHARED_KEYS):
            found = ", ".join(map(str, values.values()))
            raise UserError(f"{key} differs between the schemes ({found}): all must meet the same puzzles")
    return plans


def differing_settings(plans: Sequence[Plan]) -> dict[str, dict[str, Any]]:
    """Configuration keys in which the schemes differ, with each scheme's value; None where it has no such key."""
    by_scheme = {plan.scheme: flatten(plan.config) for plan in reversed(plans)}
    schemes = list(dict.fromkeys(plan.scheme for plan in plans))
    keys = dict.fromkeys(key for scheme in schemes for key in by_scheme[scheme])
    values = {key: {scheme: by_scheme[scheme].get(key) for scheme in schemes} for key in keys}
    return {
        key: found
        for key, found in values.items()
        if key not in ("scheme", "seed", "name") and any(value != found[schemes[0]] for value in found.values())
    }


def check_same_settings(plan: Plan) -> None:
    """Refuse a run directory that was made with other settings."""
    file = plan.run_dir / "config.yaml"
    if plan.run_dir.exists() and not plan.run_dir.is_dir():
        raise UserError(f"{plan.run_dir} is no folder: choose another one with --out")
    if not file.exists():
        return
    try:
        named = named_code(plan.config.model_dump(mode="json"))
        there, here = flatten(load_resolved(file, named=named)), flatten(plan.config)
    except UserError as error:
        raise UserError(f"{file} is no configuration of this version of latent_rl: {error}") from None
    for key in dict.fromkeys([*here, *there]):
        settled = key in ("precision", "compile") and here.get(key) == "auto"  # by measuring, when the run was begun
        if there.get(key) != here.get(key) and not settled and not key.startswith(FREE_KEYS):
            raise UserError(
                f"{plan.run_dir} was made with {key}={there.get(key)}, not {here.get(key)}: "
                "repeat the settings of the first time, or choose another folder with --out"
            )


def split_overrides(arguments: Sequence[str], schemes: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """`key=value` arguments for all schemes, and by scheme those of the form `SCHEME:key=value`."""
    labels = [Path(scheme).stem for scheme in schemes]
    if len(set(labels)) < len(labels):
        raise UserError(f"--schemes names a scheme twice: {' '.join(schemes)}")
    common: list[str] = []
    own: dict[str, list[str]] = {label: [] for label in labels}
    for argument in arguments:
        scheme, colon, override = argument.partition(":")
        if not colon or "=" in scheme:
            common.append(argument)
        elif scheme in own:
            own[scheme].append(override)
        else:
            hint = nearest(scheme, labels) or f"; compared are: {', '.join(labels)}"
            raise UserError(f"{argument}: {scheme!r} is none of the schemes compared{hint}")
    return common, own


def budget_overrides(seconds: float | None, passes: int | None) -> list[str]:
    """The budget of the command line in place of the preset's; nothing if there is none."""
    if seconds is None and passes is None:
        return []
    values = {"updates": None, "seconds": seconds, "passes": passes}
    return [f"budget.{key}={'null' if value is None else value}" for key, value in values.items()]
