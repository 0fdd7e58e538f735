"""Registers the toy puzzle when it is imported, as a plug-in that a configuration names: other processes find it."""

from __future__ import annotations

from latent_rl.envs import register_puzzle, registered_ids

ID = "toys/Elsewhere-v0"

if ID not in registered_ids():
    register_puzzle(ID, "toy_puzzle:Backwards")
