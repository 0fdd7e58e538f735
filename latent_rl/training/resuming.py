"""What may change when a run goes on, and what it keeps from its start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from latent_rl.config import Config, complete, flatten, load_resolved, named_code, validate_saved
from latent_rl.errors import UserError
from latent_rl.storage import saved_settings

CHANGEABLE = (
    "budget",
    "evaluation",
    "tracking",
    "checkpoint_every_seconds",
    "baseline_passes_per_puzzle",
    "baseline_run",
    "device",
    "threads",
    "precision",
    "compile",
    "optimizer",
    "halting.ppo",
    "deduction",
    "env.options.cache_dir",
)
"""Keys of the configuration that may be given anew: what they say is asked for from then on. So are the weights of the
losses that a run has."""

SETTLED = ("optimizer.name", "halting.ppo.hidden", "halting.ppo.floor")
"""What of them is settled all the same: states and shapes depend on it."""


def check_settings(run_dir: Path, config: Config) -> None:
    """Refuse to go on with a run as it was not begun.

    Everything that the network, its data and what it has learned so far come from must be as the checkpoint says, and
    `config.yaml` must be whole. A checkpoint of an earlier version says nothing: there the file counts.

    Raises:
        UserError: names the first key that does not fit.
    """
    file, kept = run_dir / "config.yaml", saved_settings(run_dir / "checkpoint")
    # What the user let the configuration name, the file may name too.
    there = load_resolved(file, named=named_code(config.model_dump(mode="json")))
    if kept is None:
        begun = there
    else:
        begun = complete(validate_saved(kept))
        written = _leaves(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
        for key, value in _leaves(kept).items():
            if key not in written:
                raise UserError(f"{file} is cut off or changed: it lacks {key}, which is {_short(value)}")
    was, now, said = flatten(begun), flatten(config), flatten(there)
    for key in dict.fromkeys((*was, *now)):
        if now.get(key) != was.get(key) and not _may_change(key, begun):
            where = f"{file}: " if said.get(key) == now.get(key) else ""
            raise UserError(
                f"{where}{key}={_short(now.get(key))} does not fit {run_dir}, which was begun with "
                f"{_short(was.get(key))}: what may change is budget, evaluation, tracking, the optimizer's settings, "
                "weights of losses, and where and how fast it runs"
            )


def _may_change(key: str, begun: Config) -> bool:
    if key in {f"loss.terms.{name}.weight" for name, term in begun.loss.terms.items() if term is not None}:
        return True
    return key not in SETTLED and any(f"{key}.".startswith(f"{one}.") for one in CHANGEABLE)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their dotted keys, as they stand, without the schema's defaults for those that are missing."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
