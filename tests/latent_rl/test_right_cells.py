"""Which cells are right is said in three places that must not know each other; here they are held to one another."""

from __future__ import annotations

import pytest
import torch
from toy_puzzle import Backwards

from latent_rl.agents import count_right
from latent_rl.envs import IGNORE
from latent_rl.measuring.evaluation import score


class Unruled(Backwards):
    """A puzzle that only its key can judge."""

    has_rule = False


@pytest.mark.parametrize("seed", range(5))
def test_losses_evaluation_and_environments_agree(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    solution = torch.randint(1, 4, (300, 6), generator=generator)
    # From nothing ignored to everything, and answers from all wrong to all right.
    ignored = torch.rand(300, 6, generator=generator) < torch.linspace(-0.2, 1.2, 300).unsqueeze(1)
    wrong = torch.rand(300, 6, generator=generator) < torch.rand(300, 1, generator=generator) - 0.2
    answer = torch.where(wrong, solution % 3 + 1, solution)
    solution = solution.masked_fill(ignored, IGNORE)
    right, counted = count_right(answer, solution)
    assert {0, 6} <= set(counted.tolist()) and {0, 6} <= set(right.tolist())

    exact, cells = score(answer, solution)
    assert torch.equal(exact, right == counted)
    assert torch.equal(cells, right / counted.clamp(min=1))

    puzzle = Unruled()
    assert torch.equal(puzzle.quality(answer, solution), right / counted.clamp(min=1))
    # A row in which nothing counts is right to a loss, as in the official code, and solved to nobody.
    assert torch.equal(puzzle.judge(answer, answer, solution), (right == counted) & (counted > 0))
