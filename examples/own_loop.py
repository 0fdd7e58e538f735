"""A training loop of one's own: environment, policy, loss and optimizer in the open; 4x4 Sudoku in half a minute.

python examples/own_loop.py [UPDATES]
"""

import sys

import torch
from torchrl.collectors import Collector

from latent_rl.agents import (
    NeverHalt,
    PolicyImprovementLoss,
    ReasonerConfig,
    RecursionPolicy,
    RecursiveReasoner,
    StepGraph,
)
from latent_rl.envs import LatentRecursionVectorEnv, MDPConfig, puzzle_from_id
from latent_rl.measuring import Ledger, evaluate
from latent_rl.training import LatentRecursionTorchEnv

torch.manual_seed(0)
torch.set_num_threads(1)
updates = int(sys.argv[1]) if len(sys.argv) > 1 else 600
puzzle = puzzle_from_id("latent_rl/Sudoku-v0", size=4)
shape = {"vocab_size": puzzle.vocab_size, "seq_len": puzzle.seq_len, "width": 64, "multiple_of": 32, "layers": 2}
small_steps = {"mixer": "mlp", "positions": "none", "cycles": 1, "inner_updates": 2}
reasoner = RecursiveReasoner(ReasonerConfig(**shape, **small_steps))
ledger = Ledger()
ledger.watch(reasoner.network)  # counts every network pass from here on

# Width, positions, price and initial latents of the decision process are the reasoner's.
process = MDPConfig.of_reasoner(reasoner, max_steps=6, terminate_on_solved=0.9)
env = LatentRecursionTorchEnv(LatentRecursionVectorEnv(puzzle, num_envs=64, config=process))
# A collector runs without gradient. The graph keeps the step's own, so that learning from it needs no second pass.
graph = StepGraph()
policy = RecursionPolicy(reasoner, NeverHalt(), graph=graph)
loss = PolicyImprovementLoss(max_steps=process.max_steps, targets="terminal")
optimizer = torch.optim.AdamW(reasoner.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)

with ledger.phase("collect"):  # what passes are spent on
    # Without buffers the collector takes no trial step, whose passes nobody would learn from.
    how = {"use_buffers": False, "auto_register_policy_transforms": False}
    collector = Collector(env, policy, frames_per_batch=64, total_frames=64 * updates, **how)
    for update, batch in enumerate(collector, start=1):
        found = loss(batch.squeeze(-1).update(graph.take().readouts))
        optimizer.zero_grad()
        found["loss_policy"].backward()
        torch.nn.utils.clip_grad_norm_(reasoner.parameters(), 1.0)
        optimizer.step()
        if update % 50 == 0:
            print(f"{update:5} updates  loss {found['loss_policy']:.3f}  answers right {found['exact_accuracy']:.1%}")
collector.shutdown()

result = evaluate(reasoner, puzzle, puzzle.instances("test"), max_steps=6, batch_size=500, ledger=ledger)
print(f"{ledger.train_passes:,} passes of training, {ledger.gradient_passes:,} with gradient")
print(f"{result.solved_rate:.1%} of {result.puzzles:,} test puzzles solved, {result.passes_per_puzzle:g} passes each")
