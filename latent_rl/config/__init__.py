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
from latent_rl.config.schema import BudgetConfig, CollectorConfig, Config, OptimizerConfig
from latent_rl.config.terms import complete

__all__ = [
    "BudgetConfig",
    "CollectorConfig",
    "Config",
    "DEFAULT_PRESET",
    "OptimizerConfig",
    "complete",
    "dump",
    "flatten",
    "load_config",
    "load_resolved",
    "merge",
    "parse_overrides",
    "preset_names",
    "scheme_names",
    "validate",
    "validate_saved",
]
