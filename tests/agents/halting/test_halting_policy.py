"""The halting policy and its learning: what it reads, and that PPO finds known answers."""

from __future__ import annotations

import copy

import pytest
import torch
from small import STEPS, WIDTH, small_batch, small_reasoner
from tensordict import TensorDict
from torchrl.envs.utils import ExplorationType, set_exploration_type

from latent_rl.agents import (
    HaltingLearner,
    HaltingPolicy,
    LearnedHalt,
    RecursionPolicy,
    decisions_of_episodes,
    decisions_of_steps,
)
from latent_rl.agents.halting.policy import READINGS


def step_of(rows: int):
    """A step taken by a policy, with all that its halting rule saw and wrote."""
    seen = []

    class Recorder(LearnedHalt):
        def forward(self, tensordict):
            seen.append(tensordict.copy())
            return super().forward(tensordict)

    policy, batch = RecursionPolicy(small_reasoner(), Recorder(HaltingPolicy(WIDTH))), small_batch(rows)
    with torch.no_grad():
        policy(batch)
    return batch, seen[0]


def test_features_are_read_off_a_step_that_was_taken():
    batch, seen = step_of(5)
    features = batch["features"]
    assert features.shape == (5, WIDTH + READINGS) and not features.requires_grad
    assert torch.equal(features[:, :WIDTH], batch["next_y"][:, 0])
    changed = (seen["answer"] != seen["previous"]).float().mean(-1)
    assert torch.equal(features[:, WIDTH + 2], changed)
    assert torch.equal(features[:, -2], batch["step"] + 1.0) and torch.equal(features[:, -1], 1 / (batch["step"] + 1))
    top = batch["logits"].sort(-1).values
    lead = (1 + top[..., -1] - top[..., -2]).log()
    assert torch.allclose(features[:, WIDTH + 3], lead.min(-1).values, atol=1e-6)
    assert torch.allclose(features[:, WIDTH + 4], lead.mean(-1), atol=1e-6)


def test_the_choice_is_written_with_how_likely_it_was():
    batch, _ = step_of(64)
    likely = HaltingPolicy(WIDTH).probability(batch["features"])
    assert torch.allclose(batch["halt_log_prob"], torch.where(batch["halt"] == 1, likely, 1 - likely).log())
    assert 0 < batch["halt"].sum() < 64 and batch["halt"].dtype == torch.int64


def test_a_learned_rule_samples_in_training_and_thresholds_in_evaluation():
    _, seen = step_of(4)
    policy = HaltingPolicy(WIDTH, floor=0.1)
    torch.nn.init.constant_(policy.actor[-1].bias, 0.2)  # P(halt) = 0.1 + 0.8 * 0.55 = 0.54
    many = torch.cat([seen] * 500)
    torch.manual_seed(0)
    with set_exploration_type(ExplorationType.RANDOM):
        assert LearnedHalt(policy)(many)["halt"].float().mean() == pytest.approx(0.54, abs=0.05)
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        assert LearnedHalt(policy)(many)["halt"].all() and not LearnedHalt(policy, threshold=0.6)(many)["halt"].any()
        # The threshold is of what the probability would be without the floor: all of (0, 1) can be reached.
        torch.nn.init.constant_(policy.actor[-1].bias, 5.0)  # 0.993
        assert LearnedHalt(policy, threshold=0.99)(many)["halt"].all()
        assert not LearnedHalt(policy, threshold=0.995)(many)["halt"].any()
        assert LearnedHalt(policy)(many)["halt"].dtype == torch.int64


def test_an_untrained_policy_is_undecided_and_goes_on_in_evaluation():
    _, seen = step_of(4)
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        assert not LearnedHalt(HaltingPolicy(WIDTH))(seen)["halt"].any()


def test_the_floor_bounds_both_choices():
    policy = HaltingPolicy(WIDTH, floor=0.05)
    features = torch.randn(3, WIDTH + READINGS)
    for bias, wanted in ((50.0, 0.95), (-50.0, 0.05)):
        torch.nn.init.constant_(policy.actor[-1].bias, bias)
        assert torch.allclose(policy.probability(features), torch.tensor(wanted))
    with pytest.raises(ValueError, match="floor must lie in"):
        HaltingPolicy(WIDTH, floor=0.5)


def test_the_scale_moves_only_when_told_to():
    policy = HaltingPolicy(WIDTH).train()
    features = 3 + 2 * torch.randn(50, 4, WIDTH + READINGS)
    policy.value(features)
    assert torch.equal(policy.scale.running_mean, torch.zeros(WIDTH + READINGS))
    for _ in range(100):
        policy.observe(features)
    assert torch.allclose(policy.scale(features.flatten(0, 1)).mean(0), torch.zeros(WIDTH + READINGS), atol=1e-2)


def test_choices_of_full_episodes():
    features, rewards = torch.randn(2, 4, 3), torch.arange(8.0).view(2, 4)
    found = decisions_of_episodes(features, rewards)
    assert torch.equal(found["next", "reward"].squeeze(-1), torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]))
    assert torch.equal(found["features"], features[:, :3])
    assert torch.equal(found["next", "features"], features[:, 1:])
    assert found["next", "done"].squeeze(-1).tolist() == [[False, False, True]] * 2 and found["open"].all()


def test_choices_of_collected_steps():
    """Row 0 goes on and on, row 1 stops at once, row 2 comes to its last step, row 3 the answer key may end."""
    halt = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    features, reward = torch.randn(4, 3, 2), torch.arange(12.0).view(4, 3, 1)
    steps = TensorDict({"features": features, "halt": halt, "halt_log_prob": -halt.float()}, [4, 3])
    steps["step"] = torch.tensor([[0, 1, 2], [2, 0, 1], [2, 3, 0], [0, 1, 0]])
    steps["ends_when_solved"] = torch.tensor([[False] * 3] * 3 + [[True, True, False]])
    steps["next"] = TensorDict({"reward": reward}, [4, 3])
    found = decisions_of_steps(steps, max_steps=4)
    assert found["open"].tolist() == [[True, True], [True, True], [True, False], [False, False]]
    assert found["next", "done"].squeeze(-1).tolist() == [[False, False], [False, False], [True, False], [True, False]]
    assert torch.equal(found["next", "reward"], reward[:, 1:]) and torch.equal(found["features"], features[:, :2])
    assert torch.equal(found["halt"], halt[:, :2]) and torch.equal(found["halt_log_prob"], -halt[:, :2].float())


def episodes(rows: int = 256):
    """Going on from step 1 brings a right answer if feature 0 is positive; nothing else ever changes."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, STEPS, WIDTH + READINGS, generator=generator)
    features[:, :, -2] = torch.arange(1.0, STEPS + 1)
    solvable = features[:, 0, 0] > 0
    gains = torch.zeros(rows, STEPS)
    gains[:, 1] = solvable.float()
    return features, gains, solvable


def learned(cost: float, iterations: int = 12):
    torch.manual_seed(0)
    features, gains, solvable = episodes()
    policy = HaltingPolicy(WIDTH, hidden=16)
    learner = HaltingLearner(policy, lr=1e-2, minibatch=256)
    decisions = decisions_of_episodes(features, gains - cost)
    for _ in range(iterations):
        found = learner.learn(decisions)
    return policy.probability(features[:, :-1]) > 0.5, solvable, found


def test_ppo_learns_to_go_on_only_where_it_pays():
    halt, solvable, found = learned(cost=0.2)
    assert halt[:, 1:].float().mean() > 0.9  # after the second step nothing is to be had
    assert halt[~solvable, 0].float().mean() > 0.8 and halt[solvable, 0].float().mean() < 0.1
    assert {"loss_objective", "loss_critic", "entropy", "clip_fraction", "halt_share"} <= found.keys()
    assert not any(value.requires_grad for value in found.values())


def test_a_price_beyond_all_gains_stops_at_once():
    halt, _, _ = learned(cost=2.0, iterations=4)
    assert halt.all()


def test_decisions_without_a_choice_teach_nothing():
    """The same decisions, with closed ones of absurd gains in between: the same policy."""
    features, gains, _ = episodes(64)
    found = decisions_of_episodes(features, gains)
    closed = torch.zeros_like(found["open"])
    closed[:, 1] = True
    results = []
    for absurd in (0.0, 1e6):
        torch.manual_seed(0)
        policy = HaltingPolicy(WIDTH, hidden=16)
        torch.nn.init.normal_(policy.critic[-1].weight)
        changed = found.clone().update({"open": ~closed, "halt": torch.zeros_like(closed, dtype=torch.int64)})
        changed["halt_log_prob"] = (1 - policy.probability(found["features"])).log().detach()
        changed["next", "reward"] += absurd * closed.unsqueeze(-1)
        # The step before a closed decision is the last there is.
        changed["next", "done"] |= closed.roll(-1, 1).unsqueeze(-1)
        HaltingLearner(policy).learn(changed)
        results.append(policy.actor[-1].weight.detach())
    assert torch.equal(*results)


@pytest.mark.parametrize("choices", [0, 1])
def test_a_phase_with_nothing_to_decide_is_skipped(choices):
    features, gains, _ = episodes(4)
    decisions = decisions_of_episodes(features, gains)
    decisions["open"] = torch.zeros_like(decisions["open"])
    decisions["open"].view(-1)[:choices] = True
    learner = HaltingLearner(HaltingPolicy(WIDTH))
    before = copy.deepcopy(learner.state_dict())
    assert learner.learn(decisions) == {}
    assert all(torch.equal(before["policy"][name], value) for name, value in learner.state_dict()["policy"].items())


def test_state_survives_a_round_trip():
    features, gains, _ = episodes(32)
    first, second = (HaltingLearner(HaltingPolicy(WIDTH)) for _ in range(2))
    first.learn(decisions_of_episodes(features, gains))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    outcomes = []
    for learner in (first, second):
        torch.manual_seed(1)
        learner.learn(decisions_of_episodes(features, gains))
        outcomes.append(learner.policy.probability(features))
    assert torch.equal(*outcomes)
