"""The pure decision process: rewards, ends, and that nothing is modified in place."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_puzzle import Backwards

from latent_rl.envs import MDPConfig, Reward, Standing
from latent_rl.envs.mdp.dynamics import Dynamics, State, make_dynamics
from latent_rl.envs.mdp.sampler import Sampler

WIDTH, PASSES = 8, 3


def dynamics(**changes) -> Dynamics:
    arguments = {
        "width": WIDTH,
        "positions": 2,
        "max_steps": 3,
        "passes_per_step": PASSES,
        "reward": Reward(pass_cost=0.01, solve_bonus=0.5),
        "terminate_on_solved": False,
    }
    return make_dynamics(Backwards(), MDPConfig(**{**arguments, **changes}), torch.device("cpu"))


def begin(rules: Dynamics, batch: int = 2) -> State:
    return rules.start(rules.puzzle.instances("train")[:batch], torch.arange(batch))


def act(rules: Dynamics, state: State, answer: torch.Tensor, halt: int = 0):
    latents = torch.randn(len(answer), *rules.latent_shape)
    return rules.step(state, latents, latents + 1, answer, torch.full((len(answer),), halt))


def test_an_episode_starts_from_the_initial_latents_and_the_inputs():
    y0, z0 = torch.linspace(-1, 1, WIDTH), torch.randn(2 + 4, WIDTH).clamp(-2, 2)
    rules = dynamics(initial_latents=(y0, z0))
    state = begin(rules)
    assert torch.equal(state.y, y0.expand(2, 6, WIDTH))
    assert torch.equal(state.z, z0.expand(2, 6, WIDTH))
    assert torch.equal(state.answer, state.inputs)
    assert state.step.tolist() == [0, 0]


def test_a_step_takes_the_latents_as_they_are():
    rules = dynamics()
    state = begin(rules)
    y, z = torch.randn(2, 6, WIDTH), torch.randn(2, 6, WIDTH)
    after = rules.step(state, y, z, state.inputs, torch.zeros(2, dtype=torch.int64)).state
    assert after.y is y and after.z is z
    assert after.step.tolist() == [1, 1]
    assert state.step.tolist() == [0, 0]


def test_rewards_by_hand():
    rules = dynamics()
    state = begin(rules, batch=1)
    key = state.solution
    half = torch.cat([key[:, :2], torch.zeros_like(key[:, 2:])], -1)
    start = float(state.quality)

    improved = act(rules, state, half)
    assert float(improved.reward) == pytest.approx(0.5 - start - 0.03)
    solved = act(rules, improved.state, key)
    assert float(solved.reward) == pytest.approx(1.0 - 0.5 + 0.5 - 0.03)
    stayed = act(rules, solved.state, key)
    assert float(stayed.reward) == pytest.approx(-0.03)
    broken = act(rules, solved.state, half)
    assert float(broken.reward) == pytest.approx(-0.5 - 0.5 - 0.03)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans(), st.integers(0, 9)), min_size=2, max_size=8))
def test_the_gains_of_an_episode_sum_to_the_difference_of_its_ends(path):
    reward = Reward(pass_cost=0.25, solve_bonus=2.0, quality_weight=3.0, violation_cost=0.5)
    states = [Standing(torch.tensor([q]), torch.tensor([solved]), torch.tensor([float(v)])) for q, solved, v in path]
    total = sum(float(reward(a, b, 1)) + 0.25 for a, b in zip(states, states[1:], strict=False))
    first, last = path[0], path[-1]
    gained = [end - start for start, end in zip(first, last, strict=True)]
    assert total == pytest.approx(3.0 * gained[0] + 2.0 * gained[1] - 0.5 * gained[2], abs=1e-4)


@pytest.mark.parametrize(
    ("halt", "solve", "terminate_on_solved", "terminated"),
    [(0, False, True, False), (1, False, False, True), (0, True, False, False), (0, True, True, True)],
)
def test_termination(halt, solve, terminate_on_solved, terminated):
    rules = dynamics(terminate_on_solved=terminate_on_solved)
    state = begin(rules)
    step = act(rules, state, state.solution if solve else state.inputs, halt)
    assert step.state.solved.tolist() == [solve] * 2
    assert step.terminated.tolist() == [terminated] * 2
    assert step.truncated.tolist() == [False] * 2


def test_a_share_of_episodes_goes_on_after_it_is_solved():
    rules = dynamics(terminate_on_solved=0.9)
    instances = Backwards(train=20, test=5).instances("train")[torch.arange(4000) % 20]
    seeds = torch.randint(2**62, (4000,), generator=torch.Generator().manual_seed(0))
    state = rules.start(instances, seeds)
    first = act(rules, state, state.solution)
    assert first.state.solved.all()
    assert first.terminated.float().mean() == pytest.approx(0.9, abs=0.02)
    again = act(rules, first.state, state.solution)
    assert torch.equal(again.terminated, first.terminated), "which episodes end is decided once for each"


def test_a_share_beyond_one_is_refused():
    with pytest.raises(ValueError, match="in \\[0, 1\\]; got 1.5"):
        dynamics(terminate_on_solved=1.5)


@pytest.mark.parametrize("halt", [0, 1])
def test_the_last_step_truncates_unless_it_terminates(halt):
    rules = dynamics(max_steps=2)
    first = act(rules, begin(rules), begin(rules).inputs)
    last = act(rules, first.state, begin(rules).inputs, halt)
    assert not first.truncated.any()
    assert last.terminated.tolist() == [halt == 1] * 2
    assert last.truncated.tolist() == [halt == 0] * 2


def test_with_rows_replaces_those_rows_in_new_tensors():
    rules = dynamics()
    old = act(rules, begin(rules, 4), begin(rules, 4).inputs).state
    copies = {name: tensor.clone() for name, tensor in old.tensors().items()}
    fresh = rules.start(rules.puzzle.instances("test")[:2], torch.tensor([77, 78]))
    merged = old.with_rows(torch.tensor([1, 3]), fresh)
    for name, tensor in merged.tensors().items():
        assert torch.equal(tensor[[1, 3]], fresh.tensors()[name])
        assert torch.equal(tensor[[0, 2]], copies[name][[0, 2]])
        assert torch.equal(old.tensors()[name], copies[name])
        assert tensor.data_ptr() != old.tensors()[name].data_ptr()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"positions": -1}, "positions must be at least 0"),
        ({"max_steps": 0}, "max_steps must be at least 1"),
        ({"passes_per_step": 0}, "passes_per_step must be at least 1"),
        ({"initial_latents": (torch.zeros(3), torch.zeros(WIDTH))}, r"latent y has shape \[3\], expected \[8\] or"),
        ({"initial_latents": (torch.zeros(WIDTH), torch.full((WIDTH,), 9.0))}, "initial_latents reach 9"),
        ({"initial_latents": (torch.zeros(WIDTH), torch.full((WIDTH,), torch.nan))}, "initial_latents reach nan"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        dynamics(**changes)


def test_normalised_latents_are_within_the_bound():
    for width in (1, 4, 64):
        rules = dynamics(width=width)
        spike = torch.zeros(width)
        spike[0] = 1e3
        normalised = spike * torch.rsqrt(spike.square().mean() + 1e-5)
        assert float(normalised.abs().max()) <= rules.latent_bound


def sampler(seed: int = 0, split: str = "train", **options) -> Sampler:
    made = Sampler(Backwards(**options), split, torch.device("cpu"))
    made.seed(seed)
    return made


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 23), min_size=1, max_size=8), st.integers(0, 9))
def test_every_epoch_holds_every_instance_once(counts, seed):
    made = sampler(seed, "test", test=10)
    drawn = torch.cat([made.draw(count)[0].inputs for count in counts])
    everything = sorted(made.pick(range(10), 10)[0].inputs.tolist())
    for start in range(0, len(drawn) - 9, 10):
        assert sorted(drawn[start : start + 10].tolist()) == everything


def test_the_sampler_repeats_its_seed_and_continues_its_state():
    one, same, other = sampler(1), sampler(1), sampler(2)
    first = one.draw(30)
    assert torch.equal(first[0].inputs, same.draw(30)[0].inputs)
    assert not torch.equal(first[0].inputs, other.draw(30)[0].inputs)
    other.load_state_dict(one.state_dict())
    for _ in range(3):
        (instances, seeds), (restored, restored_seeds) = one.draw(17), other.draw(17)
        assert torch.equal(instances.inputs, restored.inputs)
        assert torch.equal(seeds, restored_seeds)
        assert bool(((seeds >= 0) & (seeds < 2**62)).all())


def test_augmentation_is_for_training_draws_only():
    known = {tuple(row) for row in sampler().pick(range(40), 40)[0].inputs.tolist()}
    assert not {tuple(row) for row in sampler().draw(40)[0].inputs.tolist()} <= known
    test_set = sampler(split="test")
    known = {tuple(row) for row in test_set.pick(range(10), 10)[0].inputs.tolist()}
    assert {tuple(row) for row in test_set.draw(10)[0].inputs.tolist()} == known


def test_a_sampler_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="unknown split 'holdout'; the splits are 'train', 'validation', 'test'"):
        sampler(split="holdout")
    with pytest.raises(ValueError, match="the test split holds no instances"):
        sampler(split="test", test=0)
    with pytest.raises(ValueError, match="drew from 40 instances"):
        sampler(train=41).load_state_dict(sampler().state_dict())


def test_a_sampler_goes_on_in_its_order_on_another_kind_of_device():
    one, same, other = sampler(), sampler(), sampler()
    for each in (one, same, other):
        each.seed(3)
    one.draw(17)
    # What CUDA's generator keeps means nothing to another one.
    state = {**one.state_dict(), "device": "cuda", "generator": torch.zeros(16, dtype=torch.uint8)}
    same.load_state_dict(state)
    other.load_state_dict(state)
    expected = {tuple(row) for row in one.draw(23)[0].inputs.tolist()}
    first, again = same.draw(23), other.draw(23)
    assert torch.equal(first[0].inputs, again[0].inputs) and torch.equal(first[1], again[1])
    assert len(expected) == len(first[0])
