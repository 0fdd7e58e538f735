"""Tiny recursive reasoners trained as reinforcement-learning agents, with every network pass accounted for."""

from latent_rl.envs.registration import register_built_ins, register_entry_points

__version__ = "0.1.0"

# Gymnasium 1.x loads no plug-ins of its own any more: what should be there for `gymnasium.make` is registered when
# this package is imported. Only ids and the names of classes: torch is loaded by whoever makes an environment.
register_built_ins()
register_entry_points()
