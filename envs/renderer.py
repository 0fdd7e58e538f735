"""How boards are drawn, on a terminal and by matplotlib; and the colours that boards share with other figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from latent_rl.envs.puzzle import IGNORE, PAD, Puzzle

if TYPE_CHECKING:
    # Rich and matplotlib are loaded where something is drawn: whoever only plays or trains does without.
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.text import Text

# Okabe and Ito's colours, told apart by colour-blind readers too; every colour here also has a marker or a dash.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, FRAME, STROKE = "#222222", "#9a9a9a", "#8c2d04"

LARGEST_LETTERED_BOARD = 16
"""Rows or columns up to which a board's symbols stay readable; larger boards are drawn in colours alone."""

OPEN_SYMBOLS = frozenset("._ ")
"""Symbols that stand for a cell without a given, by the custom of every puzzle here."""


class Shades(NamedTuple):
    """What fills the cells of a board."""

    given: str
    right: str
    wrong: str
    filled: str


LETTERED_SHADES = Shades(given="#d9d9d9", right="#b9e3d6", wrong="#f6c9a8", filled="#bcdcf0")
BARE_SHADES = Shades(given="#5f5f5f", right=GREEN, wrong=VERMILLION, filled=BLUE)


def changes(inputs: Tensor, answers: Tensor) -> Tensor:
    """Which cells each of the answers `[S, L]` changed against the one before it, or against `inputs` `[L]`: bool."""
    before = torch.cat((inputs.unsqueeze(0), answers[:-1]))
    return answers != before


class Renderer:
    """Draws the boards of a puzzle, as grids of symbols. Boards are int64 `[L]`, on the CPU.

    A puzzle that is to look different sets its `renderer` to an object of a subclass. `text` is what a terminal shows;
    `draw`, with its `legend`, is one board of a figure or of an animation, and `trajectory` the whole figure.

    Args:
        puzzle: gives grid and symbols.
        box_shape: rows and columns of the boxes that lines surround, if the board has any.
    """

    def __init__(self, puzzle: Puzzle, box_shape: tuple[int, int] | None = None) -> None:
        self.puzzle = puzzle
        self.box_shape = box_shape

    def text(self, inputs: Tensor, board: Tensor, changed: Tensor) -> Text:
        """A board for the terminal: givens bold, cells that changed coloured and followed by `*`, boxes ruled off.

        Cells that break the rule are red and underlined.

        Args:
            inputs: int64 `[L]`, the puzzle.
            board: int64 `[L]`, what to draw.
            changed: bool `[L]`.
        """
        from rich.text import Text

        rows, columns = self.puzzle.grid_shape
        box_rows, box_columns = self.box_shape or (rows, columns)
        given = self._given(inputs, board)
        offending = self.puzzle.offending(inputs.unsqueeze(0), board.unsqueeze(0))[0]
        text = Text()
        for row in range(rows):
            if row and row % box_rows == 0:
                text.append("-" * (2 * columns + 2 * (columns // box_columns - 1)) + "\n", style="dim")
            for column in range(columns):
                if column and column % box_columns == 0:
                    text.append("| ", style="dim")
                cell = row * columns + column
                style = "bold yellow" if changed[cell] else "bold" if given[cell] else ""
                style = "bold underline red" if offending[cell] else style
                text.append(self.puzzle.symbols[board[cell]] + ("*" if changed[cell] else " "), style=style)
            text.append("\n")
        return text

    def draw(self, axes: Axes, inputs: Tensor, board: Tensor, solution: Tensor | None, changed: Tensor) -> None:
        """Draw a board into axes of its own.

        Args:
            axes: without ticks and frame afterwards.
            inputs: int64 `[L]`, the puzzle.
            board: int64 `[L]`, what to draw.
            solution: int64 `[L]`, or None if nobody knows it; cells are then not told right from wrong.
            changed: bool `[L]`, cells to mark as new.
        """
        from matplotlib.patches import Rectangle

        rows, columns = self.puzzle.grid_shape
        given = self._given(inputs, board)
        filled = board != inputs
        wrong = torch.zeros_like(filled)
        if solution is not None:
            key = solution.cpu()
            wrong = (board != key) & (key != IGNORE)
        lettered, shades = self._lettered, self._shades
        rare = {} if lettered else self._rare_symbols(inputs)
        offending = self.puzzle.offending(inputs.unsqueeze(0), board.unsqueeze(0))[0]
        # Sizes in points follow from the room that a cell has in its panel.
        point = 2.2 * 72 / max(rows, columns) if lettered else 3.0 * 72 / max(rows, columns)
        for cell, token in enumerate(board.tolist()):
            row, column = divmod(cell, columns)
            colour = "white"
            if wrong[cell]:
                colour = shades.wrong
            elif filled[cell]:
                colour = shades.filled if solution is None else shades.right
            elif given[cell] and cell not in rare:
                colour = shades.given
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor=FRAME, linewidth=0.4))
            symbol = self.puzzle.symbols[token] if lettered else rare.get(cell, "")
            if symbol not in " ._":
                weight = "bold" if given[cell] else "normal"
                axes.text(
                    column + 0.5,
                    row + 0.52,
                    symbol,
                    ha="center",
                    va="center",
                    color=INK,
                    fontsize=max(5.0, 0.5 * point if lettered else 1.2 * point),
                    fontweight=weight,
                    clip_on=False,
                )
            if wrong[cell]:
                # A stroke through the cell: told from the others without colour.
                axes.plot(
                    [column + 0.12, column + 0.88], [row + 0.12, row + 0.88], color=STROKE, linewidth=0.05 * point
                )
            if offending[cell]:
                inner = {"fill": False, "edgecolor": VERMILLION, "linewidth": 0.08 * point}
                axes.add_patch(Rectangle((column + 0.1, row + 0.1), 0.8, 0.8, **inner))
            if changed[cell]:
                if lettered:
                    axes.plot(column + 0.86, row + 0.14, "o", color=INK, markersize=min(5.0, 0.16 * point))
                else:
                    axes.plot(column + 0.5, row + 0.5, "o", color=INK, markersize=0.4 * point, markeredgecolor="white")
        if self.box_shape is not None:
            for row in range(0, rows + 1, self.box_shape[0]):
                axes.plot([0, columns], [row, row], color=INK, linewidth=1.4, solid_capstyle="projecting")
            for column in range(0, columns + 1, self.box_shape[1]):
                axes.plot([column, column], [0, rows], color=INK, linewidth=1.4, solid_capstyle="projecting")
        axes.set_xlim(-0.05, columns + 0.05)
        axes.set_ylim(rows + 0.05, -0.05)
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        if self.box_shape is None:
            axes.add_patch(Rectangle((0, 0), columns, rows, fill=False, edgecolor=INK, linewidth=1.2))

    def legend(self, known: bool) -> list[Artist]:
        """What the marks of `draw` mean, for a legend; right and wrong only if the solution is known."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        shades = self._shades
        frame = {"edgecolor": FRAME, "linewidth": 0.6}
        entries: list[Artist] = [Patch(facecolor=shades.given, label="given", **frame)]
        if known:
            entries.append(Patch(facecolor=shades.right, label="right", **frame))
            struck = {"hatch": "\\\\", "edgecolor": STROKE, "linewidth": 0.0}
            entries.append(Patch(facecolor=shades.wrong, label="wrong (struck through)", **struck))
        else:
            entries.append(Patch(facecolor=shades.filled, label="filled in", **frame))
        if self.puzzle.marks_offending:
            entries.append(Patch(fill=False, edgecolor=VERMILLION, linewidth=1.5, label="breaks the rule"))
        dot = Line2D([], [], marker="o", color=INK, linestyle="none", markersize=4, label="changed in this step")
        return [*entries, dot]

    def trajectory(
        self,
        inputs: Tensor,
        solution: Tensor | None,
        answers: Tensor,
        confidence: Tensor | None = None,
        margins: Tensor | None = None,
        captions: Sequence[str] | None = None,
    ) -> Figure:
        """One puzzle, and the reasoner's board after each recursion step; tensors may be on any device.

        Args:
            inputs: int64 `[L]`.
            solution: int64 `[L]`, or None if nobody knows it; cells are then not told right from wrong.
            answers: int64 `[S, L]`, the answer after each step.
            confidence: float `[S]`, what the value head thinks of each answer, in [0, 1].
            margins: float `[S]`, advantage margin of each step, if somebody knows the solution.
            captions: what stands below each answer, instead of step, confidence and margin.
        """
        from matplotlib.figure import Figure

        inputs, answers = inputs.cpu(), answers.cpu()
        boards = torch.cat((inputs.unsqueeze(0), answers))
        changed = changes(inputs, answers)
        rows, columns = self.puzzle.grid_shape
        across = min(len(boards), max(2, math.ceil(math.sqrt(1.6 * len(boards)))))
        down = math.ceil(len(boards) / across)
        side = 2.2 if self._lettered else 3.0
        room = 0.3 if margins is None else 0.5
        figure = Figure(
            figsize=(max(5.5, side * across), (side * rows / columns + room) * down + 0.35), layout="constrained"
        )
        panels = figure.subplots(down, across, squeeze=False).flatten()
        for axes in panels[len(boards) :]:
            axes.set_axis_off()
        for number, (axes, board) in enumerate(zip(panels, boards, strict=False)):
            if number == 0:
                self.draw(axes, inputs, board, None, torch.zeros_like(inputs, dtype=torch.bool))
                axes.set_xlabel("the puzzle", fontsize=10)
            else:
                self.draw(axes, inputs, board, solution, changed[number - 1])
                if captions is not None:
                    caption = captions[number - 1]
                else:
                    margin = "" if margins is None else f"\nmargin {_signed(margins[number - 1])}"
                    caption = f"step {number}: {float(confidence[number - 1]):.0%} sure{margin}"
                axes.set_xlabel(caption, fontsize=10)
        figure.legend(
            handles=self.legend(solution is not None),
            loc="outside lower center",
            ncols=4,
            frameon=False,
            fontsize=9,
        )
        return figure

    @property
    def _lettered(self) -> bool:
        return max(self.puzzle.grid_shape) <= LARGEST_LETTERED_BOARD

    @property
    def _shades(self) -> Shades:
        return LETTERED_SHADES if self._lettered else BARE_SHADES

    def _given(self, inputs: Tensor, board: Tensor) -> Tensor:
        """Cells, bool `[L]`, that hold what the puzzle gave, neither padding nor an empty symbol."""
        symbols = enumerate(self.puzzle.symbols)
        is_open = torch.tensor([token == PAD or symbol in OPEN_SYMBOLS for token, symbol in symbols])
        return ~is_open[inputs] & (board == inputs)

    def _rare_symbols(self, inputs: Tensor) -> dict[int, str]:
        """Cells of a large board whose symbol hardly occurs, such as a maze's start and goal: worth a letter."""
        counts = torch.bincount(inputs, minlength=self.puzzle.vocab_size)
        return {cell: self.puzzle.symbols[token] for cell, token in enumerate(inputs.tolist()) if counts[token] <= 2}


def _signed(value: Tensor) -> str:
    """A margin for people: two digits, and no rounding error of a sum that is nothing."""
    return f"{float(value):+.2g}" if abs(float(value)) >= 0.005 else "0"
