"""Measuring a search on held-out puzzles: what it finds, and what it spends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from latent_rl.agents import HaltingRule, RecursiveReasoner, Search, search
from latent_rl.envs import Instances, Puzzle
from latent_rl.evaluation import score
from latent_rl.ledger import Ledger


@dataclass(frozen=True)
class SearchEvaluation:
    """What an evaluation with search found; accuracies are shares in [0, 1].

    Attributes:
        puzzles: number of puzzles.
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
    """Search every instance and score the chosen answers; arguments as in `evaluation.evaluate`."""
    device = reasoner.initial_y.device
    totals = torch.zeros(6, dtype=torch.float64)
    most, before, started = 0, ledger.forward["eval"], time.perf_counter()
    with ledger.phase("eval"):
        for first in range(0, len(instances), batch_size):
            batch = instances[first : first + batch_size].to(device)
            found = search(
                reasoner,
                batch.inputs,
                batch.puzzle_ids,
                max_steps,
                settings,
                puzzle.is_solved,
                halting=halting,
                guidance=guidance,
                rows_at_once=batch_size,
            )
            chosen = found.chosen(len(batch), settings.choose)
            exact, cells = score(found.answer[chosen], batch.solutions)
            right = score(found.answer, batch.solutions[found.puzzle]).exact
            any_right = torch.zeros(len(batch), device=device).index_add_(0, found.puzzle, right.float()) > 0
            solved = found.checked[chosen]
            sums = [
                exact.sum(),
                solved.sum(),
                cells.sum(),
                any_right.sum(),
                torch.tensor(len(right)),
                found.steps.sum(),
            ]
            totals += torch.stack([one.double().cpu() for one in sums])
            steps = torch.zeros(len(batch), dtype=torch.int64, device=device).index_add_(0, found.puzzle, found.steps)
            most = max(most, int(steps.max()))
            if on_progress is not None:
                on_progress(len(batch))
    shares = (totals / len(instances)).tolist()
    return SearchEvaluation(
        len(instances),
        *shares,
        passes_per_puzzle=(ledger.forward["eval"] - before) / len(instances),
        most_passes=most * reasoner.config.passes_per_step,
        seconds=time.perf_counter() - started,
    )
