"""Which puzzles a model solves: accuracies by what is known of the puzzles beside their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from latent_rl.errors import UserError

MOST_KINDS = 10
"""Where labels are numbers and there are more of them, kinds are the quarters between their quartiles."""


@dataclass(frozen=True)
class Kind:
    """The puzzles of one kind: their number, and shares in [0, 1] as in an evaluation."""

    name: str
    puzzles: int
    exact_accuracy: float
    solved_rate: float
    cell_accuracy: float


def by_kind(scores: Tensor, labels: Sequence[str]) -> list[Kind]:
    """Accuracies of the puzzles of each kind, kinds in the order of their names or numbers.

    Args:
        scores: float `[3, N]`, whether each puzzle is exactly right and solved, and its share of right cells.
        labels: of the `N` puzzles.

    Raises:
        UserError: if there are too many kinds that are no numbers.
    """
    found = []
    for name, members in _kinds(labels):
        exact, solved, cells = scores[:, members].double().mean(1).tolist()
        found.append(Kind(name, len(members), exact, solved, cells))
    return found


def _kinds(labels: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    names, kind = np.unique(np.array(labels), return_inverse=True)
    try:
        numbers = names.astype(float)
    except ValueError:
        if len(names) > MOST_KINDS:
            raise UserError(f"{len(names)} kinds, such as {str(names[0])!r}: too many for a table") from None
        return [(str(name), np.flatnonzero(kind == number)) for number, name in enumerate(names)]
    if len(names) <= MOST_KINDS:
        return [(str(names[number]), np.flatnonzero(kind == number)) for number in np.argsort(numbers)]
    values = numbers[kind]
    # Values on a quartile belong to the quarter below it; equal quartiles leave a quarter out.
    bounds = np.unique(np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf"))
    quarter = np.searchsorted(bounds, values)
    members = [np.flatnonzero(quarter == number) for number in range(len(bounds) + 1)]
    return [(f"{values[rows].min():g} to {values[rows].max():g}", rows) for rows in members if len(rows)]
