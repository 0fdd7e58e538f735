"""The formulas with backward passes of their own, against the ones that automatic differentiation makes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from latent_rl.agents.network import fused
from latent_rl.agents.network.fused import NORM_EPS, gated_norm, rms_norm

FEATURES, INNER, OTHERS = 6, 5, 4


def operands(dim: int, dtype: torch.dtype = torch.float64, others: int = OTHERS) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(others, FEATURES) if dim else (FEATURES, others), (2 * INNER, FEATURES), (FEATURES, INNER)]
    return tuple(torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes)


def plain(x: Tensor, gate_up: Tensor, down: Tensor, dim: int) -> Tensor:
    rows = x if dim else x.t()
    gate, up = F.linear(rows, gate_up).chunk(2, dim=-1)
    out = rows + F.linear(F.silu(gate) * up, down)
    out = F.rms_norm(out, out.shape[-1:], eps=NORM_EPS)
    return out if dim else out.t()


@pytest.mark.parametrize("dim", [0, 1])
def test_a_gated_norm_is_its_formula_and_so_is_its_gradient(dim: int) -> None:
    given = operands(dim)
    torch.testing.assert_close(gated_norm(*given, dim), plain(*given, dim))
    assert torch.autograd.gradcheck(lambda *tensors: gated_norm(*tensors, dim), given)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("others", [1, 64, 65, 200])
def test_a_gradient_in_parts_is_that_of_the_whole(dim: int, others: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "PART", 1)  # as few rows at a time as there can be
    given = operands(dim, others=others)
    gradient = torch.randn(given[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = torch.autograd.grad(gated_norm(*given, dim), given, gradient)
    torch.testing.assert_close(found, torch.autograd.grad(plain(*given, dim), given, gradient))
    with torch.no_grad():
        torch.testing.assert_close(gated_norm(*given, dim), plain(*given, dim))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_a_norm_is_its_formula_and_so_is_its_gradient(dim: int) -> None:
    x = operands(1)[0]
    expected = F.rms_norm(x.movedim(dim, -1), (x.shape[dim],), eps=NORM_EPS).movedim(-1, dim)
    torch.testing.assert_close(rms_norm(x, dim), expected)
    assert torch.autograd.gradcheck(lambda x: rms_norm(x, dim), [x])


def test_nothing_that_was_given_or_saved_is_written_to() -> None:
    given = operands(1)
    before = [tensor.detach().clone() for tensor in given]
    out = gated_norm(*given)
    gradient = torch.ones_like(out)
    first = torch.autograd.grad(out, given, gradient, retain_graph=True)
    assert all(map(torch.equal, first, torch.autograd.grad(out, given, gradient)))
    assert all(map(torch.equal, given, before)) and bool((gradient == 1).all())


@pytest.mark.parametrize("dim", [0, 1])
def test_in_bfloat16_features_stay_bfloat16_and_the_norm_is_taken_in_float32(dim: int) -> None:
    given = operands(dim, torch.float32)
    half = [tensor.detach().bfloat16().requires_grad_() for tensor in given]
    out = gated_norm(*half, dim)
    out.sum().backward()
    assert out.dtype == torch.bfloat16 and all(tensor.grad.dtype == torch.bfloat16 for tensor in half)
    torch.testing.assert_close(out.float(), plain(*given, dim), rtol=0.05, atol=0.05)
    # The sum of 4,096 squares, which bfloat16 would lose count of.
    many = torch.ones(4096, dtype=torch.bfloat16)
    assert bool((rms_norm(many) == 1).all())


@pytest.mark.parametrize("dim", [0, 1])
def test_a_compiler_is_given_the_same_formulas(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = operands(dim)
    out = gated_norm(*given, dim)
    gradients = torch.autograd.grad(out.square().sum() + out[0].sum(), given)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    compiled = gated_norm(*given, dim)
    torch.testing.assert_close(compiled, out)
    torch.testing.assert_close(torch.autograd.grad(compiled.square().sum() + compiled[0].sum(), given), gradients)


@pytest.mark.parametrize("dim", [0, 1])
def test_under_autocast_they_learn_too(dim: int) -> None:
    """Whoever writes a loop of their own may use it; it changes dtypes in the middle of a formula."""
    given = operands(dim, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        out = gated_norm(*given, dim)
    out.float().sum().backward()
    assert all(torch.isfinite(one.grad).all() and one.grad.dtype == torch.float32 for one in given)
