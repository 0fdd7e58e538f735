"""Presets and schemes, as YAML (see latent_rl.config.schema)."""
