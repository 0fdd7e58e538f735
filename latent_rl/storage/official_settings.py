"""Settings of an official checkpoint from the `all_config.yaml` that the official scripts leave beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from latent_rl.agents import ReasonerConfig
from latent_rl.config import read_yaml
from latent_rl.errors import UserError, brief

SETTINGS_FILE = "all_config.yaml"

OFFICIAL_NAMES = {
    "num_heads": "network.heads",
    "H_cycles": "network.cycles",
    "L_cycles": "network.inner_updates",
    "expansion": "network.expansion",
    "halt_max_steps": "env.max_steps",
}
"""Numbers of `arch` and our names of them; `pos_encodings` and `puzzle_emb_len` need a thought more."""


class Beside(NamedTuple):
    """What a settings file says.

    Attributes:
        overrides: `key=value` in our terms, of what the weights do not tell.
        arch: the `arch` section as it stands, to hold against the weights.
    """

    overrides: list[str]
    arch: dict[str, Any]


def settings_beside(checkpoint: Path) -> Beside:
    """The settings that lie beside an official checkpoint; nothing if there is no such file.

    Raises:
        UserError: if the file cannot be read, or a value in it is of another type than the official code writes.
    """
    file = checkpoint.with_name(SETTINGS_FILE)
    if not file.is_file():
        return Beside([], {})
    arch = read_yaml(file).get("arch")
    if not isinstance(arch, dict):
        raise UserError(f"{file} has no section 'arch', as the official scripts write it")

    def number(name: str) -> int | float | None:
        value = arch.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise UserError(f"{file}: arch.{name}: expected a number, got {brief(value)}")
        return value

    found = {ours: value for name, ours in OFFICIAL_NAMES.items() if (value := number(name)) is not None}
    if "pos_encodings" in arch:
        # Whatever is neither of the two is none to the official code.
        kind = arch["pos_encodings"]
        found["network.positions"] = kind if kind in ("rope", "learned") else "none"
    width, embedding, length = (number(name) for name in ("hidden_size", "puzzle_emb_ndim", "puzzle_emb_len"))
    if length == 0 and width and embedding is not None:
        length = -(embedding // -width)  # as the official code reads a 0: as many as the embedding needs
    if length:
        found["network.puzzle_positions"] = length
    return Beside([f"{key}={value}" for key, value in found.items()], arch)


def check_same_model(checkpoint: Path, arch: dict[str, Any], shape: ReasonerConfig) -> None:
    """Raise `UserError` if the settings beside a checkpoint are those of another network than its weights make."""
    told = {
        "hidden_size": shape.width,
        "L_layers": shape.layers,
        "mlp_t": shape.mixer == "mlp",
        "puzzle_emb_ndim": shape.puzzle_embedding_width,
    }
    for name, value in told.items():
        if name in arch and arch[name] != value:
            raise UserError(
                f"{checkpoint.with_name(SETTINGS_FILE)} is of another model: it says {name}={brief(arch[name])}, "
                f"the weights in {checkpoint.name} {value}"
            )
