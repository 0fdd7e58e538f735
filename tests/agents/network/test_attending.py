"""Attention with a backward pass of its own, against the formula that automatic differentiation walks through."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from latent_rl.agents.network import attending
from latent_rl.agents.network.attending import attention_norm
from latent_rl.agents.network.blocks import rotary_table

BATCH, LENGTH, HEADS, WIDTH = 3, 5, 2, 8
Rotary = tuple[Tensor, Tensor] | None


def operands(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(BATCH, LENGTH, WIDTH), (3 * WIDTH, WIDTH), (WIDTH, WIDTH)]
    return tuple(torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes)


@pytest.fixture(params=[True, False], ids=["rotary", "plain"])
def rotary(request: pytest.FixtureRequest) -> Rotary:
    return tuple(part.double() for part in rotary_table(LENGTH, WIDTH // HEADS)) if request.param else None


def plain(x: Tensor, qkv: Tensor, out: Tensor, rotary: Rotary) -> Tensor:
    """Every head on its own, scores and positions written out."""
    mixed = []
    for head in range(HEADS):
        rows = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
        query, key, value = (F.linear(x, part[rows]) for part in qkv.chunk(3))
        if rotary is not None:
            cos, sin = rotary
            half = WIDTH // HEADS // 2

            def turned(one: Tensor, cos: Tensor = cos, sin: Tensor = sin, half: int = half) -> Tensor:
                return one * cos + torch.cat((-one[..., half:], one[..., :half]), dim=-1) * sin

            query, key = turned(query), turned(key)
        mixed.append((query @ key.mT / (WIDTH // HEADS) ** 0.5).softmax(-1) @ value)
    return F.rms_norm(x + F.linear(torch.cat(mixed, dim=-1), out), (WIDTH,), eps=1e-5)


def test_attention_is_its_formula_and_so_is_its_gradient(rotary: Rotary) -> None:
    given = operands()
    torch.testing.assert_close(attention_norm(*given, HEADS, rotary), plain(*given, rotary))
    assert torch.autograd.gradcheck(lambda *tensors: attention_norm(*tensors, HEADS, rotary), given)


def test_without_gradient_it_is_the_same(rotary: Rotary) -> None:
    given = operands()
    with torch.no_grad():
        torch.testing.assert_close(attention_norm(*given, HEADS, rotary), plain(*given, rotary))


@pytest.mark.parametrize("way", ["compiled", "large"])
def test_where_it_is_left_to_others_it_is_the_same(rotary: Rotary, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = operands()
    expected = attention_norm(*given, HEADS, rotary)
    gradients = torch.autograd.grad(expected[0, :2].sum(), given)
    if way == "compiled":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    else:
        monkeypatch.setattr(attending, "LARGEST_TABLE", BATCH * HEADS * LENGTH**2 - 1)
    found = attention_norm(*given, HEADS, rotary)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found[0, :2].sum(), given), gradients)


def test_in_bfloat16_it_stays_bfloat16(rotary: Rotary) -> None:
    given = operands()
    half = [one.detach().bfloat16().requires_grad_() for one in given]
    turned = None if rotary is None else tuple(part.bfloat16() for part in rotary)
    out = attention_norm(*half, HEADS, turned)
    out.sum().backward()
    assert out.dtype == torch.bfloat16 and all(one.grad.dtype == torch.bfloat16 for one in half)
    torch.testing.assert_close(out.double(), plain(*given, rotary), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("table", ["small", "large"])
def test_in_half_precision_the_kernel_that_is_slow_back_is_left_out(
    rotary: Rotary, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, where there is a way back and the board is small; else the kernel is the better one."""
    given = operands(torch.bfloat16)
    turned = None if rotary is None else tuple(part.bfloat16() for part in rotary)
    calls = []
    kernel = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *parts: calls.append(1) or kernel(*parts))
    if table == "large":
        monkeypatch.setattr(attending, "LARGEST_TABLE", BATCH * HEADS * LENGTH**2 - 1)
    out = attention_norm(*given, HEADS, turned)
    assert len(calls) == (table == "large")
    exact = [one.detach().double().requires_grad_() for one in given]
    expected = torch.autograd.grad(plain(*exact, rotary)[0, :2].sum(), exact)
    for found, right in zip(torch.autograd.grad(out[0, :2].sum(), given), expected, strict=True):
        assert F.cosine_similarity(found.double().flatten(), right.flatten(), dim=0) > 0.995
    with torch.no_grad():
        torch.testing.assert_close(attention_norm(*given, HEADS, turned), out, rtol=0.05, atol=0.05)
    assert len(calls) == 1 + (table == "large")


def test_nothing_that_was_given_or_saved_is_written_to(rotary: Rotary) -> None:
    given = operands()
    before = [one.detach().clone() for one in given]
    out = attention_norm(*given, HEADS, rotary)
    gradient = torch.ones_like(out)
    first = torch.autograd.grad(out, given, gradient, retain_graph=True)
    assert all(map(torch.equal, first, torch.autograd.grad(out, given, gradient)))
    assert all(map(torch.equal, given, before)) and bool((gradient == 1).all())
