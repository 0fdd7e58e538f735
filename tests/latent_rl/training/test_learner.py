"""The averaged weights: how long their memory is, early and late, and after an interruption."""

from __future__ import annotations

import copy

import pytest
import torch
from small import small_reasoner

from latent_rl.config.schema import OptimizerConfig
from latent_rl.training.learner import Learner


def step(learner: Learner) -> torch.Tensor:
    """One step towards zero; the weights that it comes to, and the average, of the first matrix."""
    learner.step(sum(weight.square().sum() for weight in learner.reasoner.parameters()))
    now, averaged = (next(one.parameters()).detach() for one in (learner.reasoner, learner.averaged_reasoner))
    return torch.stack((now, averaged))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_the_average_is_never_longer_than_the_training(decay: float) -> None:
    learner = Learner(small_reasoner(), [], OptimizerConfig(lr=1e-2, warmup_updates=0, ema_decay=decay))
    wanted = next(learner.reasoner.parameters()).detach().clone()
    for update in range(30):
        now, averaged = step(learner)
        wanted = wanted.lerp(now, 1 - min(decay, (1 + update) / (10 + update)))
        torch.testing.assert_close(averaged, wanted)
    assert torch.equal(now, averaged) == (decay == 0)


def test_the_average_goes_on_as_it_was() -> None:
    learner = Learner(small_reasoner(), [], OptimizerConfig(lr=1e-2, warmup_updates=0))
    for _ in range(7):
        step(learner)
    state = copy.deepcopy(learner.state_dict())
    onward = step(learner)
    resumed = Learner(small_reasoner(seed=1), [], OptimizerConfig(lr=1e-2, warmup_updates=0))
    resumed.load_state_dict(state)
    assert torch.equal(step(resumed), onward)
