"""What the curves show, read back from their own elements."""

from __future__ import annotations

import pytest

from latent_rl.errors import UserError
from latent_rl.measuring.evaluation import Evaluation
from latent_rl.reporting.curves import accuracy_against_passes, accuracy_by_step
from latent_rl.reporting.style import save
from latent_rl.storage import Milestone


def test_accuracy_by_step_shows_every_value_and_its_passes() -> None:
    found = Evaluation(
        1000, [0.1, 0.5, 0.9], [0.2, 0.6, 0.95], [0.5, 0.8, 0.99], 9.0, 1.0, passes_by_step=[3.0, 6.0, 9.0]
    )
    figure = accuracy_by_step(found)
    axes = figure.axes[0]
    curves = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert curves == {
        "cells right": found.cells_by_step,
        "solved by the puzzle's rule": found.solved_by_step,
        "answer exactly right": found.accuracy_by_step,
    }
    assert len({line.get_marker() for line in axes.lines}) == 3  # told apart without colour
    assert "90.0% exact with 9 network passes" in axes.get_title()
    (passes,) = axes.child_axes
    figure.canvas.draw()
    assert list(passes.get_xticks()) == [3, 6, 9]
    assert passes.get_xlabel() == "network passes per puzzle"


def test_where_steps_cost_nothing_the_axis_says_at_most() -> None:
    shares = ([0.1, 0.5, 0.9],) * 3
    for passes, label in (([3.0, 6.0, 7.5], "puzzle"), ([3.0, 5.0, 6.0], "at most")):
        found = Evaluation(100, *shares, passes[-1], 1.0, passes_by_step=passes, active_by_step=[1.0, 1.0, 0.5])
        (axis,) = accuracy_by_step(found).axes[0].child_axes
        assert axis.get_xlabel().endswith(label)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_accuracy_against_passes_and_seconds(count: int, tmp_path) -> None:
    history = [
        Milestone(k, 2.0 * k, 1000 * k, Evaluation(10, [0.1 * k], [0.2 * k], [0.3 * k], 3.0, 1.0))
        for k in range(1, count + 1)
    ]
    figure = accuracy_against_passes(history)
    left, right = figure.axes
    exact = [line for line in left.lines if line.get_label() == "answer exactly right"][0]
    assert list(exact.get_xdata()) == [entry.train_passes for entry in history]
    assert list(exact.get_ydata()) == [entry.evaluation.exact_accuracy for entry in history]
    assert list(right.lines[0].get_xdata()) == [entry.train_seconds for entry in history]
    save(figure, tmp_path / "history.png")


def test_figures_leave_no_global_state() -> None:
    import matplotlib.pyplot as plt

    accuracy_by_step(Evaluation(1, [0.1], [0.2], [0.5], 9.0, 1.0, passes_by_step=[9.0]))
    assert plt.get_fignums() == []


def test_a_figure_that_cannot_be_written(tmp_path) -> None:
    figure = accuracy_against_passes([])
    with pytest.raises(UserError, match="cannot write the figure"):
        save(figure, tmp_path / "figure.nonsense")
    with pytest.raises(UserError, match="cannot write the figure"):
        save(figure, tmp_path / "missing" / "figure.png")
