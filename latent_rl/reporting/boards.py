"""Puzzles as people see them: reading several from a text, and drawing boards on a terminal with what changed."""

from __future__ import annotations

import math

import torch
from rich.text import Text
from torch import Tensor

from latent_rl.envs import PAD, Puzzle, PuzzleError
from latent_rl.envs.arc import Arc, decode

OPEN_SYMBOLS = frozenset("._ ")
"""Symbols that stand for a cell without a given, by the custom of every puzzle here."""

ARC_PALETTE = (
    "#000000", "#0074D9", "#FF4136", "#2ECC40", "#FFDC00", "#AAAAAA", "#F012BE", "#FF851B", "#7FDBFF", "#870C25",
)  # fmt: skip
"""Colours 0 to 9 of ARC as its public viewers show them."""

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
