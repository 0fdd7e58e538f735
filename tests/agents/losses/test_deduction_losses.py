"""What steps over candidates learn from, held against calculations by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tensordict import TensorDict

from latent_rl.agents import ConflictLoss, KeepLoss, SymbolLoss, answer_lost

IGNORE = -100
SOLUTION = torch.tensor([[1, 2, 1, IGNORE], [2, 2, 1, 1], [2, 2, 1, 1]])
CANDIDATES = torch.tensor(
    [
        [[0, 1, 0], [0, 1, 1], [0, 1, 0], [1, 1, 1]],
        [[0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 1, 1]],  # the second cell has lost its 2
        [[0, 0, 1], [0, 1, 1], [0, 1, 1], [0, 1, 1]],
    ]
).bool()
GIVEN = torch.tensor([True, False, False, False]).expand(3, -1)


def batch(**changes: torch.Tensor) -> TensorDict:
    generator = torch.Generator().manual_seed(0)
    values = {
        "keep_logits": torch.randn(3, 5, 4, 3, generator=generator),
        "symbol_logits": torch.randn(3, 5, 4, 3, generator=generator),
        "conflict_logits": torch.randn(3, 5, generator=generator),
        "candidates": CANDIDATES,
        "given": GIVEN,
        "keep": torch.ones_like(CANDIDATES),
        "solution": SOLUTION,
    }
    return TensorDict({**values, **changes}, [3])


def test_which_states_have_lost_the_answer():
    assert answer_lost(CANDIDATES, SOLUTION).tolist() == [False, True, False]
    assert answer_lost(CANDIDATES, torch.full_like(SOLUTION, IGNORE)).tolist() == [False, False, False]


@pytest.mark.parametrize("lost", [0.0, 0.25])
def test_keep_counts_candidates_that_are_still_alive_in_cells_that_count_and_were_not_given(lost):
    data = batch()
    logits = data["keep_logits"]
    # (row, cell, symbol, part of the answer)
    alive = [
        (0, 1, 1, 0),
        (0, 1, 2, 1),
        (0, 2, 1, 1),
        (2, 1, 1, 0),
        (2, 1, 2, 1),
        (2, 2, 1, 1),
        (2, 2, 2, 0),
        (2, 3, 1, 1),
        (2, 3, 2, 0),
    ]
    if lost:  # the second state has lost the answer: nothing there is part of one
        alive += [(1, 1, 1, 0), (1, 2, 1, 0), (1, 2, 2, 0), (1, 3, 1, 0), (1, 3, 2, 0)]
    total = 0.0
    for update in range(5):
        for row, cell, symbol, right in alive:
            x = float(logits[row, update, cell, symbol])
            weight = lost if row == 1 else 6.0 if right else 0.75
            total += weight * math.log1p(math.exp(-x if right else x))
    found = KeepLoss(right=6.0, wrong=0.75, lost=lost)(data)
    assert float(found["loss_keep"]) == pytest.approx(total / (5 * len(alive)), rel=1e-5)


def test_keep_tells_what_was_removed_and_what_should_not_have_been():
    keep = torch.ones_like(CANDIDATES)
    keep[0, 1, 1] = keep[0, 1, 2] = keep[0, 0, 1] = False  # a wrong one, a right one, and one of a given cell
    found = KeepLoss()(batch(keep=keep))
    assert (float(found["removed"]), float(found["removed_wrongly"])) == (1.0, 0.5)
    keep[1, 2] = False  # of a state that has lost the answer
    assert float(KeepLoss(lost=1.0)(batch(keep=keep))["removed"]) == 1.0
    keep[2] = False  # gave up: that removes nothing
    found = KeepLoss()(batch(keep=keep))
    assert (float(found["removed"]), float(found["removed_wrongly"])) == (2.0, 0.5)


def test_losing_a_right_candidate_costs_eight_times_as_much_by_default():
    candidates = torch.tensor([[[True, True, True]]])
    losses = []
    for solution, symbol in ((0, 0), (1, 0)):
        logits = torch.zeros(1, 1, 1, 3, requires_grad=True)
        data = {"keep_logits": logits, "candidates": candidates, "keep": candidates}
        data |= {"given": torch.tensor([[False]]), "solution": torch.tensor([[solution]])}
        KeepLoss()(TensorDict(data, [1]))["loss_keep"].backward()
        losses.append(abs(float(logits.grad[0, 0, 0, symbol])))
    assert losses[0] == pytest.approx(8 * losses[1])


def test_symbols_are_learned_of_all_cells_that_count_and_were_not_given():
    data = batch()
    cells = [(0, 1), (0, 2), (2, 1), (2, 2), (2, 3)]
    total = sum(
        float(F.cross_entropy(data["symbol_logits"][row, update, cell], SOLUTION[row, cell]))
        for update in range(5)
        for row, cell in cells
    )
    found = SymbolLoss()(data)
    assert float(found["loss_symbol"]) == pytest.approx(total / (5 * len(cells)), rel=1e-5)
    last = data["symbol_logits"][:, -1].argmax(-1)
    right = [bool(last[row, cell] == SOLUTION[row, cell]) for row, cell in cells]
    assert float(found["symbol_accuracy"]) == pytest.approx(sum(right) / 5)
    assert float(found["board_accuracy"]) == pytest.approx((all(right[:2]) + all(right[2:])) / 2)


def test_a_conflict_is_a_lost_answer():
    logits = torch.zeros(3, 5)
    logits[:, -1] = 3.0
    found = ConflictLoss()(batch(conflict_logits=logits))
    wanted = (12 * math.log(2) + 2 * math.log1p(math.exp(3)) + math.log1p(math.exp(-3))) / 15
    assert float(found["loss_conflict"]) == pytest.approx(wanted, rel=1e-5)
    assert float(found["conflict_share"]) == float(found["conflict_accuracy"]) == pytest.approx(1 / 3)


def test_states_that_have_all_lost_the_answer_teach_nothing_but_that():
    lost = batch()[1:2]
    for loss, name in ((KeepLoss(), "loss_keep"), (SymbolLoss(), "loss_symbol")):
        found = loss(lost)
        assert float(found[name]) == 0.0 and all(bool(value.isfinite()) for value in found.values())
    assert float(ConflictLoss()(lost)["loss_conflict"]) > 0.0


@pytest.mark.parametrize(
    ("loss", "logits"), [(KeepLoss, "keep_logits"), (SymbolLoss, "symbol_logits"), (ConflictLoss, "conflict_logits")]
)
def test_every_update_learns_and_missing_or_misshaped_logits_are_named(loss, logits):
    data = batch()
    data[logits] = data[logits].clone().requires_grad_()
    found = loss()(data)
    assert set(found.keys()) == set(loss().out_keys)
    next(value for key, value in found.items() if key.startswith("loss_")).backward()
    learned = data[logits].grad.unsqueeze(-1).flatten(2).abs().sum(-1) > 0
    assert learned[[0, 2]].all() and learned[1].any() == (logits == "conflict_logits")
    assert set(loss().in_keys) <= set(data.keys())
    with pytest.raises(KeyError, match="DeductionPolicy writes it"):
        loss()(data.exclude(logits))
    with pytest.raises(ValueError, match=r"of shape .* do not fit"):
        loss()(data.set(logits, torch.zeros(3, 3, 3, 3)))
