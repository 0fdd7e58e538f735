"""Accuracies by kind of puzzle."""

from __future__ import annotations

import pytest
import torch

from latent_rl.errors import UserError
from latent_rl.measuring import Kind, by_kind


def test_few_names_are_kinds_in_their_order() -> None:
    scores = torch.tensor([[1.0, 0, 0, 1], [1, 1, 0, 1], [1, 0.5, 0.25, 1]])
    found = by_kind(scores, ["hard", "easy", "hard", "hard"])
    assert found == [Kind("easy", 1, 0.0, 1.0, 0.5), Kind("hard", 3, pytest.approx(2 / 3), pytest.approx(2 / 3), 0.75)]


def test_few_numbers_come_in_their_order() -> None:
    assert [kind.name for kind in by_kind(torch.ones(3, 4), ["10", "9", "10", "1"])] == ["1", "9", "10"]


def test_many_numbers_are_quarters() -> None:
    numbers = [*range(100)]
    found = by_kind(torch.tensor([numbers] * 3) / 100, [str(number) for number in numbers])
    assert [(kind.name, kind.puzzles) for kind in found] == [
        ("0 to 24", 25), ("25 to 49", 25), ("50 to 74", 25), ("75 to 99", 25)
    ]  # fmt: skip
    assert found[0].cell_accuracy == pytest.approx(0.12)
    # Half of them the same: there are fewer quarters, and every puzzle is in one.
    labels = ["0"] * 100 + [str(number) for number in range(1, 41)]
    kinds = by_kind(torch.ones(3, 140), labels)
    assert [kind.name for kind in kinds] == ["0 to 0", "1 to 5", "6 to 40"]
    assert sum(kind.puzzles for kind in kinds) == 140


def test_many_names_are_refused() -> None:
    with pytest.raises(UserError, match="11 kinds, such as 'a': too many"):
        by_kind(torch.ones(3, 11), list("abcdefghijk"))
