"""Votes are ranked as the official evaluator ranks them, in memory that does not grow with the grids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_rl.measuring.ballots import Ballot, pass_at

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "arc_voting.json").read_text())


def grid(cells: list[list[int]]) -> np.ndarray:
    return np.array(cells, dtype=np.uint8)


def test_ranks_attempts_and_scores_are_the_official_ones() -> None:
    questions = [(task, test) for task in GOLDEN["tasks"] for test in range(len(GOLDEN["answers"][task]))]
    ballots = {question: Ballot() for question in questions}
    order: dict[tuple[str, int], list[int]] = {question: [] for question in questions}
    for number, prediction in enumerate(GOLDEN["predictions"]):
        question = prediction["task"], prediction["test"]
        ballots[question].vote(grid(prediction["grid"]), prediction["confidence"])
        order[question].append(number)
    for task, test in questions:
        ballot, numbers = ballots[task, test], order[task, test]
        assert [numbers[candidate.first] for candidate in ballot.ranking] == GOLDEN["ranking"][task][test]
        if numbers:
            assert [attempt.tolist() for attempt in ballot.attempts] == GOLDEN["two_attempts"][task][test]
    ranks = [ballots[task, test].rank(grid(GOLDEN["answers"][task][test])) for task, test in questions]
    tasks, known = [task for task, _ in questions], [True] * len(questions)
    for name, share in GOLDEN["results"].items():
        k = int(name.removeprefix("pass@"))
        assert pass_at(k, tasks, ranks, known) == pytest.approx(share, abs=1e-9)
        for task, results in GOLDEN["results_per_task"].items():
            alone = [each == task for each in tasks]
            assert pass_at(k, tasks, ranks, alone) == pytest.approx(results[name], abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.25, 0.5, 1.0])), max_size=40))
def test_the_two_grids_kept_are_those_that_lead_in_the_end(votes: list[tuple[int, float]]) -> None:
    ballot = Ballot()
    for number, confidence in votes:
        ballot.vote(grid([[number]]), confidence)
        assert len(ballot._leaders) <= 2
    said = [number for number, _ in votes]
    leading = [said[candidate.first] for candidate in ballot.ranking][:2]
    expected = (leading * 2)[:2] or [0, 0]
    assert [int(attempt[0, 0]) for attempt in ballot.attempts] == expected
    assert [ballot.rank(grid([[number]])) for number in leading] == [1, 2][: len(leading)]


def test_shapes_matter_and_empty_grids_are_no_votes() -> None:
    ballot = Ballot()
    ballot.vote(grid([[1, 2]]), 1.0)
    ballot.vote(grid([[1], [2]]), 0.5)
    ballot.vote(np.zeros((0, 0), dtype=np.uint8), 1.0)
    ballot.vote(np.zeros((0, 0), dtype=np.uint8), 1.0)
    assert ballot.rank(grid([[1, 2]])) == 1 and ballot.rank(grid([[1], [2]])) == 2
    assert ballot.rank(grid([[3]])) is None
    assert ballot.share(grid([[1, 2]])) == 0.25
    assert len(ballot.ranking) == 2


def test_unknown_answers_do_not_count() -> None:
    assert pass_at(1, ["a", "a", "b"], [1, None, None], [True, False, False]) == 1.0
    assert pass_at(1, ["a"], [None], [False]) is None
