"""Putting a configuration together: schema defaults < scheme < preset (over its base) < command line."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from latent_rl.config import yaml_text
from latent_rl.config.schema import Config, check_name
from latent_rl.config.strangers import check_named, without_caches
from latent_rl.config.terms import complete, moved, translate
from latent_rl.errors import UserError, brief, nearest

DEFAULT_PRESET = "sudoku-4x4"
"""What is trained if nothing is named."""


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    return _packaged_names("")


def scheme_names() -> list[str]:
    """Names of the schemes that come with the package."""
    return _packaged_names("scheme")


def preset_options() -> list[tuple[str, Any]]:
    """Arguments of puzzles that the packaged presets set: (name, value). A stranger's run may have them too."""
    presets = (_read(name, folder="", kind="preset") for name in preset_names())
    return [item for preset in presets for item in preset.get("env", {}).get("options", {}).items()]


def load_config(source: str = DEFAULT_PRESET, overrides: Sequence[str] = ()) -> Config:
    """A configuration from a preset's name or a YAML file, with `dotted.key=value` overrides.

    A preset may name another one as its `base` and say only what differs. A preset or an override that names another
    puzzle (`env.id`) drops the `env.options` of what it is laid over.

    Raises:
        UserError: on a missing or malformed file, an unknown key, scheme or loss, or a value of the wrong type.
    """
    preset = _read_preset(source)
    changes = parse_overrides(overrides)
    scheme = changes.get("scheme", preset.get("scheme", Config.model_fields["scheme"].default))
    if not isinstance(scheme, str):
        raise UserError(f"scheme: expected a name or a file, got {brief(scheme)}")
    name = Path(source).stem
    puzzle_id = _puzzle_id(changes)
    if puzzle_id is not None and puzzle_id != _puzzle_id(preset):
        preset = _without_puzzle_options(preset)
        name = re.sub(r"-v\d+$", "", re.split(r"[:/]", puzzle_id)[-1]).lower()
    # The schema's own terms lie at the bottom: validation would give up all of them where a file names one.
    defaults = Config().model_dump(include={"loss": {"terms"}})
    recipe = _read(scheme, folder="scheme", kind="scheme")
    merged = merge(defaults, recipe, _without_terms_of(recipe, preset), changes, {"scheme": scheme})
    if merged.get("name") is None:
        seed = merged.get("seed", Config.model_fields["seed"].default)
        merged["name"] = f"{name}-{Path(scheme).stem}-{seed}"
    config = validate(merged)
    _checked_name(config.name)
    return complete(config)


def _without_terms_of(recipe: Mapping[str, Any], preset: Mapping[str, Any]) -> Mapping[str, Any]:
    """A preset without options of losses over latents, if a recipe over candidates has switched these off."""
    if recipe.get("env", {}).get("state") != "candidates" or not isinstance(preset.get("loss"), Mapping):
        return preset
    off = {name for name, term in recipe.get("loss", {}).get("terms", {}).items() if term is None}
    terms = {name: term for name, term in (preset["loss"].get("terms") or {}).items() if name not in off}
    return {**preset, "loss": {**preset["loss"], "terms": terms}}


def _checked_name(name: object) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise UserError(f"name: {error}, got {brief(name)}") from None


def _read_preset(source: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """A preset, laid over the one that its `base` names, if any; `above` are those that build on this one."""
    if source in above:
        raise UserError(f"base: a preset cannot build on itself: {' -> '.join((*above, source))}")
    try:
        preset = _read(source, folder="", kind="preset")
    except UserError as error:
        raise UserError(f"{above[-1]}, base: {error}" if above else str(error)) from None
    base = preset.pop("base", None)
    if base is None:
        return preset
    if not isinstance(base, str):
        raise UserError(f"{source}, base: expected the name or the file of a preset, got {base!r}")
    below = _read_preset(base, (*above, source))
    below.pop("name", None)  # it names the runs of the base, and would have both write into one folder
    if _puzzle_id(preset) not in (None, _puzzle_id(below)):
        below = _without_puzzle_options(below)
    return merge(below, preset)


def _without_puzzle_options(preset: Mapping[str, Any]) -> dict[str, Any]:
    """A preset for another puzzle than its own, to which its arguments of the puzzle mean nothing."""
    if not isinstance(preset.get("env"), Mapping):
        return dict(preset)
    return {**preset, "env": {key: value for key, value in preset["env"].items() if key != "options"}}


def _puzzle_id(values: Mapping[str, Any]) -> str | None:
    env = values.get("env")
    found = env.get("id") if isinstance(env, Mapping) else None
    return found if isinstance(found, str) else None


def load_resolved(path: Path, overrides: Sequence[str] = (), named: Collection[str] = ()) -> Config:
    """The configuration that a run directory keeps (fully resolved, by this version or an earlier one), with overrides.

    Data files that it names are read when it goes on; a folder for the cache is dropped unless the overrides name it.

    Args:
        path: its `config.yaml`.
        overrides: `dotted.key=value`.
        named: further code (`module:Class`) that the user has named; what the file alone names is not imported.

    Raises:
        UserError: as `load_config`, or if the file names code that the user does not.
    """
    changes = parse_overrides(overrides)
    if "name" in changes:
        _checked_name(changes["name"])
    saved = read_yaml(path)
    if not path.read_bytes().endswith(b"\n"):
        # What is left of its last line may be a value, and another one than it was.
        raise UserError(f"{path} was cut off: it does not end with a line break (add one if it is whole)")
    values = without_caches(merge(translate(saved), changes), changes)
    check_named(values, changes, path, named)
    return complete(validate(values))


def validate_saved(values: Mapping[str, Any]) -> Config:
    """The configuration that a checkpoint keeps, written by this version or an earlier one.

    Losses are not looked up: a model can be used where the module of a loss that trained it is not at hand.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"expected a configuration, got {brief(values)}")
    yaml_text.check_plain(values)
    return validate(translate(values))


def dump(config: Config) -> str:
    """The configuration as YAML, fully resolved."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def flatten(config: Config) -> dict[str, Any]:
    """The configuration as one level of dotted keys."""

    def walk(prefix: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {prefix: value}
        return {key: leaf for name, child in value.items() for key, leaf in walk(f"{prefix}.{name}", child).items()}

    return {key.lstrip("."): value for key, value in walk("", config.model_dump(mode="json")).items()}


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`["optimizer.lr=3e-4"]` as a nested dictionary; values are read as YAML."""
    changes: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise UserError(f"{brief(override)} is not of the form key=value, for instance optimizer.lr=3e-4")
        try:
            value = yaml_text.parse(text)
        except yaml_text.NotYAML:
            raise UserError(f"{key}: {brief(text)} is not a YAML value") from None
        except UserError as error:
            raise UserError(f"{key}: {error}") from None
        for name in reversed(key.split(".")):
            value = {name: value}
        changes = merge(changes, value)
    return changes


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries laid over each other; the later ones win.

    A layer that names another class (`halting.rule`, or targets by `name`) drops the options of the one before.
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
                result[key] = merge(_without_replaced(key, result[key], value), value)
            else:
                result[key] = value
    return result


def _without_replaced(section: str, below: Mapping[str, Any], above: Mapping[str, Any]) -> Mapping[str, Any]:
    """The lower of two layers of a section, without options of a class that the upper one replaces."""
    if section == "halting" and above.get("rule", below.get("rule")) != below.get("rule"):
        return {key: value for key, value in below.items() if key != "options"}
    if section == "targets" and above.get("name", below.get("name")) != below.get("name"):
        return {}
    return below


def validate(values: Mapping[str, Any]) -> Config:
    """Check values against the schema; the error names the key and, for an unknown one, the nearest known."""
    yaml_text.check_plain(values)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"] if not isinstance(part, int)]
        key = ".".join(path)
        if first["type"] == "extra_forbidden":
            if (hint := moved(key, first["input"])) is not None:
                raise UserError(hint) from None
            raise UserError(f"unknown config key {key!r}{_nearest_key(path)}") from None
        message = first["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        where = f"{key}: " if key else ""
        got = f", got {brief(first['input'])}" if key and not isinstance(first["input"], dict) else ""
        raise UserError(f"{where}{message}{got}") from None


def _nearest_key(path: list[str]) -> str:
    known = list(_dotted_keys(Config))
    inside = [key for key in known if key.startswith(".".join(path[:-1]))]
    # The same last word in another section is the likeliest slip: `lr` for `optimizer.lr`.
    elsewhere = [key for key in known if key.split(".")[-1] == path[-1]]
    if elsewhere:
        return f"; did you mean {min(elsewhere, key=lambda key: key.count('.'))!r}?"
    return nearest(".".join(path), inside) or nearest(".".join(path), known)


def _dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys.extend(_dotted_keys(field.annotation, f"{prefix}{name}."))
    return keys


def _packaged_names(folder: str) -> list[str]:
    root = resources.files("latent_rl.configs") / folder
    return sorted(entry.name.removesuffix(".yaml") for entry in root.iterdir() if entry.name.endswith(".yaml"))


def _read(source: str, folder: str, kind: str) -> dict[str, Any]:
    if source.endswith((".yaml", ".yml")):
        return read_yaml(Path(source))
    names = _packaged_names(folder)
    if source not in names:
        hint = nearest(source, names) or f"; known: {', '.join(names)}"
        raise UserError(f"unknown {kind} {brief(source)}{hint} (or give the path of a .yaml file)")
    packaged = resources.files("latent_rl.configs") / folder / f"{source}.yaml"
    return _parse_yaml(packaged.read_text(encoding="utf-8"), source)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file of settings holds: plain values, unchecked against any schema.

    Raises:
        UserError: if it cannot be read, is no YAML, or holds anything else than a mapping of plain values.
    """
    return _parse_yaml(yaml_text.read(path), str(path))


def _parse_yaml(text: str, where: str) -> dict[str, Any]:
    try:
        values = yaml_text.parse(text)
    except yaml_text.NotYAML as error:
        raise UserError(f"{where} is not valid YAML: {error}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a mapping of keys to values, got {type(values).__name__}")
    return values
