"""Measuring a search on held-out puzzles: what it finds, and what it spends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from latent_rl.agents import HaltingRule, RecursiveReasoner, Search, search
from latent_rl.envs import Instances, Puzzle
from latent_rl.measuring.batches import batches
from latent_rl.measuring.ledger import Ledger
from latent_rl.measuring.scores import is_known, score


@dataclass(frozen=True)
class SearchEvaluation:
    """What an evaluation with search found; accuracies are shares in [0, 1].

    Attributes:
        puzzles: number of puzzles with a known answer.
        exact_accuracy, solved_rate, cell_accuracy: of the chosen answers.
        any_right: share of puzzles of which some trajectory ended exactly right: what a perfect choice would reach.
        trajectories_per_puzzle: trajectories run.
        steps_per_puzzle: recursion steps of all of them.
        passes_per_puzzle: network passes, as the ledger counted them.
        most_passes: of the costliest puzzle, from its steps.
        seconds: wall-clock time.
    """

    puzzles: int
    exact_accuracy: float
    solved_rate: float
    cell_accuracy: float
    any_right: float
    trajectories_per_puzzle: float
    steps_per_puzzle: float
    passes_per_puzzle: float
    most_passes: int
    seconds: float


def evaluate_search(
    reasoner: RecursiveReasoner,
    puzzle: Puzzle,
    instances: Instances,
    settings: Search,
    *,
    max_steps: int,
    batch_size: int,
    ledger: Ledger,
    halting: HaltingRule | None = None,
    guidance: float = 1.0,
    on_progress: Callable[[int], object] | None = None,
) -> SearchEvaluation:
    """Search every instance and score the chosen answers; arguments as in `evaluation.evaluate`.

    Answers that nobody knows count neither as right nor as wrong.
    """
    # Over answers that somebody knows: exactly right, solved, cells right, right in some trajectory; and over all
    # puzzles, which cost passes whether their answer is known or not: trajectories and steps.
    totals = torch.zeros(4, dtype=torch.float64)
    spent = torch.zeros(2, dtype=torch.float64)
    counted, most, before, started = 0, 0, ledger.forward["eval"], time.perf_counter()
    for batch in batches(instances, batch_size, reasoner, ledger, on_progress):
        found = search(
            reasoner,
            batch.inputs,
            batch.puzzle_id,
            max_steps,
            settings,
            puzzle.is_solved,
            halting=halting,
            guidance=guidance,
            rows_at_once=batch_size,
        )
        chosen = found.chosen(len(batch), settings.choose)
        exact, cells = score(found.answer[chosen], batch.solution)
        solved = puzzle.judge(batch.inputs, found.answer[chosen], batch.solution)
        right = score(found.answer, batch.solution[found.puzzle]).exact
        any_right = torch.zeros(len(batch), device=right.device).index_add_(0, found.puzzle, right.float()) > 0
        known = is_known(batch.solution)
        counted += int(known.sum())
        totals += torch.stack([part[known].sum().cpu().double() for part in (exact, solved, cells, any_right)])
        spent += torch.tensor([len(right), int(found.steps.sum())], dtype=torch.float64)
        steps = torch.zeros(len(batch), dtype=torch.int64, device=right.device).index_add_(0, found.puzzle, found.steps)
        most = max(most, int(steps.max()))
    return SearchEvaluation(
        counted,
        *(totals / max(counted, 1)).tolist(),
        *(spent / len(instances)).tolist(),
        passes_per_puzzle=(ledger.forward["eval"] - before) / len(instances),
        most_passes=most * reasoner.config.passes_per_step,
        seconds=time.perf_counter() - started,
    )
