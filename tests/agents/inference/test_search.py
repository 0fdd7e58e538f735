"""Search in latent space: choosing among trajectories, widening, and never more passes than the budget."""

from __future__ import annotations

import pytest
import torch
from small import STEPS, small_batch, small_reasoner

from latent_rl.agents import Candidates, CheckedHalt, Search, recurse, search


def candidates(*rows) -> Candidates:
    """Rows of (puzzle, answer of one cell, value, checked)."""
    puzzle, answer, value, checked = zip(*rows, strict=True)
    return Candidates(
        torch.tensor(puzzle),
        torch.tensor(answer).unsqueeze(1),
        torch.tensor(value, dtype=torch.float32),
        torch.tensor(checked),
        torch.ones(len(rows), dtype=torch.int64),
    )


def test_three_ways_to_choose() -> None:
    found = candidates(
        (0, 5, 0.1, False),
        (1, 7, 3.0, False),
        (0, 6, 2.0, False),
        (0, 5, 0.3, False),
        (0, 8, -1.0, True),
        (1, 7, 4.0, False),
        (1, 9, 9.0, False),
    )
    assert found.votes().tolist() == [2, 2, 1, 2, 1, 2, 1]
    assert found.chosen(2, "value").tolist() == [2, 6]
    assert found.chosen(2, "rule").tolist() == [4, 6]  # nothing of puzzle 1 is confirmed: its highest value
    assert found.chosen(2, "vote").tolist() == [3, 5]  # among equal answers the surest


def test_equal_answers_of_different_puzzles_are_not_counted_together() -> None:
    found = candidates((0, 5, 1.0, False), (1, 5, 1.0, False), (1, 5, 1.0, False))
    assert found.votes().tolist() == [1, 2, 2]


@pytest.fixture
def reasoner():
    return small_reasoner()


@pytest.fixture
def passes(reasoner):
    counted = []
    reasoner.network.register_forward_hook(lambda module, args, output: counted.append(len(output)))
    return counted


def never(inputs, answers):
    return torch.zeros(len(inputs), dtype=torch.bool)


def always(inputs, answers):
    return torch.ones(len(inputs), dtype=torch.bool)


def run(reasoner, rule=never, rows=5, halting=None, **settings) -> Candidates:
    batch = small_batch(rows)
    torch.manual_seed(0)
    return search(
        reasoner,
        batch["inputs"],
        batch["puzzle_id"],
        STEPS,
        Search(**settings),
        rule,
        halting=halting,
        rows_at_once=4,
    )


def test_one_trajectory_is_the_plain_run(reasoner, passes) -> None:
    found = run(reasoner, trajectories=1, noise=5.0)
    assert sum(passes) == 5 * STEPS * reasoner.config.passes_per_step
    batch = small_batch(5)
    *_, last = recurse(reasoner, batch["inputs"], batch["puzzle_id"], STEPS)
    assert torch.equal(found.answer, last.logits.argmax(-1)) and torch.allclose(found.value, last.q[:, 0], atol=1e-5)
    assert found.chosen(5, "vote").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("adaptive", [False, True])
def test_only_the_first_trajectory_goes_without_noise(reasoner, passes, adaptive) -> None:
    found = run(reasoner, trajectories=4, adaptive=adaptive, choose="rule")
    plain = run(reasoner, trajectories=1)
    assert torch.bincount(found.puzzle).tolist() == [4] * 5
    assert sum(passes) == (20 + 5) * STEPS * reasoner.config.passes_per_step
    same = torch.isclose(found.value, plain.value[found.puzzle], atol=1e-5)
    first = torch.zeros(5, dtype=torch.int64).index_add_(0, found.puzzle, same.long())
    assert first.tolist() == [1] * 5


def test_an_adaptive_search_is_content_with_what_the_rule_confirms(reasoner, passes) -> None:
    run(reasoner, always, trajectories=8, adaptive=True, choose="rule")
    assert sum(passes) == 5 * STEPS * reasoner.config.passes_per_step


def test_an_adaptive_search_widens_only_where_the_value_is_low(reasoner, passes) -> None:
    first = run(reasoner, trajectories=1).value.sigmoid()
    enough = float(first.sort().values[2])
    found = run(reasoner, trajectories=2, adaptive=True, enough=enough)
    widened = torch.bincount(found.puzzle, minlength=5) == 2
    assert torch.equal(widened, first < enough) and 0 < widened.sum() < 5
    assert (found.chosen(5, "value") < 5).any()


@pytest.mark.parametrize("budget", [1, 2, 5, 9, 14])
def test_no_puzzle_spends_more_than_the_budget(reasoner, passes, budget) -> None:
    """Budgets in recursion steps of an episode of 4: cut short, then whole trajectories only."""
    per_step = reasoner.config.passes_per_step
    found = run(reasoner, trajectories=99, adaptive=True, choose="rule", budget=budget * per_step + per_step - 1)
    spent = torch.zeros(5, dtype=torch.int64).index_add_(0, found.puzzle, found.steps)
    assert spent.tolist() == [budget if budget < STEPS else budget // STEPS * STEPS] * 5
    assert sum(passes) == int(spent.sum()) * per_step


def test_what_a_trajectory_saves_serves_others(reasoner, passes) -> None:
    """Where every trajectory stops after one step, four times as many fit, as far as begun ones might have cost."""
    per_step = reasoner.config.passes_per_step
    found = run(
        reasoner,
        trajectories=99,
        adaptive=True,
        enough=1.0,
        budget=2 * STEPS * per_step,
        halting=CheckedHalt(always),
    )
    assert (found.steps == 1).all()
    assert torch.bincount(found.puzzle).tolist() == [5] * 5  # a sixth might have cost 4 of the 3 steps left
    assert sum(passes) == 25 * per_step


def test_a_budget_below_one_step_and_other_mistakes(reasoner, passes) -> None:
    with pytest.raises(ValueError, match="does not pay for one recursion step of 6"):
        run(reasoner, trajectories=2, budget=5)
    assert not passes
    for wrong in ({"trajectories": 0}, {"choose": "luck"}, {"noise": -1.0}, {"enough": 0.0}):
        with pytest.raises(ValueError, match="must"):
            Search(**{"trajectories": 1, **wrong})
