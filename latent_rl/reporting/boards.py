"""Puzzles as people write them: a board as one line, and reading several from a text."""

from __future__ import annotations

import torch
from torch import Tensor

from latent_rl.envs import Puzzle, PuzzleError


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
