"""Teaching a trained model when to stop, its network frozen: a halting policy for every price of a network pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from latent_rl.agents import HaltingPolicy
from latent_rl.config import Config, dump
from latent_rl.envs import Puzzle
from latent_rl.measuring import Ledger
from latent_rl.storage import TrainedModel, save_model, write_text
from latent_rl.training.halting import learn_to_halt, store_steps
from latent_rl.training.parts import build_puzzle

ProgressBar = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
"""Given what is done and how much of it, opens a bar and gives the function that moves it on."""


class Taught(NamedTuple):
    """What teaching left: a policy for every price, in the order of the prices, and what it took."""

    policies: list[HaltingPolicy]
    metrics: dict[str, Any]


def teach(
    trained: TrainedModel, puzzle: Puzzle, config: Config, pass_costs: Sequence[float], ledger: Ledger, bar: ProgressBar
) -> Taught:
    """Store the steps of the network on training puzzles once, and learn a policy from them for every price.

    Args:
        trained: its network is used as it is.
        puzzle: its training split is used.
        config: of the environment and of the learning, `halting.ppo`.
        pass_costs: prices of a network pass, in units of quality.
        ledger: watches the network; only storing takes passes.
        bar: shows progress.

    Raises:
        ValueError: episodes of a single step, where there is nothing to decide.
    """
    ppo, reasoner, policies = config.halting.ppo, trained.reasoner, []
    started = time.perf_counter()
    with bar("taking steps to learn from", ppo.puzzles) as advance:
        stored = store_steps(reasoner, puzzle, config, ledger, advance)
    metrics: dict[str, Any] = {"train_passes_total": ledger.forward["collect"]}
    metrics |= {"store_seconds": time.perf_counter() - started, "learn_seconds": [], "training": []}
    for cost in pass_costs:
        started = time.perf_counter()
        with bar(f"learning when to stop at {cost:g} a pass", ppo.iterations) as advance:
            policy, last = learn_to_halt(reasoner, stored, config, cost, advance)
        policies.append(policy)
        metrics["learn_seconds"].append(time.perf_counter() - started)
        metrics["training"].append(last)
    return Taught(policies, metrics)


def as_ours(trained: TrainedModel, config: Config) -> TrainedModel:
    """An official model as one of ours, which says itself what its puzzles are and how it runs: as `config` does.

    What of that no training of ours has settled, precision and compilation, is plain.
    """
    plain = config.model_copy(update={"precision": "float32", "compile": False})
    return replace(trained, config=plain, ids_digest=build_puzzle(config).ids_digest, official=False)


def save_taught(run_dir: Path, trained: TrainedModel, config: Config, pass_cost: float, policy: HaltingPolicy) -> None:
    """Make a run directory of the model that from now on stops by a policy, learned at a price `pass_cost`."""
    reward = config.env.reward.model_copy(update={"pass_cost": pass_cost})
    kept = config.model_copy(
        update={
            "name": run_dir.name,
            "env": config.env.model_copy(update={"reward": reward}),
            "halting": config.halting.model_copy(update={"rule": "learned", "options": {}}),
        }
    )
    if trained.official:
        trained = as_ours(trained, kept)
        kept = trained.config
    # The model last: with it, the directory is whole.
    write_text(run_dir / "config.yaml", dump(kept))
    save_model(run_dir / "checkpoint", trained.reasoner, kept, trained.updates, trained.ids_digest, policy)
