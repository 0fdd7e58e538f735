"""What an update costs in one process, in a team, and with workers: seconds of the wall, of processors, and bytes.

    python benchmarks/scaling.py --config sudoku-6x6
    torchrun --nproc-per-node 2 benchmarks/scaling.py --config sudoku-6x6
    python benchmarks/scaling.py --config sudoku-6x6 collector.mode=replay
    python benchmarks/scaling.py --config sudoku-6x6 collector.mode=replay collector.workers=2
    python benchmarks/scaling.py --config sudoku-6x6 collector.mode=replay collector.workers=2 collector.backend=ray

Rows are those of the preset, shared by the processes of a team, so that all lines are of the same work. Processor time
does not depend on what else the machine does, the wall's does. Beside them: how long the message of an update takes by
itself, and drawing the puzzles, which every process of a team does for all rows.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

import torch

from latent_rl.config import load_config
from latent_rl.envs.mdp.sampler import Sampler
from latent_rl.training import assemble, join, weighted_sum

WARM_UP = 3
"""Updates, or batches, that are not measured."""


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="sudoku-4x4", metavar="NAME|FILE")
    parser.add_argument("--batches", type=int, default=20, metavar="N", help="collected batches that are measured (20)")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    config = load_config(options.config, ["tracking.enabled=false", "threads=1", *options.overrides])
    with join() as team:
        run = assemble(config, team=team)
        walls, processors = [], []
        for _ in range(WARM_UP + options.batches):
            before, began, busy = run.learner.updates, time.perf_counter(), time.process_time()
            batch_of(run)
            updates = run.learner.updates - before
            walls.append(1e3 * (time.perf_counter() - began) / updates)
            processors.append(1e3 * (time.process_time() - busy) / updates)
        own = torch.tensor([statistics.median(values[WARM_UP:]) for values in (walls, processors)], dtype=torch.float64)
        wall, processor = (team.sum(own) / team.world_size).tolist()
        size = sum(parameter.numel() for parameter in run.learner.parameters)
        gradient = torch.zeros(size)
        message = median_milliseconds(lambda: team.sum(gradient))
        sampler = Sampler(run.puzzle, "train", torch.device("cpu"))
        drawing = median_milliseconds(lambda: sampler.draw(config.collector.num_envs))
        run.collection.close()
    if team.is_first:
        print(
            f"{options.config}: {team.world_size} processes, {config.collector.workers} workers "
            f"({config.collector.backend}), "
            f"{config.collector.num_envs} rows: {wall:.1f} ms an update, {processor:.1f} ms of a learner's processor, "
            f"message {4 * size / 1e6:.2f} MB in {message:.2f} ms, drawing all rows {drawing:.2f} ms, "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB"
        )


def batch_of(run) -> None:
    """Collect a batch and learn from it, as `latent_rl.train` does."""
    with run.team.at_work():
        batch = next(run.collection)
        with run.ledger.phase("update"):
            for steps in run.experience(batch):
                total, _ = weighted_sum({name: loss(steps) for name, loss in run.losses.items()}, run.loss_weights)
                run.learner.step(total)
        run.halting.learn(batch)
        run.collection.send_weights(run.learner.updates)
    run.share_counts()


def median_milliseconds(work, times: int = 20) -> float:
    """Of some work, after a first time that is not measured."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - began))
    return statistics.median(taken)


if __name__ == "__main__":
    main()
