"""What environment, collector and logging cost: a training step against the same updates in a bare loop.

    python benchmarks/overhead.py                       # the sudoku-6x6 preset
    python benchmarks/overhead.py --config sudoku-4x4 --rounds 10 scheme=dis

The bare loop runs the same losses, optimizer and averaging on a batch that stays in place, so what is missing from it
is the environment (rewards, resets, new puzzles), the collector and MLflow. Rounds of both alternate, so that a
machine that slows down slows both; the median over rounds is reported.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_rl import cli
from latent_rl.config import load_config

if TYPE_CHECKING:
    from tensordict import TensorDictBase

    from latent_rl.training import Run

EXAMPLE = "  python benchmarks/overhead.py --config sudoku-6x6 --rounds 8 --json overhead.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("overhead", "Measure what environment, collector and logging add to an update.", EXAMPLE)
    parser.prog = "python benchmarks/overhead.py"
    parser.add_argument("--config", default="sudoku-6x6", metavar="NAME|FILE")
    parser.add_argument("--rounds", type=int, default=8, help="alternating rounds (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=50, help="updates in a round (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_args(arguments)

    from latent_rl.reporting.mlflow_run import start_tracking
    from latent_rl.reporting.run_results import training_metrics
    from latent_rl.training import assemble, weighted_sum

    with tempfile.TemporaryDirectory() as folder:
        store = f"tracking.uri=sqlite:///{folder}/mlflow.db"
        config = load_config(options.config, [store, "collector.mode=fused", *options.overrides])
        run = assemble(config)
        with start_tracking(config) as tracker:

            def learn(steps: TensorDictBase) -> dict[str, Any]:
                found = {name: loss(steps) for name, loss in run.losses.items()}
                total, metrics = weighted_sum(found, run.loss_weights)
                return metrics | run.learner.step(total)

            def train() -> None:
                batch = next(run.collection)
                with run.ledger.phase("update"):
                    for steps in run.experience(batch):
                        metrics = learn(steps)
                metrics |= run.halting.learn(batch)
                if run.learner.updates % config.tracking.every_updates == 0:
                    tracker.metrics(training_metrics(batch, metrics, run.spent), run.learner.updates)

            bare = bare_loop(run, learn)
            full_times, bare_times = [], []
            for _ in range(options.rounds + 1):  # the first round warms up
                full_times.append(seconds_per_call(train, options.updates, run.device.type))
                bare_times.append(seconds_per_call(bare, options.updates, run.device.type))
    full, alone = statistics.median(full_times[1:]), statistics.median(bare_times[1:])
    share = (full - alone) / full
    print(f"{run.puzzle.name}, scheme {config.scheme}, {config.collector.num_envs} environments")
    print(f"training step        {1e3 * full:8.2f} ms")
    print(f"bare update          {1e3 * alone:8.2f} ms")
    print(f"environment, collector, logging {share:7.1%} of a training step")
    result = {"step_seconds": full, "bare_seconds": alone, "overhead_share": share, "config": options.config}
    cli.write_json(options.json, result)


def bare_loop(run: Run, learn: Callable[[TensorDictBase], object]) -> Callable[[], None]:
    """One update on puzzles that never change, from latents carried over from the update before."""
    (batch,) = run.experience(next(run.collection))

    def update() -> None:
        with run.ledger.phase("update"):
            output = run.reasoner.step(*(batch[key] for key in run.policy.in_keys))
            batch.update({"logits": output.logits, "q": output.q, "answer": output.logits.argmax(-1)})
            batch["next_y"] = output.y.detach()
            learn(batch)
            batch.update({"y": output.y.detach(), "z": output.z.detach()})

    return update


def seconds_per_call(function: Callable[[], None], calls: int, device: str) -> float:
    """Mean wall-clock seconds of a call, the device's queue emptied before and after."""
    import torch

    def settle() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    settle()
    started = time.perf_counter()
    for _ in range(calls):
        function()
    settle()
    return (time.perf_counter() - started) / calls


if __name__ == "__main__":
    cli.run_program(main)
