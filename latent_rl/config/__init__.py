"""The configuration of a run: its schema, and putting one together from files and the command line."""

from latent_rl.config.idle import idle_settings
from latent_rl.config.loading import (
    DEFAULT_PRESET,
    dump,
    flatten,
    load_config,
    load_resolved,
    merge,
    parse_overrides,
    preset_names,
    preset_options,
    read_yaml,
    scheme_names,
    validate,
    validate_saved,
)
from latent_rl.config.schema import WIDEST, CollectorConfig, Config, OptimizerConfig
from latent_rl.config.strangers import CACHES, check_named, named_code
from latent_rl.config.terms import complete, rule_context

__all__ = [
    "CACHES",
    "CollectorConfig",
    "Config",
    "DEFAULT_PRESET",
    "OptimizerConfig",
    "WIDEST",
    "check_named",
    "complete",
    "dump",
    "flatten",
    "idle_settings",
    "load_config",
    "load_resolved",
    "merge",
    "named_code",
    "parse_overrides",
    "preset_names",
    "preset_options",
    "read_yaml",
    "rule_context",
    "scheme_names",
    "validate",
    "validate_saved",
]
