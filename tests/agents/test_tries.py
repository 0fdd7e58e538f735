"""What failed tries had branched on is tried less, where it failed, and nowhere else."""

from __future__ import annotations

import torch

from latent_rl.agents import FailedTries

YES, NO = torch.tensor([True]), torch.tensor([False])
ODDS = torch.tensor([[0.0, 0.6, 0.3]])


def number(value: int) -> torch.Tensor:
    return torch.tensor([value])


def branch(tries: FailedTries, *taken: tuple[int, int]) -> None:
    for cell, symbol in taken:
        tries.take(YES, number(cell), number(symbol))


def test_what_failed_has_its_odds_divided_by_one_more_than_how_often():
    tries = FailedTries(1)
    torch.testing.assert_close(tries.discounted(ODDS, number(4)), ODDS)
    for restarts in (1, 2):
        branch(tries, (4, 1))
        tries.begin(number(restarts))
        expected = torch.tensor([[0.0, 0.6 / (1 + restarts), 0.3]])
        torch.testing.assert_close(tries.discounted(ODDS, number(4)), expected)
    # Of another cell nothing is known.
    torch.testing.assert_close(tries.discounted(ODDS, number(5)), ODDS)


def test_a_try_that_goes_on_has_not_failed():
    tries = FailedTries(1)
    branch(tries, (4, 1))
    tries.begin(number(0))
    tries.take(NO, number(6), number(1))  # a step that sees a conflict branches nowhere
    tries.begin(number(1))
    assert tries.discounted(ODDS, number(4))[0, 1] == 0.3
    assert tries.discounted(ODDS, number(6))[0, 1] == ODDS[0, 1]


def test_it_counts_where_the_branches_before_were_the_same():
    tries = FailedTries(1)
    branch(tries, (4, 1), (7, 1))
    tries.begin(number(1))
    torch.testing.assert_close(tries.discounted(ODDS, number(7)), ODDS)
    branch(tries, (4, 2))
    torch.testing.assert_close(tries.discounted(ODDS, number(7)), ODDS)
    tries.begin(number(2))
    branch(tries, (4, 1))
    assert tries.discounted(ODDS, number(7))[0, 1] == 0.3


def test_rows_are_told_apart_when_others_leave():
    tries = FailedTries(3)
    tries.take(torch.tensor([True, False, True]), torch.tensor([4, 4, 4]), torch.tensor([1, 1, 2]))
    tries.begin(torch.tensor([1, 0, 1]))
    tries.of_rows(torch.tensor([False, True, True]))
    found = tries.discounted(ODDS.expand(2, -1), torch.tensor([4, 4]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.6, 0.3], [0.0, 0.6, 0.15]]))
