"""ARC in its ten colours: a grid, and a task being solved step by step beside its demonstrations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from latent_rl.envs.arc.canvas import decode
from latent_rl.envs.renderer import INK, Renderer

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.text import Text

    from latent_rl.envs.arc.puzzle import Arc

PALETTE = (
    "#000000", "#0074D9", "#FF4136", "#2ECC40", "#FFDC00", "#AAAAAA", "#F012BE", "#FF851B", "#7FDBFF", "#870C25",
)  # fmt: skip
"""Colours 0 to 9 of ARC as its public viewers show them."""

CELL_EDGE = "#555555"
MOST_DEMONSTRATIONS = 6

_LIGHT = frozenset({3, 4, 5, 7, 8})
"""Colours on which dark letters are read best."""


def draw_grid(axes: Axes, grid: np.ndarray | None, label: str, colour: str = INK) -> None:
    """Draw a grid, uint8 `[rows, columns]`, with a line of text under it; None or no cells leave the place empty."""
    from matplotlib.colors import ListedColormap

    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(label, fontsize=8, color=colour)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if grid is None or not grid.size:
        axes.text(0.5, 0.5, "?" if grid is None else "no grid", ha="center", va="center", transform=axes.transAxes)
        return
    rows, columns = grid.shape
    axes.imshow(grid, cmap=ListedColormap(PALETTE), vmin=0, vmax=len(PALETTE) - 1, interpolation="nearest")
    axes.set_xticks(np.arange(-0.5, columns), minor=True)
    axes.set_yticks(np.arange(-0.5, rows), minor=True)
    axes.grid(which="minor", color=CELL_EDGE, linewidth=0.4)
    axes.tick_params(which="both", length=0)


class ArcRenderer(Renderer):
    """Draws the grids that stand on canvases, without the canvas around them."""

    puzzle: Arc

    def text(self, inputs: Tensor, board: Tensor, changed: Tensor) -> Text:
        """The grid on a canvas as coloured digits; a `*` follows a cell that is `changed`."""
        from rich.text import Text

        (grid,) = decode(board.unsqueeze(0))
        text = Text()
        for row, cells in enumerate(grid.tolist()):
            for column, colour in enumerate(cells):
                mark = "*" if changed[row * self.puzzle.side + column] else " "
                text.append(f"{colour}{mark}", style=f"{'black' if colour in _LIGHT else 'white'} on {PALETTE[colour]}")
            text.append("\n")
        return text if grid.size else Text("(no grid)\n")

    def draw(self, axes: Axes, inputs: Tensor, board: Tensor, solution: Tensor | None, changed: Tensor) -> None:
        """Draw the grid on the canvas `board`; its colours leave no room for marks."""
        (grid,) = decode(board.unsqueeze(0))
        draw_grid(axes, grid, "")

    def legend(self, known: bool) -> list[Artist]:
        """Nothing: the colours are the puzzle's own."""
        return []

    def trajectory(
        self,
        inputs: Tensor,
        solution: Tensor | None,
        answers: Tensor,
        confidence: Tensor,
        margins: Tensor | None = None,
    ) -> Figure:
        """A task's demonstrations, inputs above outputs, beside them the test input with the answer after each step.

        The task knows the answer, if anybody does: right and wrong are told whether or not `solution` is given.
        """
        from matplotlib.figure import Figure

        inputs, answers = inputs.cpu(), answers.cpu()
        question = self.puzzle.question_of(inputs)
        shown = self.puzzle.tasks[question.task].demonstrations[:MOST_DEMONSTRATIONS]
        upper = [(decode(inputs.unsqueeze(0))[0], "test input"), (question.answer, "the answer")]
        lower = []
        for step, grid in enumerate(decode(answers)):
            right = "" if question.answer is None else ", right" if np.array_equal(grid, question.answer) else ", wrong"
            margin = "" if margins is None else f"\nmargin {float(margins[step]):+.2g}"
            lower.append((grid, f"step {step + 1}: {float(confidence[step]):.0%} sure{right}{margin}"))
        across = max(2, math.ceil(len(lower) / 2))
        figure = Figure(figsize=(1.5 * (len(shown) + across), 4.6), layout="constrained")
        figure.suptitle(f"{question.task}, test input {question.number + 1}", fontsize=10)
        left, right_part = figure.subfigures(1, 2, width_ratios=(len(shown), across))
        columns = left.subplots(2, len(shown), squeeze=False).T
        for number, (pair, column) in enumerate(zip(shown, columns, strict=True), 1):
            draw_grid(column[0], pair.input, f"demonstration {number}")
            draw_grid(column[1], pair.output, "its output")
        left.set_facecolor("#f2f2f2")
        panels = right_part.subplots(3, across, squeeze=False)
        for axes, (grid, label) in zip(panels[0], upper, strict=False):
            draw_grid(axes, grid, label)
        for axes in panels[0, len(upper) :]:
            axes.set_axis_off()
        rest = panels[1:].flatten()
        for axes, (grid, label) in zip(rest, lower, strict=False):
            draw_grid(axes, grid, label)
        for axes in rest[len(lower) :]:
            axes.set_axis_off()
        return figure
