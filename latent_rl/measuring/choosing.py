"""How a way to stop is chosen, always on validation puzzles: the cheapest that is about as good as not stopping."""

from __future__ import annotations

from collections.abc import Sequence

OWN_ACCURACY_TOLERANCE = 0.005
"""How far below the accuracy of all steps an earlier stop may lie to count as the same accuracy."""


def cheapest(passes: Sequence[float], accuracies: Sequence[float], full: float) -> int | None:
    """Number of the cheapest of several ways to stop whose accuracy is within the tolerance of `full`; None if none is.

    Args:
        passes: network passes a puzzle of each way.
        accuracies: of each way, shares in [0, 1].
        full: accuracy of all steps.
    """
    # Rounding must not decide whether exactly 0.5 points below counts.
    enough = full - OWN_ACCURACY_TOLERANCE - 1e-9
    good = [number for number, accuracy in enumerate(accuracies) if accuracy >= enough]
    return min(good, key=lambda number: passes[number], default=None)
