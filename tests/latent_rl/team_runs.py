"""Tiny trainings of many kinds, in one process or as a team, whose states are then compared. A script for `torchrun`.

    python tests/latent_rl/team_runs.py one.pt --kinds dis pi
    torchrun --nproc-per-node 2 tests/latent_rl/team_runs.py two.pt --kinds dis pi
    python tests/latent_rl/team_runs.py one.pt --against two.pt

Without `--kinds` it is all of them. With `--double` all that is float32 elsewhere is float64 here, so that what remains
of a difference is no rounding.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

TINY = [
    "env.options={train: 300, test: 20, validation: 20}",
    "network={width: 16, layers: 1, heads: 2, multiple_of: 8}",
    "collector.num_envs=8",
    "optimizer.warmup_updates=3",
    "tracking.enabled=false",
    "device=cpu",
    "threads=1",
]

KINDS: dict[str, list[str]] = {
    # A network that knows nothing yet multiplies a difference by ten at every step of 21 passes: 16 steps, or weights
    # that change fast, are chaos, in one process as in two.
    "trm": ["scheme=trm", "env.max_steps=2", "optimizer.lr=1e-4"],
    **{scheme: [f"scheme={scheme}"] for scheme in ("dis", "pi")},
    "pi-halt": ["scheme=pi-halt", "halting.ppo={steps: 4, hidden: 8, minibatch: 16}"],
    "exit": ["scheme=exit", "answers={group: 6, memory: 64}", "optimizer.lr=3e-3"],
    "grpo": ["scheme=grpo", "answers={group: 6}"],
    "grpo-critic": ["scheme=grpo", "answers={group: 6}", "loss.terms.answer={advantage: critic, kl: 0.1}"],
    "deduce": ["scheme=deduce", "network.inner_updates=3", "env.max_steps=6"],
    "muon": ["optimizer.name=muon"],
    "replay": ["collector={mode: replay, steps_per_batch: 3, minibatch_size: 10}", "loss.terms.return={}"],
    "arc": [
        "env={id: latent_rl/Arc-v0, options: {test: mini, side: 8, augmentations: 15}}",
        "network={positions: learned, puzzle_positions: 2, puzzle_embedding_width: 24}",
    ],
}
"""Settings over those of `TINY`, by kind."""


def flat(state: Any, prefix: str = "") -> dict[str, Any]:
    """Tensors and numbers of nested states by their paths."""
    if isinstance(state, dict):
        items = state.items()
    elif isinstance(state, list | tuple):
        items = enumerate(state)
    else:
        return {prefix: state}
    return {path: leaf for key, value in items for path, leaf in flat(value, f"{prefix}/{key}").items()}


def states(kinds: list[str], updates: int) -> dict[str, dict[str, Any]]:
    """What a checkpoint would hold after so many updates, by kind."""
    import torch
    from loop import learn

    from latent_rl.config import load_config
    from latent_rl.training import assemble, join

    found = {}
    with join() as team:
        for kind in kinds:
            changes = [one for one in TINY if kind != "arc" or not one.startswith("env.options")]
            run = assemble(
                load_config("sudoku-4x4", [*changes, f"budget={{updates: {updates}, seconds: null}}", *KINDS[kind]]),
                None,
                team,
            )
            learn(run)
            parts = {name: part.state_dict() for name, part in run.parts.items() if name != "clock"}
            found[kind] = flat({**parts, "random": torch.get_rng_state()})
    return found


def differences(one: dict[str, Any], other: dict[str, Any], most: float) -> tuple[dict[str, float], list[str]]:
    """The largest differences of two states' floats, relative where they exceed 1, and in words what is too large.

    Of weights, moments and averages; and of what rows carry, latents, in which rounding grows from step to step: there
    a thousand times as much is not too large. Integers, tokens and the states of generators are equal.
    """
    import torch

    largest, told = {"weights": 0.0, "rows": 0.0}, [f"{path} is in one of them" for path in one.keys() ^ other.keys()]
    for path in one.keys() & other.keys():
        a, b = one[path], other[path]
        if not isinstance(a, torch.Tensor):
            told += [f"{path}: {a} and {b}"] if a != b else []
        elif a.is_floating_point():
            apart = float(((a - b).abs() / a.abs().clamp(min=1)).max()) if a.numel() else 0.0
            where = "rows" if "/episodes/" in path or "/seen/" in path else "weights"
            largest[where] = max(largest[where], apart)
            told += [] if apart <= most * (1000 if where == "rows" else 1) else [f"{path} differs by {apart:.3g}"]
        elif not torch.equal(a, b):
            told.append(f"{path}: {int((a != b).sum())} of {a.numel()} integers differ")
    return largest, told


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    import torch

    most = 1e-12 if options.double else 1e-4
    if options.double:
        torch.float32 = torch.float64
        torch.set_default_dtype(torch.float64)
        torch.Tensor.float = torch.Tensor.double
    if options.against is None:
        found = states(options.kinds, options.updates)
        import os

        if os.environ.get("RANK", "0") == "0":
            torch.save(found, options.file)
        return 0
    one, other = (torch.load(file, weights_only=False) for file in (options.file, options.against))
    bad = 0
    for kind in one:
        largest, told = differences(one[kind], other[kind], most)
        # Muon makes matrices orthogonal in bfloat16, where a last bit of float32 can become 0.4%.
        bad += bool(told) and (options.double or kind != "muon")
        numbers = "  ".join(f"{where} {apart:.1e}" for where, apart in largest.items())
        print(f"{kind:12} {numbers}  {'; '.join(told[:3]) or 'the same'}")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
