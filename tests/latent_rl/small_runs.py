"""Trainings of a second, in `runs/` of the current folder."""

from __future__ import annotations

from pathlib import Path

import torch

from latent_rl.envs import register_puzzle, registered_ids
from latent_rl.storage import load_training
from latent_rl.train import main

SMALL = [
    "env.id=tests/Backwards-v0",
    "env.options={train: 300, test: 50}",
    "network={width: 16, layers: 1, heads: 2, multiple_of: 8}",
    "collector.num_envs=8",
    "evaluation={every_updates: 5, puzzles: 20}",
    "optimizer.warmup_updates=3",
    "tracking.enabled=false",
    "device=cpu",
]


def small_run(name: str, *settings: str, updates: int = 4) -> Path:
    """Train; returns the run directory."""
    if "tests/Backwards-v0" not in registered_ids():
        register_puzzle("tests/Backwards-v0", "toy_puzzle:Backwards")
    main([*SMALL, f"name={name}", f"budget.updates={updates}", *settings])
    return Path("runs") / name


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    """All weights of the network in training, and of the average."""
    state = load_training(run_dir / "checkpoint", "cpu")["learner"]
    return {**state["reasoner"], **{f"averaged {name}": value for name, value in state["averaged"].items()}}


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether they agree bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
