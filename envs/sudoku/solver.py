"""An exact Sudoku solver for many boards at once: bitmask propagation and depth-first search, batched in numpy.

Boards are digits, `0` for a blank, in rows of `L = size * size` cells. Inside, `candidates` uint16 `[size, size, B]`
holds a bit for every digit that a cell may still take; the batch comes last so that every operation runs over
contiguous memory.
"""

from __future__ import annotations

import numpy as np

BoxShape = tuple[int, int]
"""Rows and columns of a box; a board has `rows * columns` digits, so many rows and so many columns."""


class SearchBudgetExceeded(RuntimeError):
    """A search was given up before it had an answer."""


_BOARDS_AT_ONCE = 2048
_POPCOUNT = np.array([bin(mask).count("1") for mask in range(1 << 9)], dtype=np.uint8)


def solve(
    boards: np.ndarray, box_shape: BoxShape, limit: int | None = 2, budget: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Solve boards and count their solutions.

    Args:
        boards: integers `[N, L]` or `[L]`, digits and `0` for a blank.
        box_shape: rows and columns of a box, at most 9 cells.
        limit: stop counting a board's solutions here; None counts all of them.
        budget: give up after so many boards were looked at, guesses included; None never does.

    Returns:
        One solution each, uint8 `[N, L]` (all 0 where there is none), and the counts, int64 `[N]`. A board has exactly
        one solution where the count with `limit >= 2` is 1.

    Raises:
        ValueError: if the boards' length does not fit `box_shape` or a cell is no digit.
        SearchBudgetExceeded: if `budget` was spent.
    """
    boards = np.atleast_2d(boards)
    size = box_shape[0] * box_shape[1]
    if boards.ndim != 2 or boards.shape[1] != size * size:
        raise ValueError(f"boards must have shape [N, {size * size}], got {list(boards.shape)}")
    if boards.size and not (0 <= boards.min() and boards.max() <= size):
        raise ValueError(f"cells must lie between 0 and {size}, got {boards.min()} to {boards.max()}")
    owners, found = search(to_candidates(boards, size), box_shape, limit, budget)
    counts = np.bincount(owners, minlength=len(boards))
    solutions = np.zeros(boards.shape, dtype=np.uint8)
    solutions[owners[::-1]] = to_digits(found)[::-1]  # reversed: the first one found is written last and stays
    return solutions, counts if limit is None else np.minimum(counts, limit)


def to_candidates(boards: np.ndarray, size: int) -> np.ndarray:
    """Candidates uint16 `[size, size, B]` of boards `[B, L]`: one bit for a given, all bits for a blank."""
    bits = np.array([(1 << size) - 1] + [1 << digit for digit in range(size)], dtype=np.uint16)
    return np.ascontiguousarray(bits[boards.T]).reshape(size, size, len(boards))


def to_digits(candidates: np.ndarray) -> np.ndarray:
    """Boards uint8 `[B, L]` of candidates in which every cell has one bit."""
    digit_of = np.zeros(1 << 9, dtype=np.uint8)
    digit_of[1 << np.arange(9)] = np.arange(1, 10)
    size, _, count = candidates.shape
    return np.ascontiguousarray(digit_of[candidates].reshape(size * size, count).T)


def propagate(candidates: np.ndarray, box_shape: BoxShape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Apply the two rules of single candidates until nothing changes, and drop boards without a solution.

    A cell with one candidate takes it from its row, column and box; a digit with one place left in a row, column or box
    goes there. No solution is lost, so a board that is dropped has none.

    Args:
        candidates: uint16 `[size, size, B]`; not modified.
        box_shape: rows and columns of a box.

    Returns:
        The candidates of the boards that are left, uint16 `[size, size, B']`; their places in the batch, int64 `[B']`;
        and whether they are solved, bool `[B']`.
    """
    size, _, count = candidates.shape
    places = np.arange(count)
    settled: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while places.size:
        narrowed, dead = _narrow(candidates, box_shape)
        unchanged = (narrowed == candidates).all(axis=(0, 1))
        final = unchanged & ~dead
        if final.any():
            kept = narrowed[:, :, final]
            # Every row, column and box still offers all digits, so single candidates everywhere are a solution.
            settled.append((kept, places[final], _is_single(kept).all(axis=(0, 1))))
        going = ~(unchanged | dead)
        candidates, places = (narrowed, places) if going.all() else (narrowed[:, :, going], places[going])
    if not settled:
        return candidates, places, np.zeros(0, dtype=bool)
    kept, places, solved = zip(*settled, strict=True)
    return np.concatenate(kept, axis=2), np.concatenate(places), np.concatenate(solved)


def search(
    candidates: np.ndarray, box_shape: BoxShape, limit: int | None, budget: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Solutions of boards, by propagation and by trying all candidates of the tightest cell.

    Args:
        candidates: uint16 `[size, size, B]`.
        box_shape: rows and columns of a box.
        limit: leave a board alone once it has this many solutions; None finds all of them.
        budget: most boards to look at, guesses included; None for no bound.

    Returns:
        For `S` solutions the board that each belongs to, int64 `[S]`, and the solutions as candidates with one bit a
        cell, uint16 `[size, size, S]`. A board may exceed `limit` by solutions that were found at the same time.

    Raises:
        SearchBudgetExceeded: if `budget` was spent with boards left to look at.
    """
    size, _, count = candidates.shape
    counts = np.zeros(count, dtype=np.int64)
    stack = [(candidates, np.arange(count))]
    found = [(np.zeros(0, dtype=np.int64), candidates[:, :, :0])]
    # A few boards need little breadth to keep numpy busy, and would only be searched further than necessary.
    width = _BOARDS_AT_ONCE if limit is None else min(_BOARDS_AT_ONCE, 32 + count)
    looked_at = 0
    while stack:
        if budget is not None and looked_at >= budget:
            raise SearchBudgetExceeded(f"no answer after looking at {looked_at} boards")
        boards, owners = _take_from(stack, counts, limit, width)
        looked_at += owners.size
        boards, places, solved = propagate(boards, box_shape)
        owners = owners[places]
        counts += np.bincount(owners[solved], minlength=count)
        found.append((owners[solved], boards[:, :, solved]))
        boards, owners = boards[:, :, ~solved], owners[~solved]
        if owners.size:
            stack.append(_branch(boards, owners))
    owners, solutions = zip(*found, strict=True)
    return np.concatenate(owners), np.concatenate(solutions, axis=2)


def tightest_cell(candidates: np.ndarray) -> np.ndarray:
    """Of boards `[size, size, B]` that are not solved, the first open cell with the fewest candidates, int64 `[B]`."""
    size, _, count = candidates.shape
    options = _POPCOUNT[candidates]
    options[options == 1] = size + 1
    return options.reshape(size * size, count).argmin(axis=0)


def _take_from(
    stack: list[tuple[np.ndarray, np.ndarray]], counts: np.ndarray, limit: int | None, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """The topmost `width` boards of the stack, without those whose owner has enough solutions."""
    taken, total = [], 0
    while stack and total < width:
        boards, owners = stack.pop()
        if limit is not None and (enough := counts[owners] >= limit).any():
            boards, owners = boards[:, :, ~enough], owners[~enough]
        room = width - total
        if owners.size > room:
            stack.append((boards[:, :, :-room], owners[:-room]))
            boards, owners = boards[:, :, -room:], owners[-room:]
        taken.append((boards, owners))
        total += owners.size
    boards, owners = zip(*taken, strict=True)
    return np.concatenate(boards, axis=2), np.concatenate(owners)


def _branch(boards: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One copy of every board for each candidate of its tightest cell."""
    size, _, count = boards.shape
    cells = tightest_cell(boards)
    options = boards.reshape(size * size, count)[cells, np.arange(count)]
    digits, parents = np.nonzero(options & (1 << np.arange(size, dtype=np.uint16))[:, None])
    children = boards[:, :, parents].reshape(size * size, -1)
    children[cells[parents], np.arange(len(parents))] = 1 << digits
    return children.reshape(size, size, -1), owners[parents]


def _narrow(candidates: np.ndarray, box_shape: BoxShape) -> tuple[np.ndarray, np.ndarray]:
    """One round of both rules: new candidates, and bool `[B]` where a contradiction has shown."""
    size, _, count = candidates.shape
    rows, columns = box_shape
    boxed = (size // rows, rows, size // columns, columns, count)

    single = _is_single(candidates)
    known = np.where(single, candidates, np.uint16(0))
    taken = np.bitwise_or.reduce(known, axis=1)[:, None] | np.bitwise_or.reduce(known, axis=0)[None]
    taken_in_box = np.bitwise_or.reduce(known.reshape(boxed), axis=(1, 3))
    taken.reshape(boxed)[...] |= taken_in_box[:, None, :, None]
    narrowed = np.where(single, candidates, candidates & ~taken)

    # Equal single candidates in a unit need no test of their own: once all of its cells are single, the unit lacks
    # another digit, and that is tested.
    in_boxes = narrowed.reshape(boxed)
    once_in_row, lacking_row = _places([narrowed[:, column] for column in range(size)])
    once_in_column, lacking_column = _places([narrowed[row] for row in range(size)])
    once_in_box, lacking_box = _places(
        [in_boxes[:, row, :, column] for row in range(rows) for column in range(columns)]
    )
    once = once_in_row[:, None] | once_in_column[None]
    once.reshape(boxed)[...] |= once_in_box[:, None, :, None]
    hidden = narrowed & once
    # A cell without candidates is a contradiction, and so is one that is the only place of two digits.
    clash = (narrowed == 0) | ~_is_single(hidden)
    dead = lacking_row | lacking_column | lacking_box | clash.any(axis=(0, 1))
    return np.where(hidden > 0, hidden, narrowed), dead


def _places(cells: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of the cells of units, each `[..., B]`: the digits with one place, `[..., B]`; where a digit has none, `[B]`."""
    seen = cells[0]
    again = np.zeros_like(seen)
    for cell in cells[1:]:
        again |= seen & cell
        seen = seen | cell
    lacking = seen != (1 << len(cells)) - 1
    return seen & ~again, lacking.any(axis=tuple(range(lacking.ndim - 1)))


def _is_single(candidates: np.ndarray) -> np.ndarray:
    """Where at most one bit is set."""
    return candidates & (candidates - np.uint16(1)) == 0
