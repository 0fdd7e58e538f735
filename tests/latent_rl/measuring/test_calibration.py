"""Reliability by hand."""

from __future__ import annotations

import pytest
import torch

from latent_rl.measuring.calibration import expected_calibration_error, reliability


def test_bins_by_hand() -> None:
    rows = reliability(torch.tensor([0.0, 0.05, 0.31, 0.39, 1.0]), torch.tensor([0, 1, 1, 0, 1]))
    assert len(rows) == 10
    assert rows[0] == pytest.approx([2, 0.025, 0.5]) and rows[3] == pytest.approx([2, 0.35, 0.5])
    assert rows[9] == [1, 1, 1] and rows[5] == [0, 0, 0]
    assert expected_calibration_error(rows) == pytest.approx((2 * 0.475 + 2 * 0.15) / 5)


def test_a_calibrated_forecaster_has_no_error_and_an_overconfident_one_has() -> None:
    generator = torch.Generator().manual_seed(0)
    sure = torch.rand(200_000, generator=generator)
    true = torch.rand(200_000, generator=generator) < sure
    rows = reliability(sure, true, ~true)
    assert expected_calibration_error(rows) < 0.005
    assert expected_calibration_error(rows, outcome=1) == pytest.approx(0.5, abs=0.01)
