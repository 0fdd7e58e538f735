"""A checkpoint of the official TRM or DIS code: how many of its steps are dead, and how early it could stop.

python examples/official_checkpoint.py step_50000 sudoku-hard network.heads=8 env.options.train_file=… env.options.test_file=…
"""  # noqa: E501

import sys

from latent_rl.measuring import Ledger, evaluate, own_stop
from latent_rl.storage import load_model
from latent_rl.training import build_puzzle

path, preset, *settings = sys.argv[1:]
trained = load_model(path, preset=preset, overrides=settings)
puzzle, steps = build_puzzle(trained.config), trained.config.env.max_steps
ledger = Ledger()
ledger.watch(trained.reasoner.network)


def measure(split, count=200):
    instances = puzzle.instances(split)[:count]
    return evaluate(trained.reasoner, puzzle, instances, max_steps=steps, batch_size=50, ledger=ledger)


test = measure("test")
print(f"{test.puzzles} puzzles, {test.passes_per_puzzle:g} network passes each: {test.solved_rate:.1%} solved")
for step, (solved, dead) in enumerate(zip(test.solved_by_step, test.dead_share_by_step, strict=True), start=1):
    print(f"step {step:2}: {solved:6.1%} solved, the step is dead on {dead:6.1%} of the puzzles")
# Chosen on validation puzzles, told of test puzzles: the cheapest stop that costs at most half a point.
stop = own_stop(measure("validation"), test)
print(f"it could stop {stop.way}: {stop.passes_per_puzzle:.1f} passes, {stop.solved_rate:.1%} solved")
