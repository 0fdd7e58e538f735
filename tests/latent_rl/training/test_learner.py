"""What an update minimises, how far it goes, and the averaged weights: their memory, early, late, and when resumed."""

from __future__ import annotations

import copy

import pytest
import torch
from small import small_reasoner
from tensordict import TensorDict

from latent_rl.config.schema import OptimizerConfig
from latent_rl.training.learner import Learner, weighted_sum


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


def test_losses_are_weighted_and_one_of_weight_zero_is_charted_alone() -> None:
    one, other = (torch.tensor(value, requires_grad=True) for value in (2.0, 5.0))
    found = {"x": TensorDict({"loss_x": one, "measured": one.detach()}, []), "y": TensorDict({"loss_y": other}, [])}
    total, told = weighted_sum(found, {"x": 0.5, "y": 0.0})
    total.backward()
    assert total == told["loss"] == 1.0 and (one.grad, other.grad) == (0.5, 0.0)
    assert (told["loss_x"], told["measured"], told["loss_y"]) == (2.0, 2.0, 5.0)


def test_gradients_are_clipped_by_their_common_norm() -> None:
    learner = Learner(small_reasoner(), [], OptimizerConfig(clip_norm=1e-3))
    seen: list[float] = []

    def look(*_: object) -> None:
        gradients = [weight.grad for weight in learner.parameters if weight.grad is not None]
        seen.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))

    learner.optimizers[0].register_step_pre_hook(look)
    told = learner.step(sum(weight.square().sum() for weight in learner.reasoner.parameters()))
    assert told["gradient_norm"] > 1.0 and seen == [pytest.approx(1e-3, rel=1e-3)]
