"""Measuring a reasoner on held-out puzzles, after every recursion step, with its network passes counted."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from latent_rl.agents import ALONE, HaltingRule, RecursiveReasoner, Taken, Team, advantage_margin, is_dead, think
from latent_rl.envs import Instances, Puzzle
from latent_rl.measuring.batches import batches, share_of
from latent_rl.measuring.ledger import Ledger
from latent_rl.measuring.scores import is_known, score
from latent_rl.storage import EarlyStop, Evaluation

CONFIDENCES = (0.5, 0.9, 0.99, 0.999)
"""Thresholds at which the q head's stop is measured: its own curve, not only TRM's 0.5."""


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
    on_scores: Callable[[Tensor], object] | None = None,
    team: Team = ALONE,
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
        on_scores: called after each batch with its puzzles' scores in the end, float32 `[3, B]` on the CPU: whether
            the answer is exactly right, and solved, and the share of right cells.
        team: shares the instances; every process is told what was found on all of them, but for `on_scores`.
    """
    total, instances = len(instances), share_of(instances, team)
    # One row a step, sums over puzzles. Answers as they stand: exactly right, solved, cell accuracy.
    standing = torch.zeros(max_steps, 3, dtype=torch.float64)
    # The step itself, over those that took it and whose key is known: their number, margin, dead.
    moved = torch.zeros(max_steps, 3, dtype=torch.float64)
    active, passes = torch.zeros(2, max_steps, dtype=torch.float64)
    # Stops by the q head, one row a threshold, sums over puzzles: exactly right, solved, steps, passes.
    stopped = torch.zeros(len(CONFIDENCES), 4, dtype=torch.float64)
    counted = 0
    started = time.perf_counter()
    for batch in batches(instances, batch_size, reasoner, ledger, on_progress):
        steps = think(reasoner, batch.inputs, batch.puzzle_id, max_steps, halting, guidance=guidance)
        known = is_known(batch.solution)
        scores = torch.zeros(3, len(batch), device=known.device)
        counted += int(known.sum())
        all_scores, confidence, cost = [], [], []
        for step in range(max_steps):
            before = ledger.forward["eval"]
            taken = next(steps, None)
            if taken is not None:
                scores[:, taken.rows] = _scores(puzzle, batch, taken)
                moved[step] += _movement(batch, taken, known)
                active[step] += len(taken.rows)
                if len(taken.rows) == len(batch):
                    all_scores.append(scores[:2].clone())
                    confidence.append(taken.output.q[:, 0].sigmoid())
            cost.append(ledger.forward["eval"] - before)
            passes[step] += cost[-1]
            standing[step] += scores[:, known].sum(1).cpu().double()
        if on_scores is not None:
            on_scores(scores.cpu())
        if len(confidence) == max_steps:
            per_puzzle = torch.tensor(cost, dtype=torch.float64).cumsum(0) / len(batch)
            stopped += _stopped(torch.stack(confidence).cpu(), torch.stack(all_scores).cpu(), per_puzzle, known.cpu())
    counted = int(team.sum(torch.tensor(counted)))
    standing, moved, active, passes, stopped = map(team.sum, (standing, moved, active, passes, stopped))
    shares = (standing / max(counted, 1)).T.tolist()
    told, margin, dead = moved.T
    everyone_went_on = bool((active == total).all())
    passes_by_step = (passes.cumsum(0) / total).tolist()
    return Evaluation(
        puzzles=counted,
        accuracy_by_step=shares[0],
        solved_by_step=shares[1],
        cells_by_step=shares[2],
        passes_per_puzzle=passes_by_step[-1],
        seconds=time.perf_counter() - started,
        margin_by_step=(margin / told.clamp(min=1)).tolist(),
        dead_share_by_step=(dead / told.clamp(min=1)).tolist(),
        active_by_step=(active / total).tolist(),
        passes_by_step=passes_by_step,
        early_stops=[
            EarlyStop(threshold, *row)
            for threshold, row in zip(CONFIDENCES, (stopped / max(counted, 1)).tolist(), strict=True)
            if everyone_went_on
        ],
    )


def _scores(puzzle: Puzzle, batch: Instances, taken: Taken) -> Tensor:
    """Whether the answers of a step are right and solved, and their share of right cells: float32 `[3, A]`."""
    exact, cells = score(taken.answer, batch.solution[taken.rows])
    solved = puzzle.judge(batch.inputs[taken.rows], taken.answer, batch.solution[taken.rows])
    return torch.stack([exact.float(), solved.float(), cells])


def _stopped(confidence: Tensor, scores: Tensor, passes: Tensor, known: Tensor) -> Tensor:
    """What stopping at each of `CONFIDENCES` comes to, with all steps there to choose from.

    Args:
        confidence: float32 `[S, B]`, the q head's probability that the answer is right after each step.
        scores: float32 `[S, 2, B]`, whether it is exactly right, and solved.
        passes: float64 `[S]`, of one puzzle up to and with each step.
        known: bool `[B]`, puzzles with a solution; others do not count.

    Returns:
        float64 `[T, 4]`, sums over puzzles: exactly right, solved, steps, passes. All on the CPU: MPS has no float64.
    """
    rows = []
    for threshold in CONFIDENCES:
        stops = confidence > threshold
        stops[-1] = True
        last = stops.int().argmax(0)  # the first of equal ones
        then = scores.gather(0, last.expand(1, 2, -1))[0]
        rows.append(torch.cat([then.double(), torch.stack([last + 1.0, passes[last]]).double()])[:, known].sum(1))
    return torch.stack(rows)


def _movement(batch: Instances, taken: Taken, known: Tensor) -> Tensor:
    """Rows of a step with a known solution, sum of their margins, number of dead ones: float64 `[3]`, on the CPU."""
    margin = advantage_margin(taken.reference, taken.output.logits, batch.solution[taken.rows])[known[taken.rows]]
    count = margin.new_tensor(len(margin))
    return torch.stack([count, margin.sum(), is_dead(margin).sum().to(margin.dtype)]).cpu().double()
