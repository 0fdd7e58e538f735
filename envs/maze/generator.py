"""Random mazes with a long shortest path: fields of random walls, drawn until enough of them are hard enough.

Walls stand on each cell independently, as in the mazes that Maze-Hard was selected from, and most such fields are
easy. So thousands of fields are flooded at once, one bit of a machine word each, and only the few that can hold a path
of the wanted length are looked at closer.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from latent_rl.envs.maze.paths import distances, only_one_way, shortest_paths

VERSION = 1
"""Part of a cached set's identity; raise it when the same seed gives other mazes."""

_WALLS = (0.30, 0.50)
"""Share of walls, drawn uniformly for every field."""

_FIELDS_AT_ONCE = 4096
_FIELDS_BEFORE_FIRST, _FIELDS_PER_MAZE = 1_000_000, 200_000
"""Patience: give up once more fields than the first plus so many a maze found have been drawn."""


class TooFewMazesError(Exception):
    """The patience ran out. `found` mazes were found, and the longest shortest path seen has `longest` moves."""

    def __init__(self, found: int, longest: int) -> None:
        super().__init__(f"{found} mazes found, longest shortest path {longest}")
        self.found, self.longest = found, longest


def generate(
    rows: int,
    columns: int,
    count: int,
    min_path: int,
    unique: bool,
    rng: np.random.Generator,
    known: Collection[bytes] = frozenset(),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mazes whose shortest path has at least `min_path` moves, all different, also if turned or mirrored.

    With `unique`, no maze has a second shortest path. `known` holds mazes that are not wanted, as `canonical` has them.

    Returns:
        bool `[count, rows, columns]` walls, int64 `[count, 2]` cells of start and goal in reading order, and
        bool `[count, rows, columns]` the cells of a shortest path, both ends left out.

    Raises:
        TooFewMazesError: if there are too few such mazes, or they are too rare to be found.
    """
    found: dict[bytes, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    fields, longest = 0, 0
    while len(found) < count:
        if fields > _FIELDS_BEFORE_FIRST + _FIELDS_PER_MAZE * len(found):
            raise TooFewMazesError(len(found), longest)
        walls, start, reach = _candidates(rows, columns, min_path, rng)
        fields, longest = fields + _FIELDS_AT_ONCE, max(longest, reach)
        if not len(walls):
            continue
        walls, ends, paths = _goals_and_paths(walls, start, min_path, unique, rng)
        for maze in zip(walls, ends, paths, strict=True):
            key = canonical(*maze[:2])
            if key not in known:
                found.setdefault(key, maze)
    walls, ends, paths = (np.stack(parts) for parts in zip(*list(found.values())[:count], strict=True))
    return walls, ends, paths


def _candidates(rows: int, columns: int, min_path: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """Of many random fields those with a cell at least `min_path` moves from the start, and the start; the longest."""
    count, cells = _FIELDS_AT_ONCE, rows * columns
    noise = np.frombuffer(rng.bytes(cells * count), dtype=np.uint8).reshape(cells, count)
    free = noise >= rng.uniform(256 * _WALLS[0], 256 * _WALLS[1], size=count)
    start = rng.integers(cells, size=count)
    free[start, np.arange(count)] = True
    reach, farthest = _flood(free, start, rows, columns)
    longest = int(reach.max())
    done = reach >= min_path
    # Two cells are at most twice as far from each other as the farthest cell is from here; where that might do, start
    # again from the farthest cell, which is nearly always an end of the longest shortest path.
    again = np.flatnonzero(~done & (2 * reach >= min_path))
    if len(again):
        reach, _ = _flood(free[:, again], farthest[again], rows, columns)
        longest = max(longest, int(reach.max()))
        again = again[reach >= min_path]
        start[again] = farthest[again]
        done[again] = True
    return ~free[:, done].T.reshape(-1, rows, columns), start[done], longest


def _flood(free: np.ndarray, start: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The moves to the farthest cell that can be reached, int64 `[B]`, and that cell, for fields `[cells, B]`."""
    count = len(start)
    source = np.zeros_like(free)
    source[start, np.arange(count)] = True
    free_bits, frontier = (_pack(field).reshape(rows, columns, -1) for field in (free, source))
    reached, last = frontier.copy(), frontier.copy()
    reach = np.zeros(frontier.shape[-1] * 64, dtype=np.int64)
    for step in range(1, rows * columns):
        grown = np.zeros_like(frontier)
        grown[1:] |= frontier[:-1]
        grown[:-1] |= frontier[1:]
        grown[:, 1:] |= frontier[:, :-1]
        grown[:, :-1] |= frontier[:, 1:]
        frontier = grown & free_bits & ~reached
        alive = np.bitwise_or.reduce(frontier, axis=(0, 1))  # a bit a field
        if not alive.any():
            break
        reached |= frontier
        last = (last & ~alive) | frontier
        reach[_unpack(alive)] = step
    return reach[:count], _unpack(last.reshape(rows * columns, -1)).argmax(0)[:count]


def _pack(fields: np.ndarray) -> np.ndarray:
    """Booleans `[cells, B]` to uint64 `[cells, ceil(B / 64)]`, the last word filled up with zeros."""
    padded = np.pad(fields, ((0, 0), (0, -fields.shape[1] % 64)))
    return np.ascontiguousarray(np.packbits(padded, axis=1)).view(np.uint64)


def _unpack(words: np.ndarray) -> np.ndarray:
    """The inverse of `_pack` along the last axis."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1).astype(bool)


def _goals_and_paths(
    walls: np.ndarray, start: np.ndarray, min_path: int, unique: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Walls with a goal drawn uniformly from the cells that qualify, ends swapped in half the mazes, and their path."""
    count = len(walls)
    source = np.zeros((count, walls[0].size), dtype=bool)
    source[np.arange(count), start] = True
    steps = distances(torch.from_numpy(~walls), torch.from_numpy(source.reshape(walls.shape)))
    qualify = steps >= min_path
    if unique:
        qualify &= only_one_way(steps)
    qualify = qualify.view(count, -1).numpy()
    some = qualify.any(1)
    walls, start, steps, qualify = walls[some], start[some], steps[torch.from_numpy(some)], qualify[some]
    goal = np.where(qualify, rng.random(qualify.shape), -1.0).argmax(1)
    paths = shortest_paths(steps, torch.from_numpy(goal)).numpy()
    ends = np.stack((start, goal), axis=1)
    swapped = rng.random(len(walls)) < 0.5
    ends[swapped] = ends[swapped, ::-1]
    return walls, ends, paths


def canonical(walls: np.ndarray, ends: np.ndarray) -> bytes:
    """The same bytes for a maze and for all its images under the symmetries of its board."""
    board = walls.astype(np.uint8)
    board.ravel()[ends] = 2, 3
    turns = range(4) if board.shape[0] == board.shape[1] else (0, 2)
    turned = [np.rot90(board, turn) for turn in turns]
    return min(image.tobytes() for one in turned for image in (one, one[:, ::-1]))
