"""Does the value head know what it knows? Reliability of "the answer is right now", and expected calibration error."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 10
"""Bins of equal width over confidences 0 to 1."""


def reliability(confidence: Tensor, *outcomes: Tensor) -> list[list[float]]:
    """A reliability diagram: how often things came true, by how likely they were held to be.

    Args:
        confidence: float `[N]`, in [0, 1].
        outcomes: float or bool `[N]` each, whether it came true.

    Returns:
        One row for every bin: the number of cases, their mean confidence, and the share of each outcome; zeros where
        there are no cases.
    """
    bins = (confidence.double() * BINS).long().clamp(max=BINS - 1)
    columns = [torch.ones_like(confidence), confidence, *outcomes]
    sums = torch.stack([torch.zeros(BINS).double().index_add_(0, bins, column.double()) for column in columns])
    return torch.cat((sums[:1], sums[1:] / sums[0].clamp(min=1))).T.tolist()


def expected_calibration_error(rows: list[list[float]], outcome: int = 0) -> float:
    """Mean distance between confidence and outcome over the bins of `reliability`, weighted by their cases."""
    cases = sum(row[0] for row in rows)
    return sum(row[0] * abs(row[1] - row[2 + outcome]) for row in rows) / max(cases, 1)
