"""Solutions of the N-Queens problem: all of them, random ones, and whether given queens can be completed.

A solution is an array `[N]`: the column of the queen in every row, all counted from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np

_TEMPERATURE = 0.25  # of the random search, in conflicts; of 0.25, 0.35 and 0.5 the fastest for N = 16, 24, 32


@lru_cache(maxsize=4)
def all_solutions(size: int) -> np.ndarray:
    """All solutions in lexicographic order, int64 `[S, N]`; for N up to 10 a matter of milliseconds."""

    def extend(columns: tuple[int, ...], taken: int, falling: int, rising: int) -> Iterator[tuple[int, ...]]:
        # Sets of attacked columns of the next row, as bits: straight, and along the two diagonals.
        if len(columns) == size:
            yield columns
            return
        for column in range(size):
            bit = 1 << column
            if not (taken | falling | rising) & bit:
                yield from extend((*columns, column), taken | bit, (falling | bit) << 1, (rising | bit) >> 1)

    solutions = np.array(list(extend((), 0, 0, 0)), dtype=np.int64)
    solutions.setflags(write=False)  # the cache hands out the same array to everyone
    return solutions


def random_solutions(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random solutions, int64 `[count, N]`, for boards of any size.

    Metropolis search over permutations: swap the queens of two rows, always if that leaves no more conflicts, and with
    probability `exp(-increase / temperature)` otherwise. At a fixed temperature all solutions are equally likely in
    the long run; each search stops at the first it meets, so they are so only approximately.
    """
    boards = rng.permuted(np.tile(np.arange(size), (count, 1)), axis=1)
    open_ones = np.arange(count)
    work, energy = boards, _conflicts(boards)
    while True:
        boards[open_ones] = work
        unsolved = energy > 0
        if not unsolved.any():
            return boards
        open_ones, work, energy = open_ones[unsolved], work[unsolved], energy[unsolved]
        for _ in range(size):  # solved boards are set aside once every N swaps
            work, energy = _swap(work, energy, rng)


def _swap(boards: np.ndarray, energy: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One Metropolis step on every unsolved board of `boards` `[B, N]`."""
    count, size = boards.shape
    rows = np.arange(count)
    first = rng.integers(size, size=count)
    second = (first + rng.integers(1, size, size=count)) % size
    proposal = boards.copy()
    proposal[rows, first], proposal[rows, second] = boards[rows, second], boards[rows, first]
    proposed = _conflicts(proposal)
    accepted = rng.random(count) < np.exp((energy - proposed) / _TEMPERATURE)
    accepted &= energy > 0
    return np.where(accepted[:, None], proposal, boards), np.where(accepted, proposed, energy)


def _conflicts(boards: np.ndarray) -> np.ndarray:
    """How many queens share a diagonal with one in an earlier row, counted once a diagonal; int64 `[B]`."""
    count, size = boards.shape
    rows, lines = np.arange(size), 2 * size - 1
    start = (np.arange(count) * lines)[:, None]
    energy = np.full(count, 2 * size)
    for diagonal in (boards + rows, boards - rows + size - 1):
        taken = np.bincount((start + diagonal).ravel(), minlength=count * lines).reshape(count, lines) > 0
        energy -= taken.sum(1)
    return energy


def can_complete(size: int, queens: Mapping[int, int], nodes: int) -> bool | None:
    """Whether queens (row to column, none attacking another) belong to a solution; None if undecided after `nodes`.

    Depth-first search that fills the row with the fewest free columns first.
    """
    free = {row: (1 << size) - 1 for row in range(size) if row not in queens}
    for row, column in queens.items():
        free = _without_attacked(free, row, column)
    stack = [free]
    for _ in range(nodes):
        if not stack:
            return False
        free = stack.pop()
        if not free:
            return True
        row = min(free, key=lambda row: bin(free[row]).count("1"))
        rest = {other: columns for other, columns in free.items() if other != row}
        stack += [_without_attacked(rest, row, column) for column in range(size) if free[row] >> column & 1]
    return None


def _without_attacked(free: dict[int, int], row: int, column: int) -> dict[int, int]:
    """The free columns of every row, as bits, after a queen has been placed."""
    bit = 1 << column
    return {
        other: columns & ~(bit | bit << abs(other - row) | bit >> abs(other - row)) for other, columns in free.items()
    }
