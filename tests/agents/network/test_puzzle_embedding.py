"""Puzzle embeddings follow the official rule, in the rows of a batch alone; copies share the table."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from small import small_batch, small_reasoner

from latent_rl.agents import (
    TABLE,
    PuzzleEmbedding,
    RecursiveReasoner,
    SignSGD,
    compact_state,
    load_compact_state,
    state_shapes,
)


def test_rows_follow_the_official_rule_by_hand() -> None:
    table = PuzzleEmbedding(4, 2)
    table.put(torch.tensor([1, 2]), torch.tensor([[1.0, -2.0], [0.5, 4.0]]))
    optimizer = SignSGD(table, lr=0.1, weight_decay=0.5)
    # Row 1 twice, whose gradients add up to (3 - 1, 2 - 2); row 3 once, with gradient (-7, 1e-6); rows 0 and 2 never.
    gradients = torch.tensor([[3.0, 2.0], [-7.0, 1e-6], [-1.0, -2.0]])
    (table(torch.tensor([1, 3, 1])) * gradients).sum().backward()
    optimizer.step()
    # p (1 - lr wd) - lr sign(g): 1 * 0.95 - 0.1 = 0.85, -2 * 0.95 - 0 = -1.9; 0 + 0.1, 0 - 0.1.
    expected = torch.tensor([[0.0, 0.0], [0.85, -1.9], [0.5, 4.0], [0.1, -0.1]])
    torch.testing.assert_close(table.weight, expected, rtol=0, atol=1e-7)
    assert table.learned.tolist() == [False, True, True, True]
    optimizer.step()
    torch.testing.assert_close(table.weight, expected, rtol=0, atol=1e-7)


def test_a_lookup_costs_nothing_until_a_gradient_comes() -> None:
    table = PuzzleEmbedding(3, 2)
    with torch.no_grad():
        assert not table(torch.tensor([0])).requires_grad
    table(torch.tensor([1]))
    assert table.take_gradient() is None
    table(torch.tensor([1])).sum().backward()
    SignSGD(table, lr=1.0, weight_decay=0.0).zero_grad()
    assert table.take_gradient() is None
    assert not list(table.parameters()) and not SignSGD(table, lr=1.0, weight_decay=0.0).state_dict()["state"]


def reasoner_with_table(rows: int = 3) -> RecursiveReasoner:
    return small_reasoner(puzzle_positions=2, puzzle_embedding_width=12, num_puzzle_ids=rows)


def test_a_step_of_the_reasoner_reaches_the_rows_of_its_puzzles() -> None:
    reasoner = reasoner_with_table()
    batch = small_batch(2, reasoner=reasoner)
    batch["puzzle_id"] = torch.tensor([2, 0])
    output = reasoner.step(*(batch[key] for key in ("inputs", "puzzle_id", "y", "z", "step")))
    output.logits.square().sum().backward()
    ids, gradient = reasoner.embed_puzzle.take_gradient()
    assert ids.tolist() == [0, 2]
    assert (gradient.abs().sum(-1) > 0).all()


def test_a_copy_looks_up_the_same_table() -> None:
    reasoner = reasoner_with_table()
    average = copy.deepcopy(reasoner)
    reasoner.embed_puzzle.put(torch.tensor([1]), torch.ones(1, 12))
    assert average.embed_puzzle is reasoner.embed_puzzle
    assert average.output_head.weight is not reasoner.output_head.weight


def test_compact_states_hold_learned_rows_and_load_exactly() -> None:
    reasoner, other = reasoner_with_table(rows=1000), reasoner_with_table(rows=1000)
    reasoner.embed_puzzle.put(torch.tensor([7, 400]), torch.randn(2, 12))
    other.embed_puzzle.put(torch.tensor([5]), torch.randn(1, 12))
    state = compact_state(reasoner)
    assert TABLE not in state and sum(value.numel() for name, value in state.items() if "puzzle" in name) < 30
    assert state_shapes(state) == state_shapes(reasoner.state_dict())
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    load_compact_state(other, torch.load(file, weights_only=True))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in reasoner.state_dict().items())
    assert other.embed_puzzle.learned.nonzero().flatten().tolist() == [7, 400]
    with pytest.raises(RuntimeError, match=r"of shape \(1000, 12\) there and \(999, 12\) here"):
        load_compact_state(reasoner_with_table(rows=999), state)


def test_a_whole_table_counts_as_learned_where_it_is_not_zero() -> None:
    source, target = reasoner_with_table(), reasoner_with_table()
    source.embed_puzzle.put(torch.tensor([0, 2]), torch.tensor([[1.0] * 12, [0.0] * 12]))
    load_compact_state(target, source.state_dict())
    assert target.embed_puzzle.learned.tolist() == [True, False, False]
