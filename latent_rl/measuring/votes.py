"""Answering test inputs by a vote over views of them, which ARC scores and Kaggle takes submissions of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from latent_rl.agents import RecursiveReasoner, recurse
from latent_rl.config import Config
from latent_rl.envs import Instances, Puzzle, Question, Vote
from latent_rl.measuring.ballots import ATTEMPTS, Ballot, pass_at
from latent_rl.measuring.batches import batches
from latent_rl.measuring.ledger import Ledger

PASS_AT = (1, 2, 5, 10, 100, 1000)
"""Numbers of attempts that are scored, as in the official evaluator."""


@dataclass(frozen=True)
class Election:
    """The votes for test inputs.

    Attributes:
        questions: the test inputs.
        ballots: one for each.
        views: views that voted on each.
    """

    questions: list[Question]
    ballots: list[Ballot]
    views: int

    @property
    def ranks(self) -> list[int | None]:
        """The rank of each answer; None if it got no vote or nobody knows it."""
        return [
            None if question.answer is None else ballot.rank(question.answer)
            for question, ballot in zip(self.questions, self.ballots, strict=True)
        ]

    @property
    def pass_at(self) -> dict[str, float]:
        """`pass@k` by its name, for as many attempts as there can be; empty if no answer is known."""
        tasks = [question.task for question in self.questions]
        known = [question.answer is not None for question in self.questions]
        ranks = self.ranks
        scored = {k: pass_at(k, tasks, ranks, known) for k in PASS_AT if k <= max(self.views, ATTEMPTS)}
        return {f"pass@{k}": share for k, share in scored.items() if share is not None}

    @property
    def in_words(self) -> str:
        """The scores in one line."""
        scores = ", ".join(f"{name} {share:.1%}" for name, share in self.pass_at.items()) or "no answer is known"
        return f"{scores}: {self.views} views voted on each of {len(self.questions)} test inputs"

    @property
    def submission(self) -> dict[str, list[dict[str, list[list[int]]]]]:
        """What Kaggle takes: for each task and each of its test inputs, two attempts."""
        found: dict[str, list[dict[str, list[list[int]]]]] = {}
        for question, ballot in zip(self.questions, self.ballots, strict=True):
            attempts = {f"attempt_{number}": grid.tolist() for number, grid in enumerate(ballot.attempts, 1)}
            found.setdefault(question.task, []).append(attempts)
        return found


@torch.no_grad()
def elect(
    reasoner: RecursiveReasoner,
    vote: Vote,
    instances: Instances,
    *,
    views: int,
    max_steps: int,
    batch_size: int,
    ledger: Ledger,
    on_progress: Callable[[int], object] | None = None,
) -> Election:
    """Answer views of test inputs and let the answers vote.

    Votes are counted batch by batch, view 0 of every test input first; nothing else of an answer is kept.

    Args:
        reasoner: takes the steps, on its own device.
        vote: makes the views, and counts what answers to them say.
        instances: the test split, or the first of it.
        views: views of each, no more than `vote` has.
        max_steps: recursion steps on every view.
        batch_size: views in work at the same time.
        ledger: watches the reasoner's network.
        on_progress: called after each batch with its number of views.
    """
    ballots = [Ballot() for _ in range(len(instances))]
    for turn in batches(torch.arange(views * len(instances)), batch_size, reasoner, ledger, on_progress):
        rows, view = (turn % len(instances)).cpu(), turn.div(len(instances), rounding_mode="floor")
        batch = vote.view(instances[rows].to(turn.device), view)
        *_, last = recurse(reasoner, batch.inputs, batch.puzzle_id, max_steps)
        grids = vote.grids(last.logits.argmax(-1), view)
        confidence = last.q[:, 0].cpu().double().sigmoid().tolist()
        for row, grid, sure in zip(rows.tolist(), grids, confidence, strict=True):
            ballots[row].vote(grid, sure)
    return Election(list(vote.questions[: len(instances)]), ballots, views)


def hold_vote(
    reasoner: RecursiveReasoner,
    puzzle: Puzzle,
    config: Config,
    ledger: Ledger,
    *,
    count: int | None = None,
    steps: int | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Election | None:
    """Let views of a puzzle's first `count` test inputs vote on their answers; None where one answer is all.

    The configuration says how many views, and how many steps unless `steps` does; `on_progress` is called with numbers
    of views.
    """
    if puzzle.vote is None:
        return None
    return elect(
        reasoner,
        puzzle.vote,
        puzzle.instances("test")[:count],
        views=min(config.evaluation.views, puzzle.vote.views),
        max_steps=steps or config.evaluation_steps,
        batch_size=config.evaluation.batch_size,
        ledger=ledger,
        on_progress=on_progress,
    )
