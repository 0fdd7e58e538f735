"""Search in latent space at test time: several noisy trajectories of one puzzle, one answer (arXiv 2605.19943)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from latent_rl.agents.halting import HaltingRule
from latent_rl.agents.inference.think import think
from latent_rl.agents.network import RecursiveReasoner

Choice = Literal["value", "rule", "vote"]


class Candidates(NamedTuple):
    """Answers at the ends of `C` trajectories.

    Attributes:
        puzzle: int64 `[C]`, which puzzle the trajectory was of.
        answer: int64 `[C, L]`.
        value: float32 `[C]`, the q head's logit of "this answer is right".
        checked: bool `[C]`, whether the puzzle's own rule confirms the answer.
        steps: int64 `[C]`, recursion steps taken.
    """

    puzzle: Tensor
    answer: Tensor
    value: Tensor
    checked: Tensor
    steps: Tensor

    def chosen(self, puzzles: int, by: Choice) -> Tensor:
        """The candidate of every puzzle, int64 `[puzzles]`; each must have one.

        Args:
            puzzles: how many there are.
            by: `"value"`: highest value; `"rule"`: confirmed by the rule, then highest value; `"vote"`: most frequent
                answer, then highest value.
        """
        first = {"value": torch.zeros_like(self.steps), "rule": self.checked.long(), "vote": self.votes()}[by]
        # Ascending by `first`, then by value: a stable sort keeps the order of the one before.
        order = self.value.argsort(stable=True)
        order = order[first[order].argsort(stable=True)]
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        best = rank.new_zeros(puzzles).scatter_reduce(0, self.puzzle, rank, "amax", include_self=False)
        return order[best]

    def votes(self) -> Tensor:
        """How many trajectories of the same puzzle gave the same answer, int64 `[C]`."""
        keys = torch.cat((self.puzzle.unsqueeze(1), self.answer), dim=1)
        _, inverse, counts = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
        return counts[inverse]


@dataclass(frozen=True)
class Search:
    """How to search.

    Attributes:
        trajectories: most trajectories of a puzzle (K), at least 1. The first has no noise: alone it is a plain run.
        choose: how an answer is chosen.
        noise: standard deviation of the noise on `y` before every step of the other trajectories.
        budget: most network passes of a puzzle; None for no limit. No trajectory is begun that might exceed it, but
            the first is cut short if it must be.
        adaptive: begin with one trajectory and double their number, only where the answer is not good enough yet:
            unconfirmed if the rule chooses, else of a value below `enough`. Otherwise all are run.
        enough: probability of being right at which an adaptive search is content.
    """

    trajectories: int
    choose: Choice = "value"
    noise: float = 0.3
    budget: int | None = None
    adaptive: bool = False
    enough: float = 0.9

    def __post_init__(self) -> None:
        if self.trajectories < 1:
            raise ValueError(f"trajectories must be at least 1, got {self.trajectories}")
        if self.choose not in ("value", "rule", "vote"):
            raise ValueError(f'choose must be "value", "rule" or "vote", got {self.choose!r}')
        if self.noise < 0:
            raise ValueError(f"noise must be at least 0, got {self.noise}")
        if not 0.0 < self.enough <= 1.0:
            raise ValueError(f"enough must lie in (0, 1], got {self.enough}")


@torch.no_grad()
def search(
    reasoner: RecursiveReasoner,
    inputs: Tensor,
    puzzle_id: Tensor,
    max_steps: int,
    settings: Search,
    is_solved: Callable[[Tensor, Tensor], Tensor],
    *,
    halting: HaltingRule | None = None,
    guidance: float = 1.0,
    rows_at_once: int = 512,
) -> Candidates:
    """Run trajectories of `B` puzzles; rows of all puzzles share the batches.

    Args:
        reasoner: the network, on the device of `inputs`.
        inputs: int64 `[B, L]`.
        puzzle_id: int64 `[B]`.
        max_steps: most steps of a trajectory.
        settings: how many trajectories, and when to stop widening.
        is_solved: the puzzle's own rule, `(inputs, answers) -> bool`; may not know the answer key.
        halting: ends single trajectories early; what they save of the budget serves others.
        guidance: weight of the guided readout.
        rows_at_once: trajectories in work at the same time.

    Returns:
        All trajectories, those of the first round in front.

    Raises:
        ValueError: the budget does not pay for one step.
    """
    per_step = reasoner.config.passes_per_step
    budget = settings.budget if settings.budget is not None else settings.trajectories * max_steps * per_step
    if budget < per_step:
        raise ValueError(f"a budget of {budget} passes does not pay for one recursion step of {per_step}")
    steps = min(max_steps, budget // per_step)
    count, device = len(inputs), inputs.device
    spent = torch.zeros(count, dtype=torch.int64, device=device)
    begun = torch.zeros_like(spent)
    content = torch.zeros(count, dtype=torch.bool, device=device)
    found: list[Candidates] = []
    width = 1 if settings.adaptive else settings.trajectories
    while True:
        affordable = (budget - spent) // (steps * per_step)
        wanted = torch.minimum(affordable, settings.trajectories - begun).clamp(max=width).masked_fill(content, 0)
        rows = torch.arange(count, device=device).repeat_interleave(wanted)
        if not len(rows):
            return Candidates(*(torch.cat(parts) for parts in zip(*found, strict=True)))
        # Of the trajectories of a puzzle only its very first goes without noise.
        is_first = (begun[rows] == 0) & (torch.cat((rows.new_full((1,), -1), rows[:-1])) != rows)
        noise = settings.noise * (~is_first).float()
        for part in torch.arange(len(rows), device=device).split(rows_at_once):
            which = rows[part]
            ends = _run(reasoner, inputs[which], puzzle_id[which], steps, noise[part], is_solved, halting, guidance)
            one = Candidates(which, *ends)
            found.append(one)
            spent.index_add_(0, which, one.steps * per_step)
            sure = one.checked if settings.choose == "rule" else one.value.sigmoid() >= settings.enough
            content[which[sure]] = settings.adaptive
        begun += wanted
        width = int(begun.max())


def _run(
    reasoner: RecursiveReasoner,
    inputs: Tensor,
    puzzle_id: Tensor,
    steps: int,
    noise: Tensor,
    is_solved: Callable[[Tensor, Tensor], Tensor],
    halting: HaltingRule | None,
    guidance: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Answer, value, checked and steps of trajectories `[C]`, as in `Candidates`."""
    answer, value = inputs.clone(), inputs.new_zeros(len(inputs), dtype=torch.float32)
    taken_steps = torch.zeros_like(puzzle_id)
    for taken in think(reasoner, inputs, puzzle_id, steps, halting, guidance=guidance, noise=noise):
        answer[taken.rows], value[taken.rows] = taken.answer, taken.output.q[:, 0]
        taken_steps[taken.rows] += 1
    return answer, value, is_solved(inputs, answer), taken_steps
