"""Puzzles as people see them: reading several from a text, and drawing boards with what changed."""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from rich.text import Text
from torch import Tensor

from latent_rl.envs import IGNORE, PAD, Puzzle, PuzzleError
from latent_rl.envs.arc import Arc, decode
from latent_rl.envs.arc.renderer import ARC_PALETTE
from latent_rl.envs.renderer import BARE_SHADES, FRAME, INK, LETTERED_SHADES, STROKE
from latent_rl.reporting import arc_figures

LARGEST_LETTERED_BOARD = 16
"""Rows or columns up to which a board's symbols stay readable; larger boards are drawn in colours alone."""

OPEN_SYMBOLS = frozenset("._ ")
"""Symbols that stand for a cell without a given, by the custom of every puzzle here."""

_LIGHT = frozenset({3, 4, 5, 7, 8})
"""Colours on which dark letters are read best."""


def open_cells(puzzle: Puzzle, tokens: Tensor) -> Tensor:
    """Cells, bool like `tokens`, that hold padding or an empty symbol rather than a given."""
    is_open = [token == PAD or symbol in OPEN_SYMBOLS for token, symbol in enumerate(puzzle.symbols)]
    return torch.tensor(is_open)[tokens.cpu()]


def box_shape(puzzle: Puzzle) -> tuple[int, int] | None:
    """Rows and columns of the boxes that thick lines surround, if the puzzle has boxes (attribute `box_shape`)."""
    return getattr(puzzle, "box_shape", None)


def changes(inputs: Tensor, answers: Tensor) -> Tensor:
    """Which cells each of the answers `[S, L]` changed against the one before it, or against `inputs` `[L]`: bool."""
    before = torch.cat((inputs.unsqueeze(0), answers[:-1]))
    return answers != before


def as_line(puzzle: Puzzle, tokens: Tensor) -> str:
    """A board int64 `[L]` as one line of symbols, which `puzzle.parse` reads again."""
    return "".join(puzzle.symbols[token] for token in tokens.tolist())


def read_puzzles(puzzle: Puzzle, text: str) -> Tensor:
    """The puzzles in a text: one board, or one puzzle a line, or boards with an empty line between them.

    Returns:
        int64 `[N, L]`.

    Raises:
        PuzzleError: naming the line, if something in the text is no puzzle, or a puzzle contradicts itself.
    """
    boards = []
    parts = _parts(puzzle, text)
    for first_line, part in parts:
        try:
            tokens = puzzle.parse(part)
            puzzle.check_input(tokens)
        except PuzzleError as error:
            where = f"puzzle at line {first_line}: " if len(parts) > 1 else ""
            raise PuzzleError(f"{where}{error}") from None
        boards.append(tokens)
    if not boards:
        raise PuzzleError(f"no puzzle given: {puzzle.name} has {puzzle.seq_len} cells, in reading order")
    return torch.stack(boards)


def _parts(puzzle: Puzzle, text: str) -> list[tuple[int, str]]:
    """The text cut into single puzzles, each with the number of its first line."""
    lines = text.splitlines()
    # Where a space is a symbol, such as a maze's floor, a line of spaces is a row and not a gap.
    blank = {number for number, line in enumerate(lines) if not (line if " " in puzzle.symbols else line.strip())}
    filled = [(number + 1, line) for number, line in enumerate(lines) if number not in blank]
    if not filled:
        return []
    if _is_board(puzzle, text):
        return [(filled[0][0], "\n".join(lines))]
    if any(_is_board(puzzle, line) for _, line in filled):
        return filled
    groups: list[tuple[int, str]] = []
    for number, line in filled:
        if groups and number - 2 not in blank:
            groups[-1] = (groups[-1][0], f"{groups[-1][1]}\n{line}")
        else:
            groups.append((number, line))
    return groups


def _is_board(puzzle: Puzzle, text: str) -> bool:
    try:
        puzzle.parse(text)
    except PuzzleError:
        return False
    return True


def draw(puzzle: Puzzle, inputs: Tensor, board: Tensor, changed: Tensor) -> Text:
    """A board for the terminal: givens bold, cells that changed coloured and followed by `*`, boxes ruled off.

    Args:
        puzzle: gives grid, symbols and, if it has them, boxes.
        inputs, board: int64 `[L]`.
        changed: bool `[L]`.
    """
    if isinstance(puzzle, Arc):
        return draw_colours(board, changed)
    rows, columns = puzzle.grid_shape
    box_rows, box_columns = box_shape(puzzle) or (rows, columns)
    given = ~open_cells(puzzle, inputs) & (board == inputs)
    text = Text()
    for row in range(rows):
        if row and row % box_rows == 0:
            text.append("-" * (2 * columns + 2 * (columns // box_columns - 1)) + "\n", style="dim")
        for column in range(columns):
            if column and column % box_columns == 0:
                text.append("| ", style="dim")
            cell = row * columns + column
            style = "bold yellow" if changed[cell] else "bold" if given[cell] else ""
            text.append(puzzle.symbols[board[cell]] + ("*" if changed[cell] else " "), style=style)
        text.append("\n")
    return text


def draw_colours(board: Tensor, changed: Tensor) -> Text:
    """The grid on a canvas int64 `[L]` as coloured digits; a `*` follows a cell that is `changed`, bool `[L]`."""
    (grid,) = decode(board.unsqueeze(0))
    side = math.isqrt(len(board))
    text = Text()
    for row, cells in enumerate(grid.tolist()):
        for column, colour in enumerate(cells):
            mark = "*" if changed[row * side + column] else " "
            text.append(f"{colour}{mark}", style=f"{'black' if colour in _LIGHT else 'white'} on {ARC_PALETTE[colour]}")
        text.append("\n")
    return text if grid.size else Text("(no grid)\n")


def trajectory(
    puzzle: Puzzle,
    inputs: Tensor,
    solution: Tensor | None,
    answers: Tensor,
    confidence: Tensor,
    margins: Tensor | None = None,
) -> Figure:
    """One puzzle, and the reasoner's board after each recursion step.

    Args:
        puzzle: gives grid, symbols and, if it has a `box_shape`, the thick lines.
        inputs: int64 `[L]`.
        solution: int64 `[L]`, or None if nobody knows it; cells are then not told right from wrong.
        answers: int64 `[S, L]`, the answer after each step.
        confidence: float `[S]`, what the value head thinks of each answer, in [0, 1].
        margins: float `[S]`, advantage margin of each step, if somebody knows the solution.
    """
    inputs, answers = inputs.cpu(), answers.cpu()
    if isinstance(puzzle, Arc):
        return arc_figures.trajectory(puzzle, inputs, answers, confidence, margins)
    boards = torch.cat((inputs.unsqueeze(0), answers))
    changed = changes(inputs, answers)
    rows, columns = puzzle.grid_shape
    across = min(len(boards), max(2, math.ceil(math.sqrt(1.6 * len(boards)))))
    down = math.ceil(len(boards) / across)
    side = 2.2 if _lettered(puzzle) else 3.0
    room = 0.3 if margins is None else 0.5
    figure = Figure(
        figsize=(max(5.5, side * across), (side * rows / columns + room) * down + 0.35), layout="constrained"
    )
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for axes in panels[len(boards) :]:
        axes.set_axis_off()
    for number, (axes, board) in enumerate(zip(panels, boards, strict=False)):
        if number == 0:
            draw_board(axes, puzzle, inputs, board, None, torch.zeros_like(inputs, dtype=torch.bool))
            axes.set_xlabel("the puzzle", fontsize=10)
        else:
            draw_board(axes, puzzle, inputs, board, solution, changed[number - 1])
            margin = "" if margins is None else f"\nmargin {_signed(margins[number - 1])}"
            axes.set_xlabel(f"step {number}: {float(confidence[number - 1]):.0%} sure{margin}", fontsize=10)
    figure.legend(
        handles=board_legend(puzzle, solution is not None),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    return figure


def draw_board(
    axes: Axes, puzzle: Puzzle, inputs: Tensor, board: Tensor, solution: Tensor | None, changed: Tensor
) -> None:
    """Draw one board into axes of its own; tensors are `[L]`, `changed` bool, the others int64."""
    if isinstance(puzzle, Arc):
        arc_figures.draw_board(axes, board)
        return
    rows, columns = puzzle.grid_shape
    given = ~open_cells(puzzle, inputs) & (board == inputs)
    filled = board != inputs
    wrong = torch.zeros_like(filled)
    if solution is not None:
        key = solution.cpu()
        wrong = (board != key) & (key != IGNORE)
    lettered = _lettered(puzzle)
    shades = LETTERED_SHADES if lettered else BARE_SHADES
    rare = {} if lettered else _rare_symbols(puzzle, inputs)
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
        symbol = puzzle.symbols[token] if lettered else rare.get(cell, "")
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
            axes.plot([column + 0.12, column + 0.88], [row + 0.12, row + 0.88], color=STROKE, linewidth=0.05 * point)
        if changed[cell]:
            if lettered:
                axes.plot(column + 0.86, row + 0.14, "o", color=INK, markersize=min(5.0, 0.16 * point))
            else:
                axes.plot(column + 0.5, row + 0.5, "o", color=INK, markersize=0.4 * point, markeredgecolor="white")
    box = box_shape(puzzle)
    if box is not None:
        for row in range(0, rows + 1, box[0]):
            axes.plot([0, columns], [row, row], color=INK, linewidth=1.4, solid_capstyle="projecting")
        for column in range(0, columns + 1, box[1]):
            axes.plot([column, column], [0, rows], color=INK, linewidth=1.4, solid_capstyle="projecting")
    axes.set_xlim(-0.05, columns + 0.05)
    axes.set_ylim(rows + 0.05, -0.05)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if box is None:
        axes.add_patch(Rectangle((0, 0), columns, rows, fill=False, edgecolor=INK, linewidth=1.2))


def _rare_symbols(puzzle: Puzzle, inputs: Tensor) -> dict[int, str]:
    """Cells of a large board whose symbol hardly occurs, such as a maze's start and goal: worth a letter."""
    counts = torch.bincount(inputs, minlength=puzzle.vocab_size)
    return {cell: puzzle.symbols[token] for cell, token in enumerate(inputs.tolist()) if counts[token] <= 2}


def _lettered(puzzle: Puzzle) -> bool:
    return max(puzzle.grid_shape) <= LARGEST_LETTERED_BOARD


def board_legend(puzzle: Puzzle, known: bool) -> list[Patch | Line2D]:
    """What the marks of `draw_board` mean, for a legend; right and wrong only if the solution is known."""
    if isinstance(puzzle, Arc):
        return []  # its colours are the puzzle's own
    shades = LETTERED_SHADES if _lettered(puzzle) else BARE_SHADES
    frame = {"edgecolor": FRAME, "linewidth": 0.6}
    entries: list[Patch | Line2D] = [Patch(facecolor=shades.given, label="given", **frame)]
    if known:
        entries.append(Patch(facecolor=shades.right, label="right", **frame))
        entries.append(
            Patch(facecolor=shades.wrong, label="wrong (struck through)", hatch="\\\\", edgecolor=STROKE, linewidth=0.0)
        )
    else:
        entries.append(Patch(facecolor=shades.filled, label="filled in", **frame))
    dot = Line2D([], [], marker="o", color=INK, linestyle="none", markersize=4, label="changed in this step")
    return [*entries, dot]


def _signed(value: Tensor) -> str:
    """A margin for people: two digits, and no rounding error of a sum that is nothing."""
    return f"{float(value):+.2g}" if abs(float(value)) >= 0.005 else "0"
