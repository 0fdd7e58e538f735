"""Returns: our loss against numbers worked out by hand and by the plain recursion."""

from __future__ import annotations

import pytest
import torch
from small import WIDTH, small_batch, small_reasoner
from tensordict import TensorDict
from torch import nn
from torchrl.objectives import ValueEstimators
from torchrl.objectives.value import TD0Estimator

from latent_rl.agents import ContinueValueLoss, ReturnHead, ReturnValueLoss


def taught(loss, batch):
    """What the loss returns for trajectories, once it has written their targets."""
    loss.prepare(batch)
    return loss(batch)


class FirstFeature(nn.Module):
    """V(s) = scale * first feature of the first position; as many positions as you like."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, y):
        return self.scale * y[..., 0, :1]


def trajectories(values, next_values, rewards, done):
    """Trajectories [N, T] whose latents carry the given values; two positions, the second one is noise."""

    def latents(numbers):
        y = torch.full((*numbers.shape, 2, 3), 99.0)
        y[..., 0, 0] = numbers
        return y

    values, next_values, rewards = (torch.tensor(numbers) for numbers in (values, next_values, rewards))
    following = {"y": latents(next_values), "reward": rewards.unsqueeze(-1), "done": torch.tensor(done).unsqueeze(-1)}
    return TensorDict({"y": latents(values), "next": following}, batch_size=values.shape)


@pytest.fixture
def by_hand():
    """The batch cuts row 0 after two steps (its successor's value 4 counts); row 1 holds two episodes of one step."""
    return trajectories(
        values=[[1.0, 2.0], [1.0, 2.0]],
        next_values=[[2.0, 4.0], [50.0, 60.0]],
        rewards=[[1.0, 3.0], [1.0, 3.0]],
        done=[[False, False], [True, True]],
    )


# gamma = lambda = 1/2. Row 1: the rewards, [1, 3]. Row 0, from its end: G_1 = 3 + 4/2 = 5 for all of them;
# TD(lambda), GAE: G_0 = 1 + (2/2 + 5/2) / 2 = 2.75; TD(0): G_0 = 1 + 2/2 = 2; TD(1): G_0 = 1 + 5/2 = 3.5.
# Squared errors against V = [1, 2] in both rows: (G_0 - 1)^2, 9; 0, 1.
@pytest.mark.parametrize(
    ("estimator", "options", "first_return"),
    [
        (None, {"lmbda": 0.5}, 2.75),
        (ValueEstimators.TDLambda, {"lmbda": 0.5}, 2.75),
        (ValueEstimators.GAE, {"lmbda": 0.5}, 2.75),
        (ValueEstimators.TD0, {}, 2.0),
        (ValueEstimators.TD1, {}, 3.5),
    ],
)
def test_returns_by_hand(by_hand, estimator, options, first_return):
    loss = ReturnValueLoss(FirstFeature(), distance="l2")
    assert loss.make_value_estimator(estimator, gamma=0.5, **options) is loss
    out = taught(loss, by_hand)
    expected = ((first_return - 1) ** 2 + 9 + 0 + 1) / 4
    torch.testing.assert_close(out["loss_return"], torch.tensor(expected))
    targets = torch.tensor([first_return, 5.0, 1.0, 3.0])
    residual = targets - torch.tensor([1.0, 2.0, 1.0, 2.0])
    explained = 1 - residual.var(correction=0) / targets.var(correction=0)
    torch.testing.assert_close(out["explained_variance"], explained)


def test_smooth_l1(by_hand):
    loss = ReturnValueLoss(FirstFeature()).make_value_estimator(ValueEstimators.TD0, gamma=0.5)
    # Errors 1, 3, 0, 1: |e| - 1/2 from 1 on.
    torch.testing.assert_close(taught(loss, by_hand)["loss_return"], torch.tensor((0.5 + 2.5 + 0.0 + 0.5) / 4))


def test_default_is_td_lambda():
    """The plain backward recursion of TD(lambda), over random episodes that end within a trajectory."""
    generator = torch.Generator().manual_seed(0)
    n, t = 3, 7
    values, next_values, rewards = torch.randn(3, n, t, generator=generator)
    done = torch.rand(n, t, generator=generator) < 0.4
    assert done[:, :-1].any() and not done[:, -1].all()
    gamma, lmbda = 0.99, 0.95
    total = 0.0
    for row in range(n):
        following = None
        for step in reversed(range(t)):
            bootstrap = 0.0 if done[row, step] else next_values[row, step].item()
            if following is None or done[row, step]:
                following = rewards[row, step].item() + gamma * bootstrap
            else:
                following = rewards[row, step].item() + gamma * ((1 - lmbda) * bootstrap + lmbda * following)
            total += (following - values[row, step].item()) ** 2
    batch = trajectories(*(x.tolist() for x in (values, next_values, rewards, done)))
    loss = taught(ReturnValueLoss(FirstFeature(), distance="l2", gamma=gamma), batch)["loss_return"]
    torch.testing.assert_close(loss, torch.tensor(total / (n * t)), rtol=1e-5, atol=0)


def test_targets_are_not_taught(by_hand):
    """Gradient of mean (V - G)^2 with G held fixed: 2/4 sum (V - G) V, V = [1, 2, 1, 2]."""
    head = FirstFeature()
    loss = ReturnValueLoss(head, distance="l2").make_value_estimator(ValueEstimators.TD0, gamma=0.5)
    followed_by = [by_hand["next", key].requires_grad_() for key in ("y", "reward")]
    taught(loss, by_hand)["loss_return"].backward()
    assert all(tensor.grad is None for tensor in followed_by)
    errors = torch.tensor([1 - 2, 2 - 5, 1 - 1, 2 - 3])
    torch.testing.assert_close(head.scale.grad, 0.5 * (errors * torch.tensor([1.0, 2.0, 1.0, 2.0])).sum())
    assert head.scale.requires_grad, "the estimator must give the head back as it was"


def test_given_targets_are_taken_at_their_word(by_hand):
    loss = ReturnValueLoss(FirstFeature(), distance="l2")
    batch = by_hand.update({"value_target": torch.full((2, 2, 1), 3.0)}).exclude("next")
    torch.testing.assert_close(loss(batch)["loss_return"], torch.tensor((4 + 1 + 4 + 1) / 4))


def test_targets_can_be_estimated_before_the_trajectories_are_cut(by_hand):
    loss = ReturnValueLoss(FirstFeature(), distance="l2").make_value_estimator(ValueEstimators.TD1, gamma=0.5)
    targets = loss.estimate_targets(by_hand)
    torch.testing.assert_close(targets, torch.tensor([[3.5, 5.0], [1.0, 3.0]]).unsqueeze(-1))
    assert not targets.requires_grad and "value_target" not in by_hand
    cut = by_hand.copy().update({"value_target": targets}).reshape(-1)
    torch.testing.assert_close(loss(cut)["loss_return"], taught(loss, by_hand)["loss_return"])


def test_trajectories_are_wanted(by_hand):
    with pytest.raises(ValueError, match=r"trajectories of batch shape \[N, T\], got \[4\]"):
        ReturnValueLoss(FirstFeature()).prepare(by_hand.reshape(-1))


def test_misfits_name_both_shapes(by_hand):
    with pytest.raises(ValueError, match=r"value of shape \(2, 2, 1\) and target of shape \(2, 2\) differ"):
        ReturnValueLoss(FirstFeature())(by_hand.update({"value_target": torch.zeros(2, 2)}))


def test_estimators_of_ones_own(by_hand):
    loss = ReturnValueLoss(FirstFeature(), distance="l2")
    with pytest.raises(NotImplementedError, match="there are TD0, TD1, TDLambda, GAE"):
        loss.make_value_estimator(ValueEstimators.VTrace)
    with pytest.raises(ValueError, match='distance must be "smooth_l1" or "l2"'):
        ReturnValueLoss(FirstFeature(), distance="l3")
    loss.make_value_estimator(TD0Estimator(gamma=0.5, value_network=loss.as_value_network()))
    torch.testing.assert_close(taught(loss, by_hand)["loss_return"], torch.tensor((1 + 9 + 0 + 1) / 4))


def test_return_head_reads_the_first_position_and_starts_at_zero():
    head, y = ReturnHead(WIDTH), small_batch(2, 3)["y"]
    assert head(y).shape == (2, 3, 1) and not head(y).any()
    nn.init.ones_(head.out.weight)
    changed = y.clone()
    changed[..., 1:, :] += 1
    assert torch.equal(head(changed), head(y)) and head(y).abs().min() > 0


def test_the_continue_value_by_hand():
    """Before the first step; amid an episode, solved for now; its end, not solved; its end, solved; key may end it."""
    reasoner = small_reasoner()
    batch = small_batch(5, reasoner=reasoner)
    batch["step"] = torch.tensor([0, 1, 3, 3, 3])
    batch["next_y"] = torch.randn_like(batch["y"])
    batch["next", "solved"] = torch.tensor([True, True, False, True, True])
    batch["ends_when_solved"] = torch.tensor([False, False, False, False, True])
    before = reasoner.q_logits(batch["y"])[:, 1]
    promised = reasoner.q_logits(batch["next_y"])[1, 1].sigmoid().item()
    targets = torch.tensor([promised, 0.0, 1.0])
    wanted = torch.nn.functional.binary_cross_entropy(before[1:4].sigmoid(), targets)
    loss = ContinueValueLoss(reasoner, max_steps=4)(batch)["loss_continue"]
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    touched = {name for name, weight in reasoner.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert touched == {"q_head.weight", "q_head.bias"} and not reasoner.q_head.weight.grad[0].any()
    batch["step"] = torch.zeros_like(batch["step"])
    assert ContinueValueLoss(reasoner, max_steps=4)(batch)["loss_continue"].item() == 0.0


def test_the_continue_value_learns_which_states_end_well():
    """Two kinds of states, told apart by one feature, one of which is right two steps later: a chain by TD(0)."""
    reasoner = small_reasoner()
    y = torch.zeros(2, 3, 1 + 6, WIDTH)
    y[:, :, 0, 0] = torch.tensor([[1.0], [-1.0]])
    y[:, :, 0, 1:4] = torch.eye(3)
    solution = torch.ones(2, 2, 6, dtype=torch.int64)
    batch = TensorDict({"y": y[:, :2], "next_y": y[:, 1:], "solution": solution}, [2, 2])
    batch["next"] = TensorDict({"solved": torch.tensor([[True, True], [False, False]])}, [2, 2])
    batch["step"] = torch.tensor([1, 2]).expand(2, 2)
    batch["ends_when_solved"] = torch.zeros(2, 2, dtype=torch.bool)
    loss, optimizer = ContinueValueLoss(reasoner, max_steps=3), torch.optim.Adam(reasoner.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss(batch)["loss_continue"].backward()
        optimizer.step()
    continue_value = reasoner.q_logits(y[:, 0])[:, 1].sigmoid()
    assert continue_value[0] > 0.9 and continue_value[1] < 0.1
