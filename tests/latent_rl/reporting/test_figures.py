"""What the figures show, read back from their own elements."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from matplotlib.colors import to_hex
from torch import Tensor

from latent_rl.envs import IGNORE, Instances, Puzzle
from latent_rl.envs.renderer import BARE_SHADES, LETTERED_SHADES, STROKE
from latent_rl.errors import UserError
from latent_rl.measuring.evaluation import Evaluation
from latent_rl.reporting.boards import trajectory
from latent_rl.reporting.curves import accuracy_against_passes, accuracy_by_step, save
from latent_rl.storage.history import Milestone


class Board(Puzzle):
    """Any answer will do; here only the drawing counts."""

    name = "board"
    symbols = "_.123456789"

    def __init__(self, rows: int, columns: int, box_shape: tuple[int, int] | None = None) -> None:
        self.grid_shape = (rows, columns)
        if box_shape is not None:
            self.box_shape = box_shape

    def instances(self, split: str) -> Instances:
        raise NotImplementedError

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        raise NotImplementedError


def elements(axes) -> tuple[Counter, int, int, list[str]]:
    """Cells by colour, strokes, dots and texts of one board."""
    cells = Counter(to_hex(patch.get_facecolor()) for patch in axes.patches if patch.get_fill())
    strokes = sum(line.get_color() == STROKE for line in axes.lines)
    dots = sum(line.get_marker() == "o" for line in axes.lines)
    return cells, strokes, dots, [text.get_text() for text in axes.texts]


def test_given_right_wrong_and_changed_cells_are_told_apart() -> None:
    inputs = torch.tensor([2, 1, 1, 1, 3, 1])
    solution = torch.tensor([2, 3, 4, IGNORE, 3, 2])
    answers = torch.tensor([[2, 3, 5, 6, 4, 1], [2, 3, 4, 6, 3, 2]])
    figure = trajectory(Board(2, 3), inputs, solution, answers, torch.tensor([0.25, 0.99]))
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_xlabel() for axes in panels] == ["the puzzle", "step 1: 25% sure", "step 2: 99% sure"]

    shade, white = LETTERED_SHADES, "#ffffff"
    cells, strokes, dots, texts = elements(panels[0])
    assert cells == {shade.given: 2, white: 4}
    assert (strokes, dots, texts) == (0, 0, ["1", "2"])
    # Wrong at step 1: a wrong digit, an overwritten given, a cell left empty. The ignored cell is not wrong.
    cells, strokes, dots, texts = elements(panels[1])
    assert cells == {shade.given: 1, shade.right: 2, shade.wrong: 3}
    assert (strokes, dots, texts) == (3, 4, ["1", "2", "4", "5", "3"])
    cells, strokes, dots, texts = elements(panels[2])
    assert cells == {shade.given: 2, shade.right: 4}
    assert (strokes, dots, texts) == (0, 3, ["1", "2", "3", "5", "2", "1"])


def test_without_a_solution_nothing_is_called_right_or_wrong() -> None:
    inputs = torch.tensor([2, 1, 1, 3])
    figure = trajectory(Board(2, 2), inputs, None, torch.tensor([[2, 4, 1, 3]]), torch.tensor([0.5]))
    cells, strokes, dots, _ = elements(figure.axes[1])
    assert cells == {LETTERED_SHADES.given: 2, LETTERED_SHADES.filled: 1, "#ffffff": 1}
    assert (strokes, dots) == (0, 1)
    assert [text.get_text() for text in figure.legends[0].texts] == ["given", "filled in", "changed in this step"]


def test_boxes_have_thick_lines() -> None:
    inputs = torch.ones(24, dtype=torch.int64)
    arguments = (inputs, None, inputs.unsqueeze(0), torch.zeros(1))
    assert len(trajectory(Board(4, 6), *arguments).axes[0].lines) == 0
    assert len(trajectory(Board(4, 6, box_shape=(2, 3)), *arguments).axes[0].lines) == 3 + 3


def test_a_large_board_is_drawn_in_colours_with_letters_for_rare_symbols_alone(tmp_path) -> None:
    inputs = torch.ones(900, dtype=torch.int64)
    inputs[:100] = 2
    inputs[500], inputs[600] = 3, 4
    solution = inputs.clone()
    solution[500:510] = torch.where(inputs[500:510] == 1, 5, inputs[500:510])
    figure = trajectory(Board(30, 30), inputs, solution, solution.unsqueeze(0), torch.ones(1))
    cells, strokes, dots, texts = elements(figure.axes[1])
    assert cells == {BARE_SHADES.given: 100, BARE_SHADES.right.lower(): 9, "#ffffff": 791}
    assert (strokes, dots, texts) == (0, 9, ["2", "3"])
    save(figure, tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > 5_000


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


@pytest.mark.parametrize("count", [0, 1, 3])
def test_accuracy_against_passes_and_seconds(count: int, tmp_path) -> None:
    history = [Milestone(k, 2.0 * k, 1000 * k, 0.1 * k, 0.2 * k, 0.3 * k, [0.1 * k]) for k in range(1, count + 1)]
    figure = accuracy_against_passes(history)
    left, right = figure.axes
    exact = [line for line in left.lines if line.get_label() == "answer exactly right"][0]
    assert list(exact.get_xdata()) == [entry.train_passes for entry in history]
    assert list(exact.get_ydata()) == [entry.exact_accuracy for entry in history]
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
