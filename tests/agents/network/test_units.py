"""A network that is told the units of a puzzle: what it computes, and what it cannot tell apart."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from latent_rl.agents import ReasonerConfig, make_reasoner
from latent_rl.agents.network import UnitReasoner
from latent_rl.agents.network.units import NEVER, MessagePassing, PeerAttention
from latent_rl.envs.nqueens import NQueens
from latent_rl.envs.sudoku import Sudoku

SUDOKU = Sudoku(4)
DIGITS = SUDOKU.interchangeable


def reasoner(puzzle=SUDOKU, symbols=DIGITS, **changes: object) -> UnitReasoner:
    torch.manual_seed(0)
    options = {
        "vocab_size": puzzle.vocab_size, "seq_len": puzzle.seq_len, "width": 8, "layers": 1, "expansion": 2.0,
        "multiple_of": 4, "mixer": "units", "cycles": 1, "inner_updates": 3, "state": "candidates",
        "units": puzzle.units, "interchangeable": puzzle.interchangeable, "symbols": symbols,
    }  # fmt: skip
    made = make_reasoner(ReasonerConfig(**{**options, **changes}))
    assert isinstance(made, UnitReasoner)
    for block in made.network.blocks:
        if block.attention is not None:  # begins as nothing
            torch.nn.init.normal_(block.attention.value.weight)
    return made


def boards(rows: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randint(1, SUDOKU.vocab_size, (rows, SUDOKU.seq_len), generator=generator)
    candidates = torch.rand(rows, SUDOKU.seq_len, SUDOKU.vocab_size, generator=generator) < 0.6
    candidates[..., :2] = False
    return inputs, torch.zeros(rows, dtype=torch.int64), candidates


@pytest.mark.parametrize("peer_attention", [False, True])
def test_renaming_digits_renames_the_answer_and_nothing_else(peer_attention):
    net, (inputs, ids, candidates) = reasoner(peer_attention=peer_attention), boards()
    renamed = torch.tensor([0, 1, 4, 2, 5, 3])
    before = net.step(inputs, ids, candidates)
    after = net.step(renamed[inputs], ids, candidates[..., renamed.argsort()])
    for name in ("keep_logits", "symbol_logits"):
        torch.testing.assert_close(getattr(after, name)[..., renamed], getattr(before, name), rtol=0, atol=1e-5)
    torch.testing.assert_close(after.conflict_logits, before.conflict_logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("peer_attention", [False, True])
def test_moving_rows_within_a_band_moves_the_answer_and_nothing_else(peer_attention):
    net, (inputs, ids, candidates) = reasoner(peer_attention=peer_attention), boards()
    moved = torch.arange(16).view(4, 4)[[1, 0, 2, 3]].flatten()
    before = net.step(inputs, ids, candidates)
    after = net.step(inputs[:, moved], ids, candidates[:, moved])
    torch.testing.assert_close(after.keep_logits, before.keep_logits[:, :, moved], rtol=0, atol=1e-5)
    # Rows of different bands cannot change places: boxes come apart.
    torn = torch.arange(16).view(4, 4)[[2, 1, 0, 3]].flatten()
    other = net.step(inputs[:, torn], ids, candidates[:, torn])
    assert (other.keep_logits - before.keep_logits[:, :, torn]).abs().max() > 1e-3


def test_symbols_that_are_no_mere_names_are_told_apart():
    inputs, ids, candidates = boards()
    net = reasoner(interchangeable=())
    # Embeddings start apart; what they do to the answer shows at once.
    renamed = torch.tensor([0, 1, 4, 2, 5, 3])
    before = net.step(inputs, ids, candidates).keep_logits
    after = net.step(renamed[inputs], ids, candidates[..., renamed.argsort()]).keep_logits
    assert (after[..., renamed] - before).abs().max() > 1e-3


def test_a_pair_hears_the_means_over_its_units_and_over_the_symbols_of_its_cell():
    torch.manual_seed(0)
    messages = MessagePassing(3, SUDOKU.units)
    x = torch.randn(16, 2, 4, 3)
    of_symbols = x.mean(2, keepdim=True) @ messages.of_symbols.weight.t()
    expected = of_symbols.expand_as(x) + (x.mean(0) @ messages.of_units[3])
    for kind, units in enumerate(SUDOKU.units):
        for cell in range(16):
            members = [other for other in range(16) if units[other] == units[cell]]
            expected[cell] += x[members].mean(0) @ messages.of_units[kind]
    torch.testing.assert_close(messages(x), expected)


def test_a_cell_gathers_of_each_symbol_what_the_peers_it_asks_for_hold_of_it():
    torch.manual_seed(0)
    attention = PeerAttention(6, SUDOKU.units)
    torch.nn.init.normal_(attention.value.weight)
    x = torch.randn(16, 2, 4, 6)
    asked, offered = x @ attention.query.weight.t(), x @ attention.key.weight.t()
    for board, cell in ((0, 0), (1, 9)):
        peers = [other for other in range(16) if any(of[other] == of[cell] for of in SUDOKU.units)]
        fit = torch.stack([(asked[cell, board] * offered[other, board]).sum() for other in peers])
        weights = (fit / (4 * 3) ** 0.5).softmax(0)
        held = sum(weight * x[other, board] for weight, other in zip(weights, peers, strict=True))
        torch.testing.assert_close(attention(x)[cell, board], held @ attention.value.weight.t())


def test_cells_that_share_no_unit_gather_nothing_of_one_another():
    attention = PeerAttention(6, SUDOKU.units)
    torch.nn.init.normal_(attention.value.weight)
    x = torch.randn(16, 1, 4, 6)
    changed = x.clone()
    changed[0] += 10.0
    moved = (attention(changed) != attention(x)).flatten(1).any(1).nonzero().flatten().tolist()
    assert moved == [0, 1, 2, 3, 4, 5, 8, 12]


def test_attention_among_peers_begins_as_nothing_and_learns():
    plain, (inputs, ids, candidates) = reasoner(), boards()
    options = asdict(plain.config)
    grown = make_reasoner(ReasonerConfig(**{**options, "peer_attention": True}))
    grown.load_state_dict(plain.state_dict(), strict=False)
    before, after = plain.step(inputs, ids, candidates), grown.step(inputs, ids, candidates)
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    sum(one.square().mean() for one in after).backward()
    assert grown.network.blocks[0].attention.value.weight.grad.any()


def test_tokens_that_no_cell_can_hold_have_no_chance():
    found = reasoner().step(*boards())
    assert found.keep_logits.shape == found.symbol_logits.shape == (5, 3, 16, 6)
    assert found.conflict_logits.shape == (5, 3)
    assert (found.keep_logits[..., :2] == NEVER).all()
    assert (found.symbol_logits[..., 2:] != NEVER).all()


def test_a_puzzle_does_not_see_its_neighbours_in_the_batch():
    net, observed = reasoner(), boards()
    together = net.step(*observed)
    alone = net.step(*(one[2:3] for one in observed))
    torch.testing.assert_close(alone.keep_logits, together.keep_logits[2:3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("peer_attention", [False, True])
def test_a_pass_is_a_call_and_all_of_its_weights_learn(peer_attention):
    net, calls = reasoner(peer_attention=peer_attention), []
    net.network.register_forward_hook(lambda *_: calls.append(1))
    found = net.step(*boards())
    assert len(calls) == net.config.passes_per_step == 3
    sum(one.square().mean() for one in found).backward()
    still = {name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert still == set()
    # Digits share one row of each table, and no cell can turn out blank or padding: rows of what was never met rest.
    assert net.embed_pairs.given.weight.grad.any(-1).tolist() == [False, True, True]
    assert net.embed_pairs.symbol.weight.grad.any(-1).tolist() == [False, False, True]


@pytest.mark.parametrize("peer_attention", [False, True])
def test_in_bfloat16_it_says_nearly_the_same(peer_attention):
    exact = reasoner(peer_attention=peer_attention).step(*boards()).symbol_logits
    net = reasoner(peer_attention=peer_attention)
    net.compute_dtype = torch.bfloat16
    rounded = net.step(*boards()).symbol_logits
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.1)


def test_a_larger_board_takes_no_more_weights():
    def weights(size: int) -> int:
        puzzle = Sudoku(size)
        net = reasoner(puzzle, puzzle.interchangeable, peer_attention=True)
        return sum(weight.numel() for weight in net.parameters())

    assert weights(4) == weights(9)


def test_queens_declare_their_units_too():
    queens = NQueens(8)
    rows, columns, rising, falling = queens.units
    attacked = {other for of in queens.units for other in range(64) if of[other] == of[27]}
    row, column = divmod(27, 8)
    expected = {
        cell
        for cell in range(64)
        if cell // 8 == row
        or cell % 8 == column
        or abs(cell // 8 - row) == abs(cell % 8 - column)
    }  # fmt: skip
    assert attacked == expected
    assert queens.interchangeable == ()
    assert (len(set(rows)), len(set(columns)), len(set(rising)), len(set(falling))) == (8, 8, 15, 15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": ()}, "mixer=units needs a puzzle that declares its units"),
        ({"units": ((0, 1),)}, "the unit of each of 16 cells, got 2"),
        ({"state": "latents", "cycles": 1}, "mixer=units is for state=candidates"),
        ({"mixer": "mlp", "peer_attention": True}, "peer_attention is for mixer=units, got mixer=mlp"),
        ({"symbols": (2, 6)}, r"symbols must be distinct tokens within 0 to 5, got \[2, 6\]"),
        ({"interchangeable": (2, 2)}, r"interchangeable must be distinct tokens within 0 to 5, got \[2, 2\]"),
        ({"symbols": ()}, "symbols names no token that a cell can turn out to hold"),
        ({"puzzle_embedding_width": 8, "num_puzzle_ids": 1}, "mixer=units has puzzle_embedding_width=0, got 8"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        reasoner(**changes)
