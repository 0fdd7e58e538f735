"""Measuring a reasoner on held-out puzzles, after every recursion step, with its network passes counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from latent_rl.agents import HaltingRule, RecursiveReasoner, Taken, advantage_margin, is_dead, think
from latent_rl.envs import Instances, Puzzle
from latent_rl.measuring.batches import batches
from latent_rl.measuring.ledger import Ledger
from latent_rl.measuring.scores import is_known, score


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found. Lists have one entry a recursion step; accuracies are shares in [0, 1].

    With a halting rule the answer of a puzzle stays what it was when the puzzle was left alone.

    Attributes:
        puzzles: number of puzzles.
        accuracy_by_step: share of answers equal to the key.
        solved_by_step: share of answers that satisfy the puzzle's rule.
        cells_by_step: mean share of counted cells that equal the key.
        passes_per_puzzle: network passes spent on a puzzle, as the ledger counted them.
        seconds: wall-clock time.
        margin_by_step: mean advantage margin of the step, in logits (`latent_rl.agents.inference.guidance`); the
            reference of the first step is decoded from the initial latent, which costs no network pass. Over the
            puzzles that took the step; 0 if none did.
        dead_share_by_step: share of puzzles on which the step was dead compute: its margin is negligible, so that
            going its way, however far, makes the answer key no likelier. Over the puzzles that took the step.
        active_by_step: share of puzzles that took the step.
        passes_by_step: network passes spent on a puzzle up to and with each step, as the ledger counted them.
    """

    puzzles: int
    accuracy_by_step: list[float]
    solved_by_step: list[float]
    cells_by_step: list[float]
    passes_per_puzzle: float
    seconds: float
    margin_by_step: list[float] = field(default_factory=list)
    dead_share_by_step: list[float] = field(default_factory=list)
    active_by_step: list[float] = field(default_factory=list)
    passes_by_step: list[float] = field(default_factory=list)

    @property
    def exact_accuracy(self) -> float:
        return self.accuracy_by_step[-1]

    @property
    def solved_rate(self) -> float:
        return self.solved_by_step[-1]

    @property
    def cell_accuracy(self) -> float:
        return self.cells_by_step[-1]


@torch.no_grad()
def evaluate(
    reasoner: RecursiveReasoner,
    puzzle: Puzzle,
    instances: Instances,
    *,
    max_steps: int,
    batch_size: int,
    ledger: Ledger,
    halting: HaltingRule | None = None,
    guidance: float = 1.0,
    on_progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Let the reasoner take recursion steps on every instance and score each step's answers.

    The answer key scores, it never stops: an evaluation that ended an episode when the key says so would count
    every puzzle that was right at any step.

    Args:
        reasoner: takes the steps, on its own device.
        puzzle: holds the rule.
        instances: at least one; need not be the puzzle's own. Those whose solution is `IGNORE` in every cell are
            answered but count neither as right nor as wrong.
        max_steps: most recursion steps on an instance.
        batch_size: instances in work at the same time.
        ledger: watches the reasoner's network.
        halting: who says when an instance is done; nobody by default.
        guidance: weight of the guided readout; 1 is the plain one.
        on_progress: called after each batch with its number of puzzles.
    """
    # One row a step, sums over puzzles. Answers as they stand: exactly right, solved, cell accuracy.
    standing = torch.zeros(max_steps, 3, dtype=torch.float64)
    # The step itself, over those that took it: their number, margin, dead.
    moved = torch.zeros(max_steps, 3, dtype=torch.float64)
    passes = torch.zeros(max_steps, dtype=torch.float64)
    counted = 0
    started = time.perf_counter()
    for batch in batches(instances, batch_size, reasoner, ledger, on_progress):
        steps = think(reasoner, batch.inputs, batch.puzzle_id, max_steps, halting, guidance=guidance)
        known = is_known(batch.solution)
        scores = torch.zeros(3, len(batch), device=known.device)
        counted += int(known.sum())
        for step in range(max_steps):
            before = ledger.forward["eval"]
            taken = next(steps, None)
            if taken is not None:
                scores[:, taken.rows] = _scores(puzzle, batch, taken)
                moved[step] += _movement(batch, taken, known)
            passes[step] += ledger.forward["eval"] - before
            standing[step] += scores[:, known].sum(1).cpu().double()
    shares = (standing / max(counted, 1)).T.tolist()
    active, margin, dead = moved.T
    passes_by_step = (passes.cumsum(0) / len(instances)).tolist()
    return Evaluation(
        puzzles=counted,
        accuracy_by_step=shares[0],
        solved_by_step=shares[1],
        cells_by_step=shares[2],
        passes_per_puzzle=passes_by_step[-1],
        seconds=time.perf_counter() - started,
        margin_by_step=(margin / active.clamp(min=1)).tolist(),
        dead_share_by_step=(dead / active.clamp(min=1)).tolist(),
        active_by_step=(active / len(instances)).tolist(),
        passes_by_step=passes_by_step,
    )


def _scores(puzzle: Puzzle, batch: Instances, taken: Taken) -> Tensor:
    """Whether the answers of a step are right and solved, and their share of right cells: float32 `[3, A]`."""
    exact, cells = score(taken.answer, batch.solution[taken.rows])
    solved = puzzle.judge(batch.inputs[taken.rows], taken.answer, batch.solution[taken.rows])
    return torch.stack([exact.float(), solved.float(), cells])


def _movement(batch: Instances, taken: Taken, known: Tensor) -> Tensor:
    """Rows of a step with a known solution, sum of their margins, number of dead ones: float64 `[3]`, on the CPU."""
    margin = advantage_margin(taken.reference, taken.output.logits, batch.solution[taken.rows])[known[taken.rows]]
    count = margin.new_tensor(len(margin))
    return torch.stack([count, margin.sum(), is_dead(margin).sum().to(margin.dtype)]).cpu().double()
