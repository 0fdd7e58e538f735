"""The configuration of a run: its schema, and putting one together from files and the command line."""

from latent_rl.config.loading import (
    DEFAULT_PRESET,
    dump,
    flatten,
    load_config,
    load_resolved,
    merge,
    parse_overrides,
    preset_names,
    scheme_names,
    validate,
    validate_saved,
)
from latent_rl.config.schema import CollectorConfig, Config, OptimizerConfig
from latent_rl.config.terms import rule_context

__all__ = [
    "CollectorConfig",
    "Config",
    "DEFAULT_PRESET",
    "OptimizerConfig",
    "dump",
    "flatten",
    "load_config",
    "load_resolved",
    "merge",
    "parse_overrides",
    "preset_names",
    "rule_context",
    "scheme_names",
    "validate",
    "validate_saved",
]
