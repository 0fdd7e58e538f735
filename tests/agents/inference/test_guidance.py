"""Proposition 4.1 of DIS, checked against autograd, and what follows from it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from latent_rl.agents import advantage_margin, cell_margin, guided_logits, is_dead, likelihood_gain
from latent_rl.agents.targets import IGNORE


@st.composite
def steps(draw):
    """Logits before and after a step, `[B, L, V]` in float64, and a solution with ignored cells, `[B, L]`."""
    rows, cells, tokens = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(2, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.01, 1.0, 10.0]))
    before, after = scale * torch.randn(2, rows, cells, tokens, generator=generator, dtype=torch.float64)
    solution = torch.randint(tokens, (rows, cells), generator=generator)
    solution[torch.rand(rows, cells, generator=generator) < 0.3] = IGNORE
    return before, after, solution


def mean_cross_entropy(logits, solution):
    cells = F.cross_entropy(logits.flatten(0, 1), solution.flatten(), ignore_index=IGNORE, reduction="none")
    return cells.view_as(solution).sum(-1) / (solution != IGNORE).sum(-1).clamp(min=1)


weights = st.floats(-1.0, 3.0)


@given(steps(), weights)
def test_the_margin_is_minus_the_derivative_of_the_loss(step, weight):
    before, after, solution = step
    w = torch.tensor(weight, dtype=torch.float64, requires_grad=True)
    logits = before + w * (after - before)
    for row, margin in enumerate(advantage_margin(before, after, solution, weight)):
        (slope,) = torch.autograd.grad(mean_cross_entropy(logits, solution)[row], w, retain_graph=True)
        torch.testing.assert_close(margin, -slope, rtol=1e-9, atol=1e-9)


@given(steps(), weights, weights)
def test_the_margin_falls_along_the_guidance_and_encloses_the_gain(step, one, other):
    low, high = sorted((one, other))
    assert (advantage_margin(*step, low) >= advantage_margin(*step, high) - 1e-9).all()
    gain = likelihood_gain(*step)
    assert (advantage_margin(*step, 1.0) <= gain + 1e-9).all()
    assert (gain <= advantage_margin(*step, 0.0) + 1e-9).all()


@given(steps())
def test_the_gain_is_the_loss_before_less_the_loss_after(step):
    before, after, solution = step
    expected = mean_cross_entropy(before, solution) - mean_cross_entropy(after, solution)
    torch.testing.assert_close(likelihood_gain(*step), expected)


@given(steps(), weights)
def test_a_shift_of_all_logits_is_no_step(step, weight):
    before, after, solution = step
    shift = torch.randn(*solution.shape, 1, dtype=before.dtype)
    torch.testing.assert_close(
        cell_margin(before, after + shift, solution, weight), cell_margin(before, after, solution, weight)
    )
    assert advantage_margin(before, before + shift, solution, weight).abs().max() < 1e-9


def test_by_hand():
    # Two tokens, even odds before; the step moves token 0 up by 2. E dl = 1 before, so the margins are +1 and -1.
    before, after = torch.zeros(1, 3, 2), torch.tensor([[[2.0, 0.0]] * 3])
    solution = torch.tensor([[0, 1, IGNORE]])
    assert cell_margin(before, after, solution).tolist() == [[1.0, -1.0, 0.0]]
    assert advantage_margin(before, after, solution).tolist() == [0.0]
    assert advantage_margin(before, after, torch.full((1, 3), IGNORE)).tolist() == [0.0]


@pytest.mark.parametrize("gap", [15.0, 30.0, 60.0])
def test_the_sign_survives_where_the_policy_is_sure(gap):
    # softmax gives the right token 1.0 in float32; what remains of the margin is the share of the other two tokens.
    torch.manual_seed(0)
    before = torch.tensor([gap, 0.0, -1.0]) + 0.1 * torch.randn(1, 200, 3)
    after = before + 5 * torch.randn(1, 200, 3)
    solution = torch.zeros(1, 200, dtype=torch.int64)
    exact = cell_margin(before.double(), after.double(), solution)
    torch.testing.assert_close(cell_margin(before, after, solution).double(), exact, rtol=1e-2, atol=0.0)


def test_guidance():
    torch.manual_seed(0)
    before, after = torch.randn(2, 2, 5, 4)
    assert torch.equal(guided_logits(before, after, 0.0), before)
    assert torch.equal(guided_logits(before, after, 1.0), after)
    torch.testing.assert_close(guided_logits(before, after, 2.5), before + 2.5 * (after - before))
    per_cell = torch.rand(2, 5, 1)
    torch.testing.assert_close(guided_logits(before, after, per_cell), before + per_cell * (after - before))


def test_shapes_that_do_not_fit_are_named():
    logits, solution = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)
    for function in (advantage_margin, likelihood_gain):
        with pytest.raises(ValueError, match=r"\(2, 3, 4\).*\(1, 3, 4\)"):
            function(logits, logits[:1], solution)
        with pytest.raises(ValueError, match=r"\(2, 3, 4\).*\(1, 3\)"):
            function(logits, logits, solution[:1])


def test_a_step_that_only_trembles_is_dead_and_a_small_gain_is_not() -> None:
    solution = torch.tensor([[1, 2], [1, 2]])
    reference = torch.zeros(2, 2, 4)
    step = torch.zeros(2, 2, 4)
    step[0, :, 3] = -1e-6  # raises the margin by rounding error only
    step[1, :, 3] = -1e-2
    margin = advantage_margin(reference, reference + step, solution)
    assert (margin > 0).all()
    assert is_dead(margin).tolist() == [True, False]
    assert is_dead(torch.tensor([-1.0, 0.0])).all()
