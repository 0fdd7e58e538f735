"""The halting policy and its learning: what it reads, and that PPO finds known answers."""

from __future__ import annotations

import copy

import pytest
import torch
from small import STEPS, WIDTH, small_batch, small_reasoner
from torchrl.envs.utils import ExplorationType, set_exploration_type

from latent_rl.agents import Decisions, HaltingLearner, HaltingPolicy, LearnedHalt, RecursionPolicy, halting_features
from latent_rl.agents.halting.policy import READINGS


def thought_of(rows: int):
    policy, batch = RecursionPolicy(small_reasoner()), small_batch(rows)
    policy(batch)
    return policy.recall(batch), batch, policy


def test_features_are_read_off_a_step_that_was_taken():
    thought, batch, _ = thought_of(5)
    features = halting_features(thought)
    assert features.shape == (5, WIDTH + READINGS) and not features.requires_grad
    assert torch.equal(features[:, :WIDTH], batch["next_y"][:, 0])
    changed = (thought.answer != thought.previous).float().mean(-1)
    assert torch.equal(features[:, WIDTH + 2], changed)
    assert torch.equal(features[:, -2], batch["step"] + 1.0) and torch.equal(features[:, -1], 1 / (batch["step"] + 1))
    top = thought.logits.sort(-1).values
    lead = (1 + top[..., -1] - top[..., -2]).log()
    assert torch.allclose(features[:, WIDTH + 3], lead.min(-1).values, atol=1e-6)
    assert torch.allclose(features[:, WIDTH + 4], lead.mean(-1), atol=1e-6)


def test_a_step_recalled_is_the_step_taken_and_costs_no_pass():
    seen = []

    class Recorder(LearnedHalt):
        def __call__(self, thought):
            seen.append(thought)
            return super().__call__(thought)

    policy = RecursionPolicy(small_reasoner(), Recorder(HaltingPolicy(WIDTH)))
    batch = small_batch(2, 3)
    with torch.no_grad():
        policy(batch)
    policy.reasoner.network.register_forward_hook(lambda *_: pytest.fail("a network pass"))
    recalled = policy.recall(batch)
    for name in ("inputs", "previous", "answer", "logits", "q", "y", "steps_taken"):
        assert torch.allclose(getattr(recalled, name), getattr(seen[0], name), atol=1e-6), name
    assert torch.allclose(halting_features(recalled), halting_features(seen[0]), atol=1e-6)


def test_a_learned_rule_samples_in_training_and_thresholds_in_evaluation():
    thought, _, _ = thought_of(4)
    policy = HaltingPolicy(WIDTH, floor=0.1)
    torch.nn.init.constant_(policy.actor[-1].bias, 0.2)  # P(halt) = 0.1 + 0.8 * 0.55 = 0.54
    many = type(thought)(**{name: value.repeat(500, *[1] * (value.ndim - 1)) for name, value in vars(thought).items()})
    torch.manual_seed(0)
    with set_exploration_type(ExplorationType.RANDOM):
        assert LearnedHalt(policy)(many).float().mean() == pytest.approx(0.54, abs=0.05)
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        assert LearnedHalt(policy)(many).all() and not LearnedHalt(policy, threshold=0.6)(many).any()
        assert LearnedHalt(policy)(many).dtype == torch.int64


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
    found = Decisions.of_full_episodes(features, rewards)
    assert torch.equal(found.gains, torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]))
    assert torch.equal(found.features, features[:, :3]) and torch.equal(found.next_features, features[:, 1:])
    assert found.ends.tolist() == [[False, False, True]] * 2 and found.open.all()


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
    decisions = Decisions.of_full_episodes(features, gains - cost)
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
    found = Decisions.of_full_episodes(features, gains)
    closed = torch.zeros_like(found.open)
    closed[:, 1] = True
    results = []
    for absurd in (0.0, 1e6):
        torch.manual_seed(0)
        policy = HaltingPolicy(WIDTH, hidden=16)
        torch.nn.init.normal_(policy.critic[-1].weight)
        changed = Decisions(
            found.features,
            found.gains + absurd * closed,
            found.next_features,
            found.ends | closed.roll(-1, 1),  # the step before a closed decision is the last there is
            ~closed,
        )
        HaltingLearner(policy).learn(changed, halt=torch.zeros_like(closed))
        results.append(policy.actor[-1].weight.detach())
    assert torch.equal(*results)


def test_state_survives_a_round_trip():
    features, gains, _ = episodes(32)
    first, second = (HaltingLearner(HaltingPolicy(WIDTH)) for _ in range(2))
    first.learn(Decisions.of_full_episodes(features, gains))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    outcomes = []
    for learner in (first, second):
        torch.manual_seed(1)
        learner.learn(Decisions.of_full_episodes(features, gains))
        outcomes.append(learner.policy.probability(features))
    assert torch.equal(*outcomes)
