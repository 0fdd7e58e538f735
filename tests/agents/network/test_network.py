from __future__ import annotations

import pytest
import torch
from small import CELLS, TOKENS, WIDTH, small_batch, small_reasoner

from latent_rl.agents import ReasonerConfig, RecursiveReasoner
from latent_rl.agents.network.blocks import BoardConvolution

VARIANTS = {
    "attention": {},
    "mlp": {"mixer": "mlp", "positions": "none"},
    "learned positions": {"positions": "learned"},
    "no front": {"puzzle_positions": 0},
    "puzzle embedding": {"puzzle_positions": 2, "puzzle_embedding_width": 12, "num_puzzle_ids": 3},
    "convolution": {"kernel": 3, "grid_shape": (1, CELLS), "positions": "none"},
    "steps, own answer": {"step_embedding_steps": 4, "feed": "answer"},
}


def take_step(reasoner, batch):
    return reasoner.step(*(batch[key] for key in ("inputs", "puzzle_id", "y", "z", "step")))


def gradients(reasoner, output):
    reasoner.zero_grad()
    (output.logits.square().mean() + output.q.square().mean()).backward()
    return {name: weight.grad.clone() for name, weight in reasoner.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_shapes_passes_and_rows(changes):
    reasoner = small_reasoner(**changes)
    batch = small_batch(3, reasoner=reasoner)
    passes = []
    reasoner.network.register_forward_hook(lambda module, args, output: passes.append(len(output)))
    output = take_step(reasoner, batch)
    assert output.y.shape == output.z.shape == (3, reasoner.config.length, WIDTH)
    assert output.logits.shape == (3, CELLS, TOKENS) and output.q.shape == (3, 2)
    assert passes == [3] * reasoner.config.passes_per_step
    for row in range(3):
        alone = take_step(reasoner, batch[row : row + 1])
        for together, single in zip(output, alone, strict=True):
            # Kernels choose their order of summation by the batch size.
            torch.testing.assert_close(together[row : row + 1], single, rtol=0, atol=2e-4)


@pytest.mark.parametrize("changes", [VARIANTS["attention"], VARIANTS["mlp"]], ids=["attention", "mlp"])
def test_only_the_last_cycle_carries_gradient(changes):
    """A step of two cycles has the gradient of a one-cycle step that starts where the first cycle ended."""
    two, one = small_reasoner(cycles=2, **changes), small_reasoner(cycles=1, **changes)
    batch = small_batch(3)
    whole = take_step(two, batch)
    with torch.no_grad():
        first = take_step(one, batch)
    second = take_step(one, batch.copy().update({"y": first.y, "z": first.z}))
    for ours, theirs in zip(whole, second, strict=True):
        assert torch.equal(ours, theirs)
    ours, theirs = gradients(two, whole), gradients(one, second)
    assert ours.keys() == theirs.keys() and "network.blocks.0.mlp.down.weight" in ours
    for name, gradient in ours.items():
        assert torch.equal(gradient, theirs[name]), name


@pytest.mark.parametrize("cycles", [1, 2])
def test_no_gradient_reaches_the_latents_before(cycles):
    reasoner, batch = small_reasoner(cycles=cycles), small_batch(2)
    batch["y"].requires_grad_()
    batch["z"].requires_grad_()
    output = take_step(reasoner, batch)
    (output.y.sum() + output.z.sum() + output.logits.sum()).backward()
    assert batch["y"].grad is None and batch["z"].grad is None


def test_the_convolution_looks_around_on_the_board_and_leaves_the_front_alone():
    layer = BoardConvolution(features=2, kernel=3, grid_shape=(3, 4))
    with torch.no_grad():
        layer.depthwise.weight.fill_(1.0)
    x = torch.zeros(1, 2 + 12, 2)
    x[0, :2] = 5.0
    x[0, 2 + 4, 1] = 1.0  # row 1, column 0
    found = layer(x)
    assert torch.equal(found[0, :2], x[0, :2]) and not found[0, 2:, 0].any()
    reached = found[0, 2:, 1].view(3, 4) > 0
    assert reached.tolist() == [[True, True, False, False]] * 3


@pytest.mark.parametrize(("kernel", "grid_shape"), [(2, (2, 3)), (3, None)])
def test_a_convolution_needs_an_odd_kernel_and_a_board(kernel, grid_shape):
    with pytest.raises(ValueError, match="needs an odd kernel and a board"):
        small_reasoner(kernel=kernel, grid_shape=grid_shape)


def test_own_answer_is_fed_from_the_second_step_on():
    reasoner, batch = small_reasoner(feed="answer"), small_batch(2)
    batch["step"] = torch.tensor([0, 1])
    fed = []
    reasoner.embed_tokens.register_forward_pre_hook(lambda module, args: fed.append(args[0]))
    take_step(reasoner, batch)
    assert torch.equal(fed[0][0], batch["inputs"][0])
    assert torch.equal(fed[0][1], reasoner.decode(batch["y"]).argmax(-1)[1])


def test_puzzles_are_told_apart_by_their_embedding():
    reasoner = small_reasoner(**VARIANTS["puzzle embedding"])
    torch.nn.init.normal_(reasoner.embed_puzzle.weight)
    batch = small_batch(1, reasoner=reasoner).expand(2).clone()
    batch["puzzle_id"] = torch.tensor([1, 2])
    logits = take_step(reasoner, batch).logits
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_a_puzzle_embedding_must_fit():
    with pytest.raises(ValueError, match="embedding of width 12 does not fit into 1 positions of width 8"):
        small_reasoner(puzzle_embedding_width=12, num_puzzle_ids=3)


@pytest.mark.parametrize("heads", [3, 8])
def test_heads_must_divide_the_width(heads):
    with pytest.raises(ValueError, match=f"width 8 cannot be split into {heads} heads of an even width"):
        small_reasoner(heads=heads)


def test_under_bfloat16_every_weight_has_gradient_also_after_cycles_without() -> None:
    torch.manual_seed(0)
    config = ReasonerConfig(vocab_size=6, seq_len=16, width=16, heads=2, multiple_of=8, cycles=3, inner_updates=2)
    reasoner = RecursiveReasoner(config)
    reasoner.compute_dtype = torch.bfloat16
    nothing = torch.zeros(4, dtype=torch.int64)
    out = reasoner.step(torch.randint(6, (4, 16)), nothing, *reasoner.initial_latents(4), nothing)
    torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), torch.randint(6, (64,))).add(out.q.sum()).backward()
    missing = [name for name, weight in reasoner.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not missing


def test_latents_of_another_reasoner_are_refused_by_both_shapes():
    batch = small_batch(2)
    words = r"latents of shape \(7, 8\) and \(7, 8\) met a reasoner whose own are \(7, 12\) \(positions, width\): make"
    with pytest.raises(ValueError, match=words):
        take_step(small_reasoner(width=12), batch)
