"""Random Sudoku puzzles with exactly one solution, in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from latent_rl.envs.classes import classes
from latent_rl.envs.puzzle import PuzzleError
from latent_rl.envs.sudoku.solver import BoxShape, propagate, search, tightest_cell, to_candidates, to_digits

VERSION = 1
"""Part of the cache key: to be raised when the same seed no longer gives the same puzzles."""

_LARGEST_ENUMERATED = 6  # 6x6 has 39,168 grids with a given first row; 9x9 has 1.8e16
_METROPOLIS_STEPS = 4
_BATCH = 4096
_FEWEST_GIVENS = {4: 4, 6: 8, 9: 17}  # with fewer no Sudoku has one solution
_LEAST_YIELD = 0.002  # new puzzles a draw below which a range of blanks counts as exhausted


def generate(
    count: int,
    box_shape: BoxShape,
    blanks: tuple[int, int],
    rng: np.random.Generator,
    known: Collection[bytes] = frozenset(),
    among: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw different puzzles, each with exactly one solution.

    Givens are taken from a random grid in random order, each only if the solution stays unique (proved by search, not
    by propagation alone), until a number of blanks is reached that is drawn uniformly from `blanks` for each puzzle, or
    until no given can go. Puzzles that end below the range are drawn again.

    Args:
        count: number of puzzles.
        box_shape: rows and columns of a box.
        blanks: least and greatest number of blanks, both included.
        rng: the only source of randomness.
        known: puzzles that are not wanted, the bytes of their digits.
        among: grids that solutions are drawn from, bool over those of `reduced_grids`; all of them by default.

    Returns:
        Puzzles and solutions, digits uint8 `[count, L]`, 0 for a blank.

    Raises:
        PuzzleError: if there seem to be no `count` different puzzles with so many blanks.
    """
    low, high = blanks
    puzzles: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    draws = new = 0
    size = box_shape[0] * box_shape[1]
    if low > size * size - _FEWEST_GIVENS[size]:
        raise _exhausted(0, count, blanks, bool(known))
    for solutions in _grids(box_shape, rng, min(_BATCH, max(64, count + count // 8)), among):
        if len(puzzles) >= count:
            break
        targets = rng.integers(low, high + 1, size=len(solutions))
        givens = _dig(solutions, targets, box_shape, rng)
        before = len(puzzles)
        for given, solution in zip(givens, solutions, strict=True):
            if (given == 0).sum() >= low and given.tobytes() not in known:
                puzzles.setdefault(given.tobytes(), (given, solution))
        draws, new = draws + len(solutions), new + len(puzzles) - before
        if draws >= 5_000:
            if new < _LEAST_YIELD * draws and len(puzzles) < count:
                raise _exhausted(len(puzzles), count, blanks, bool(known))
            draws = new = 0
    kept = list(puzzles.values())[:count]
    return np.stack([given for given, _ in kept]), np.stack([solution for _, solution in kept])


def _exhausted(found: int, count: int, blanks: tuple[int, int], beside_known: bool) -> PuzzleError:
    others = "others " if beside_known else ""
    return PuzzleError(
        f"{found} different puzzles with {blanks[0]} to {blanks[1]} blanks found where {count} {others}were "
        "asked for; ask for fewer puzzles or another range of blanks"
    )


def reduced_grids(box_shape: BoxShape) -> np.ndarray:
    """All solved grids up to 6x6 whose first row is 1, 2, 3, ..., uint8 `[R, L]`: 12 of 4x4, 39,168 of 6x6.

    Relabelling the digits of one gives every grid in exactly one way.

    Raises:
        ValueError: of larger grids, of which there are too many.
    """
    size = box_shape[0] * box_shape[1]
    if size > _LARGEST_ENUMERATED:
        raise ValueError(f"grids of {size}x{size} are too many to list")
    first_row = np.zeros((1, size * size), dtype=np.uint8)
    first_row[0, :size] = np.arange(1, size + 1)
    return to_digits(search(to_candidates(first_row, size), box_shape, limit=None)[1])


def grid_classes(box_shape: BoxShape) -> np.ndarray:
    """The class of each of `reduced_grids` under the symmetries that `Sudoku.augment` draws from, int64 `[R]`.

    Two grids are in one class if relabelling digits, permuting bands, stacks, rows in bands and columns in stacks, and
    transposing, where boxes are square, makes one of the other: 2 classes of 4x4, 49 of 6x6 with boxes of 2x3.
    """
    grids = reduced_grids(box_shape)
    rows, columns = box_shape
    size = rows * columns
    number = {grid.tobytes(): index for index, grid in enumerate(grids)}
    boards = grids.reshape(-1, size, size)
    moved = [boards[:, order] for order in _line_swaps(size, rows)]
    moved += [boards[:, :, order] for order in _line_swaps(size, columns)]
    if rows == columns:
        moved.append(boards.swapaxes(1, 2))
    images = []
    for board in moved:
        flat = board.reshape(len(grids), -1)
        # The first row becomes 1, 2, 3, ... again: digit `flat[0, c]` is called `c + 1`.
        names = np.zeros((len(grids), size + 1), dtype=np.uint8)
        np.put_along_axis(names, flat[:, :size].astype(np.int64), np.arange(1, size + 1, dtype=np.uint8)[None], axis=1)
        again = np.take_along_axis(names, flat.astype(np.int64), axis=1)
        images.append(np.array([number[grid.tobytes()] for grid in again]))
    return classes(images)


def _line_swaps(size: int, group: int) -> Iterator[np.ndarray]:
    """Orders of rows (or columns) that generate all permutations of groups of `group`, and of lines in a group."""
    for line in range(group - 1):
        order = np.arange(size)
        order[[line, line + 1]] = order[[line + 1, line]]
        yield order
    for first in range(0, size - group, group):
        order = np.arange(size)
        order[first : first + 2 * group] = np.roll(order[first : first + 2 * group], group)
        yield order


def _grids(
    box_shape: BoxShape, rng: np.random.Generator, batch: int, among: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Endless batches of solved grids, uint8 `[batch, L]`, drawn from the whole space of grids.

    Up to 6x6 every grid is equally likely: all grids with the first row 1, 2, 3, ... are enumerated, and relabelling
    the digits of one of them, drawn at random, gives every grid in exactly one way. For 9x9 grids come from a few
    Metropolis steps whose stationary distribution is uniform, see `_metropolis`.
    """
    size = box_shape[0] * box_shape[1]
    if size > _LARGEST_ENUMERATED:
        while True:
            yield _metropolis(box_shape, rng, batch)
    reduced = reduced_grids(box_shape)
    if among is not None:
        reduced = reduced[among]
    while True:
        drawn = reduced[rng.integers(len(reduced), size=batch)]
        labels = rng.permuted(np.tile(np.arange(1, size + 1, dtype=np.uint8), (batch, 1)), axis=1)
        yield np.take_along_axis(labels, drawn.astype(np.int64) - 1, axis=1)


def _metropolis(box_shape: BoxShape, rng: np.random.Generator, batch: int) -> np.ndarray:
    """Grids from independence Metropolis steps with the randomised solver as proposal.

    The solver reaches a grid by one sequence of guesses, so its probability is known up to a constant: the product of
    `1 / options` over the guesses. Accepting with min(1, p(current) / p(proposed)) makes the uniform distribution over
    all grids stationary, and a few steps remove most of the solver's own bias.
    """
    current, log_options = _fill(box_shape, rng, batch)
    for _ in range(_METROPOLIS_STEPS):
        proposed, proposed_log_options = _fill(box_shape, rng, batch)
        accepted = np.log(rng.random(batch)) < proposed_log_options - log_options
        current[accepted] = proposed[accepted]
        log_options[accepted] = proposed_log_options[accepted]
    return current


def _fill(box_shape: BoxShape, rng: np.random.Generator, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Grids by propagation and random guesses, uint8 `[batch, L]`, and the log of the product of options they had.

    A board that turns out contradictory starts afresh, which leaves the ratio of any two grids' probabilities as it is.
    """
    size = box_shape[0] * box_shape[1]
    grids = np.zeros((batch, size * size), dtype=np.uint8)
    log_options = np.zeros(batch)
    rows = np.arange(batch)  # where the boards at hand belong
    boards = to_candidates(np.zeros((batch, size * size), dtype=np.uint8), size)
    while rows.size:
        left, places, solved = propagate(boards, box_shape)
        grids[rows[places[solved]]] = to_digits(left[:, :, solved])
        restarted = np.delete(rows, places)
        log_options[restarted] = 0.0
        left, open_rows = left[:, :, ~solved], rows[places[~solved]]
        fresh = to_candidates(np.zeros((len(restarted), size * size), dtype=np.uint8), size)
        boards, rows = np.concatenate([left, fresh], axis=2), np.concatenate([open_rows, restarted])
        if rows.size:
            log_options[rows] += _guess(boards, rng)
    return grids, log_options


def _guess(boards: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Set the tightest cell of each board, in place, to a random candidate; the log of the number of candidates."""
    size, _, count = boards.shape
    flat = boards.reshape(size * size, count)
    cells, columns = tightest_cell(boards), np.arange(count)
    is_option = (flat[cells, columns][:, None] >> np.arange(size, dtype=np.uint16)) & 1
    digits = np.where(is_option, rng.random((count, size)), -1.0).argmax(axis=1)
    flat[cells, columns] = 1 << digits
    return np.log(is_option.sum(axis=1))


def _dig(solutions: np.ndarray, targets: np.ndarray, box_shape: BoxShape, rng: np.random.Generator) -> np.ndarray:
    """Take givens from grids `[B, L]` in random order until `targets` `[B]` blanks, as far as solutions stay unique."""
    count, cell_count = solutions.shape
    size = box_shape[0] * box_shape[1]
    full = (1 << size) - 1
    order = rng.random((cell_count, count)).argsort(axis=0)
    bits = to_candidates(solutions, size).reshape(cell_count, count)
    candidates = bits.copy()
    blanks = np.zeros(count, dtype=np.int64)
    for cells in order:
        going = np.flatnonzero(blanks < targets)
        cells = cells[going]
        # The puzzle so far has one solution. Without this given it still has, unless one holds another digit here.
        others = candidates[:, going]
        others[cells, np.arange(len(going))] = full & ~bits[cells, going]
        owners, _ = search(others.reshape(size, size, -1), box_shape, limit=1)
        unique = np.ones(len(going), dtype=bool)
        unique[owners] = False
        candidates[cells[unique], going[unique]] = full
        blanks[going[unique]] += 1
    return np.where(candidates.T == full, 0, solutions)
