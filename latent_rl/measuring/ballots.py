"""Votes for grids, counted as they come: the rule of the official ARC evaluator, and scores that follow from it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ATTEMPTS = 2
"""Grids that may be submitted for a test input."""

Grid = np.ndarray
"""Colours, uint8 `[rows, columns]`."""


@dataclass
class Candidate:
    """What was said for one grid: `votes`, the sum of their `confidence`, and the number `first` of the first vote."""

    first: int
    votes: int = 0
    confidence: float = 0.0

    @property
    def rank_key(self) -> tuple[int, float, int]:
        """Sorts the best candidate first: more votes, then more confidence on average, then the earlier first vote."""
        return -self.votes, -self.confidence / self.votes, self.first


class Ballot:
    """The votes for one test input. Equal grids are one candidate.

    Of all candidates only a digest and three numbers are kept, and the grids of the leading two: a vote can make no
    candidate better but the one that it is for, whose grid is then at hand.
    """

    def __init__(self) -> None:
        self._candidates: dict[bytes, Candidate] = {}
        self._leaders: dict[bytes, Grid] = {}
        self._cast = 0

    def vote(self, grid: Grid, confidence: float) -> None:
        """Count a vote. A grid without cells is a spoilt one: it can be no answer, and nothing is counted."""
        number, self._cast = self._cast, self._cast + 1
        if grid.size == 0:
            return
        key = _digest(grid)
        candidate = self._candidates.setdefault(key, Candidate(number))
        candidate.votes += 1
        candidate.confidence += confidence
        self._leaders[key] = grid.copy()
        best = sorted(self._leaders, key=lambda key: self._candidates[key].rank_key)[:ATTEMPTS]
        self._leaders = {key: self._leaders[key] for key in best}

    @property
    def ranking(self) -> list[Candidate]:
        """All candidates, best first."""
        return sorted(self._candidates.values(), key=lambda candidate: candidate.rank_key)

    @property
    def attempts(self) -> list[Grid]:
        """The two grids to submit, the only one twice; without any vote, a single cell of colour 0, twice."""
        grids = list(self._leaders.values()) or [np.zeros((1, 1), dtype=np.uint8)]
        return (grids * ATTEMPTS)[:ATTEMPTS]

    def rank(self, answer: Grid) -> int | None:
        """At which place, from 1, the answer stands; None if nobody voted for it."""
        candidate = self._candidates.get(_digest(answer))
        return None if candidate is None else 1 + self.ranking.index(candidate)

    def share(self, grid: Grid) -> float:
        """The share of all votes, spoilt ones too, that a grid got."""
        candidate = self._candidates.get(_digest(grid))
        return 0.0 if candidate is None else candidate.votes / self._cast


def pass_at(k: int, tasks: Sequence[str], ranks: Sequence[int | None], known: Sequence[bool]) -> float | None:
    """pass@k: the mean over tasks of the share of test inputs whose answer is among the first `k` candidates.

    Args:
        k: attempts.
        tasks: the task of each test input.
        ranks: the rank of each test input's answer; None if it got no vote.
        known: whether the answer of each is known; test inputs with unknown answers do not count.

    Returns:
        None if no answer is known.
    """
    hits: dict[str, list[bool]] = defaultdict(list)
    for task, rank, is_known in zip(tasks, ranks, known, strict=True):
        if is_known:
            hits[task].append(rank is not None and rank <= k)
    shares = [sum(found) / len(found) for found in hits.values()]
    return sum(shares) / len(shares) if shares else None


def _digest(grid: Grid) -> bytes:
    return hashlib.blake2b(repr(grid.shape).encode() + grid.tobytes(), digest_size=16).digest()
