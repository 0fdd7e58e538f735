"""Splits by solution: whole classes of solutions that are images of each other under a puzzle's symmetries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SplitBy = Literal["puzzle", "solution"]
"""What training and test set do not share: puzzles, or also solutions, up to symmetry."""

HELD_OUT = 0.1
"""Share of all solutions that is at least held out for the test set: whole classes, as few as reach it."""

_STREAM = 2
"""Beside the seed, what classes are drawn with; training and validation set are drawn with others."""


def classes(images: Sequence[np.ndarray]) -> np.ndarray:
    """The class of each of `S` solutions, int64 `[S]`, numbered from 0.

    Args:
        images: for each of some symmetries that generate all of them, the number of each solution's image, int64 `[S]`.
    """
    count = len(images[0])
    edges = np.concatenate([np.stack((np.arange(count), image)) for image in images], axis=1)
    graph = coo_array((np.ones(edges.shape[1], dtype=bool), (edges[0], edges[1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def held_out(class_of: np.ndarray, seed: int) -> np.ndarray:
    """Which solutions are for the test set, bool `[S]`: random whole classes, at least `HELD_OUT` of all, never all."""
    sizes = np.bincount(class_of)
    order = np.random.default_rng([seed, _STREAM]).permutation(len(sizes))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), HELD_OUT * len(class_of))) + 1
    return np.isin(class_of, order[: min(enough, len(sizes) - 1)])
