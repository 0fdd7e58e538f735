"""Where a deducing network should branch: the cell with the fewest candidates, any cell, or one chosen by learning.

    python benchmarks/branching.py runs/sudoku-9x9-units-deduce-0 runs/sudoku-9x9-units-deduce-1 --json branching.json

The network stays as it is. A small policy over cells reads what the network's step knows of each (its latent, and what
it thinks of the candidates that are left), begins as good as the rule "fewest", and learns by TorchRL's clipped PPO
(arXiv 1707.06347) to reach the solution in the fewest steps: every step costs 1, on training puzzles. The rules
are then asked for validation puzzles, three draws of what branches try. docs/deduction.md says what it was worth.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tensordict import TensorDict
from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential, TensorDictModule
from torch import Tensor, nn
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import MaskedCategorical
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from latent_rl import cli
from latent_rl.agents import DeductionOutput
from latent_rl.agents.deduction import choose, symbol_probabilities
from latent_rl.envs import CandidateConfig, Instances, make_candidate_dynamics
from latent_rl.measuring import Ledger
from latent_rl.storage import load_model
from latent_rl.training import build_puzzle
from latent_rl.training.parts import build_deduction

EXAMPLE = "  python benchmarks/branching.py runs/sudoku-9x9-units-deduce-0 --batches 60 --puzzles 512"
RULES = ("fewest", "random", "learned", "learned, likeliest cell")
DRAWS = 3
COLUMNS = (("solved", 4), ("steps", 2), ("passes_of_solved", 1))
"""What is said of a rule, and with how many digits."""


class Trial(NamedTuple):
    """What became of `N` puzzles: steps and passes float32 `[N]`, solved bool `[N]`; decisions `[N, T]`, if kept."""

    steps: Tensor
    passes: Tensor
    solved: Tensor
    decisions: TensorDict | None


class Branching(nn.Module):
    """Logits of cells, and the value of a state, from features `[*B, L, F]`."""

    def __init__(self, features: int, hidden: int = 32) -> None:
        super().__init__()
        self.scale = nn.BatchNorm1d(features, affine=False)
        self.actor = nn.Sequential(nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, 1))
        self.critic = nn.Sequential(nn.Linear(2 * features, hidden), nn.SiLU(), nn.Linear(hidden, 1))
        self.trust = nn.Parameter(torch.tensor(3.0))  # in the rule that it begins with
        for head in (self.actor, self.critic):
            nn.init.zeros_(head[-1].weight)
            nn.init.zeros_(head[-1].bias)

    def scaled(self, cells: Tensor) -> Tensor:
        """Features on one scale."""
        return self.scale(cells.flatten(0, -2)).view_as(cells)

    def logits(self, cells: Tensor, urgency: Tensor) -> Tensor:
        """Of cells `[*B, L]`; `urgency` is the larger the fewer candidates a cell has."""
        return self.trust * urgency + self.actor(self.scaled(cells)).squeeze(-1)

    def value(self, cells: Tensor, open_cells: Tensor) -> Tensor:
        """What is still to be paid, `[*B, 1]`."""
        cells, weights = self.scaled(cells), open_cells.unsqueeze(-1)
        mean = (cells * weights).sum(-2) / weights.sum(-2).clamp(min=1)
        return self.critic(torch.cat((mean, (cells * weights).amax(-2)), dim=-1))


class Trainer:
    """A frozen network, and a policy that learns where it should branch."""

    def __init__(self, folder: Path, seed: int, options: argparse.Namespace) -> None:
        self.options = options
        trained = load_model(folder)
        self.reasoner, self.puzzle = trained.reasoner, build_puzzle(trained.config)
        self.thresholds = build_deduction(trained.config)
        config = CandidateConfig.of_reasoner(self.reasoner, max_steps=self.options.steps)
        self.dynamics = make_candidate_dynamics(self.puzzle, config, torch.device("cpu"))
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self._latent: Tensor | None = None
        self.reasoner.network.register_forward_hook(self._keep)
        self.ledger = Ledger()
        self.ledger.watch(self.reasoner.network)
        self.policy = Branching(self.reasoner.config.width + 5)
        self.actor = ProbabilisticTensorDictSequential(
            TensorDictModule(self.policy.logits, ["cells", "urgency"], ["logits"]),
            ProbabilisticTensorDictModule(
                in_keys={"logits": "logits", "mask": "open"},
                out_keys=["branch_cell"],
                distribution_class=MaskedCategorical,
                return_log_prob=True,
                log_prob_key="log_prob",
            ),
        )
        critic = TensorDictModule(self.policy.value, ["cells", "open"], ["state_value"])
        self.loss = ClipPPOLoss(self.actor, critic, entropy_coeff=0.003, normalize_advantage=True, functional=False)
        self.loss.set_keys(action="branch_cell", sample_log_prob="log_prob")
        self.advantage = GAE(gamma=1.0, lmbda=0.95, value_network=critic)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=1e-3)

    def _keep(self, network: nn.Module, arguments: tuple[object, ...], latent: Tensor) -> None:
        self._latent = latent

    def seen(self, output: DeductionOutput, left: Tensor) -> TensorDict:
        """What the policy reads of each cell, after candidates were removed."""
        likely = symbol_probabilities(output, left, self.thresholds.temperature)
        keep = output.keep_logits[:, -1].sigmoid()
        counts = left.sum(-1).float()
        known = (
            likely.amax(-1),
            counts,
            -(likely * likely.clamp(min=1e-9).log()).sum(-1),
            (keep * left).sum(-1),
            keep.masked_fill(~left, 1.0).amin(-1),
        )
        latent = self._latent.float()
        if latent.ndim == 4:  # a latent for every pair of cell and symbol
            alive = left[..., self.reasoner.embed_pairs.symbols].unsqueeze(-1)
            latent = (latent * alive).sum(2) / alive.sum(2).clamp(min=1)
        latent = latent[:, -self.puzzle.seq_len :]
        cells = torch.cat((latent, torch.stack(known, dim=-1)), dim=-1)
        values = {"cells": cells, "urgency": likely.amax(-1) - counts, "open": counts > 1, "likely": likely}
        return TensorDict(values, [len(left)])

    @torch.no_grad()
    def try_out(self, instances: Instances, rule: str, keep: bool = False) -> Trial:
        """Solve puzzles, branching by a rule."""
        count, states = len(instances), []
        steps, passes = torch.zeros(2, count)
        solved = torch.zeros(count, dtype=torch.bool)
        rows = torch.arange(count)
        state = self.dynamics.start(instances, torch.zeros_like(rows))
        for step in range(self.options.steps):
            before = self.ledger.forward["eval"]
            with self.ledger.phase("eval"):
                output = self.reasoner.step(state.inputs, state.puzzle_id, state.candidates)
            passes[rows] += (self.ledger.forward["eval"] - before) / len(rows)
            action = choose(output, state.candidates, state.given, state.restarts, self.thresholds)
            left = state.candidates & (action["keep"] | state.given.unsqueeze(-1))
            seen = self.seen(output, left)
            branches = action["branch_cell"] < self.puzzle.seq_len
            # Rows that do not branch still need a mask that leaves something to draw from.
            seen["open"] = seen["open"] | ~branches.unsqueeze(-1)
            if rule == "random":
                seen["branch_cell"] = torch.multinomial(seen["open"].float(), 1).squeeze(1)
            elif rule == "learned":
                with set_exploration_type(ExplorationType.RANDOM):
                    self.actor(seen)
            elif rule == "learned, likeliest cell":
                logits = self.policy.logits(seen["cells"], seen["urgency"])
                seen["branch_cell"] = logits.masked_fill(~seen["open"], -torch.inf).argmax(-1)
            if rule != "fewest":
                cell = seen["branch_cell"]
                of_cell = seen["likely"][torch.arange(len(cell)), cell].clamp(min=1e-9)
                action["branch_symbol"] = torch.multinomial(of_cell, 1).squeeze(1)
                action["branch_cell"] = torch.where(branches, cell, self.puzzle.seq_len)
            moved = self.dynamics.step(state, **action)
            steps[rows] += 1
            solved[rows] = moved.state.solved
            if keep:
                over = moved.terminated | (step + 1 == self.options.steps)
                states.append((rows, seen.exclude("likely").update({"branches": branches, "over": over})))
            rows, state = rows[~moved.terminated], moved.state.of_rows(~moved.terminated)
            if not len(rows):
                break
        return Trial(steps, passes, solved, self._laid_out(states, count) if keep else None)

    @staticmethod
    def _laid_out(states: list[tuple[Tensor, TensorDict]], count: int) -> TensorDict:
        """Decisions `[N, T]`; what a puzzle did not come to is 0, and done."""
        times = len(states)
        empty = states[0][1][:1].apply(torch.zeros_like)
        decisions = empty.expand(count, times).clone()
        decisions["over"][:] = True
        for step, (rows, seen) in enumerate(states):
            decisions[rows, step] = seen
        following = torch.cat((decisions[:, 1:], empty.expand(count, 1)), dim=1).select("cells", "open")
        following["reward"] = torch.full((count, times, 1), -1.0 / 16)
        following["done"] = following["terminated"] = decisions["over"].unsqueeze(-1)
        return decisions.update({"next": following})

    def learn(self, decisions: TensorDict) -> None:
        """Four epochs of clipped PPO on one batch of puzzles."""
        self.policy.eval()
        with torch.no_grad():
            self.advantage(decisions)
        flat = decisions.exclude("next")[decisions["branches"]]
        if len(flat) < 2:  # of a single decision there is no spread to normalise the advantage by
            return
        for _ in range(4):
            for part in torch.randperm(len(flat), generator=self.generator).split(256):
                found = self.loss(flat[part])
                self.optimizer.zero_grad()
                sum(value for name, value in found.items() if name.startswith("loss_")).backward()
                nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
                self.optimizer.step()
        self.policy.train()
        self.policy.scaled(flat["cells"][flat["open"]])
        self.policy.eval()

    def train(self, report: Callable[[str], object]) -> None:
        """Learn from `--batches` batches of training puzzles."""
        train = self.puzzle.instances("train")
        self.policy.eval()
        for batch in range(1, self.options.batches + 1):
            chosen = torch.randint(len(train), (self.options.rows,), generator=self.generator)
            trial = self.try_out(self.puzzle.augment(train[chosen], self.generator), "learned", keep=True)
            self.learn(trial.decisions)
            if batch % 10 == 0:
                report(f"batch {batch}: {float(trial.steps.mean()):.2f} steps a puzzle")

    def measure(self, rule: str) -> dict[str, list[float]]:
        """Of every draw: the share of validation puzzles solved, steps a puzzle, and passes of a solved puzzle."""
        puzzles = self.puzzle.instances("validation")[: self.options.puzzles]
        found: dict[str, list[float]] = {"solved": [], "steps": [], "passes_of_solved": []}
        for draw in range(DRAWS):
            torch.manual_seed(1000 + draw)
            trial = self.try_out(puzzles, rule)
            found["solved"].append(float(trial.solved.float().mean()))
            found["steps"].append(float(trial.steps.mean()))
            passes = trial.passes[trial.solved]
            found["passes_of_solved"].append(float(passes.mean()) if len(passes) else float("nan"))
        return found


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("branching", "Measure where a deducing network should branch.", EXAMPLE)
    parser.prog = "python benchmarks/branching.py"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="finished runs of scheme deduce, a seed each")
    parser.add_argument("--batches", type=int, default=60, help="batches that PPO learns from (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=192, help="puzzles in such a batch (default: %(default)s)")
    parser.add_argument("--puzzles", type=int, default=512, help="validation puzzles (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=64, help="most steps on a puzzle (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)

    rows = []
    for seed, folder in enumerate(options.runs):
        started = time.perf_counter()
        trainer = Trainer(folder, seed, options)
        trainer.train(lambda line: print(line, file=sys.stderr, flush=True))
        for rule in RULES:
            found = trainer.measure(rule)
            rows.append({"run": str(folder), "rule": rule, **found})
            solved, steps, passes = (", ".join(f"{x:.{n}f}" for x in found[key]) for key, n in COLUMNS)
            print(f"{folder.name}, {rule}: solved {solved}; steps a puzzle {steps}; passes of a solved one {passes}")
        print(f"{folder.name}: {time.perf_counter() - started:.0f} s", flush=True)
    cli.write_json(options.json, {"rows": rows})


if __name__ == "__main__":
    cli.run_program(main)
