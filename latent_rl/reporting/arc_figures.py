"""ARC's test inputs and the vote on them at one glance."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from latent_rl.envs import Puzzle
from latent_rl.envs.arc.renderer import draw_grid
from latent_rl.envs.renderer import BLUE, GREEN, VERMILLION
from latent_rl.measuring import Election

MOST_ON_SHEET = 60

Verdict = Literal["right", "wrong", "undecided"]
VERDICT_COLOURS: dict[Verdict, str] = {"right": GREEN, "wrong": VERMILLION, "undecided": BLUE}


def verdict(election: Election, number: int) -> Verdict:
    """Whether a test input was answered right in two attempts.

    If not: undecided if nobody knows the answer or the leading grid got less than half of the votes, else wrong.
    """
    ballot, answer = election.ballots[number], election.questions[number].answer
    leader = ballot.attempts[0]
    if answer is not None and any(np.array_equal(attempt, answer) for attempt in ballot.attempts):
        return "right"
    return "undecided" if answer is None or ballot.share(leader) < 0.5 else "wrong"


def contact_sheet(puzzle: Puzzle, election: Election) -> Figure:
    """Test input, the attempt that is right, or else the first, and answer of the first test inputs, with verdicts."""
    count = min(len(election.questions), MOST_ON_SHEET)
    across = 4 if count > 4 else 2
    down = math.ceil(count / across)
    figure = Figure(figsize=(4.0 * across, 1.75 * down + 0.5), layout="constrained")
    verdicts = [verdict(election, number) for number in range(len(election.questions))]
    totals = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in VERDICT_COLOURS)
    figure.suptitle(f"{totals}, two attempts voted by {election.views} views", fontsize=11)
    inputs = puzzle.instances("test").inputs[:count]
    grids = puzzle.vote.grids(inputs, inputs.new_zeros(count))  # view 0 is the test input itself
    panels = figure.subplots(down, 3 * across, squeeze=False).reshape(-1, 3)
    for number, (axes, given) in enumerate(zip(panels, grids, strict=False)):
        question, ballot, kind = election.questions[number], election.ballots[number], verdicts[number]
        # What is called right is shown, also where it was the second attempt.
        shown = question.answer if kind == "right" else ballot.attempts[0]
        second = kind == "right" and not np.array_equal(shown, ballot.attempts[0])
        label = f"{kind}{' (second)' if second else ''}, {ballot.share(shown):.0%} of votes"
        draw_grid(axes[0], given, f"{question.task}:{question.number + 1}")
        draw_grid(axes[1], shown, label, VERDICT_COLOURS[kind])
        draw_grid(axes[2], question.answer, "answer" if question.answer is not None else "nobody knows")
    for axes in panels[count:].flatten():
        axes.set_axis_off()
    return figure
