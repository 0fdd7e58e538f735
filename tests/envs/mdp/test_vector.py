"""The batched face: equal to single episodes, partial resets, saved and restored episodes."""

from __future__ import annotations

import io

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_puzzle import Backwards

from latent_rl.envs import LatentRecursionEnv, LatentRecursionVectorEnv, Reward

WIDTH = 6


def make(num_envs: int, **options) -> LatentRecursionVectorEnv:
    return LatentRecursionVectorEnv(Backwards, **{"num_envs": num_envs, "width": WIDTH, **options})


def random_actions(env: LatentRecursionVectorEnv, infos: dict, seed: int) -> dict[str, torch.Tensor]:
    """Actions that halt now and then and are right now and then."""
    generator = torch.Generator().manual_seed(seed)
    shape = (env.num_envs, *env.dynamics.latent_shape)
    guesses = torch.randint(0, env.puzzle.vocab_size, infos["solution"].shape, generator=generator)
    right = torch.rand(env.num_envs, 1, generator=generator) < 0.3
    return {
        "next_y": torch.rand(shape, generator=generator),
        "next_z": torch.rand(shape, generator=generator),
        "answer": torch.where(right, infos["solution"], guesses),
        "halt": (torch.rand(env.num_envs, generator=generator) < 0.2).long(),
    }


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@settings(max_examples=15, deadline=None)
@given(
    num_envs=st.integers(1, 5),
    seed=st.integers(0, 2**16),
    terminate_on_solved=st.booleans(),
    max_steps=st.integers(1, 4),
    positions=st.integers(0, 2),
)
def test_a_batch_equals_single_episodes(num_envs, seed, terminate_on_solved, max_steps, positions):
    generator = np.random.default_rng(seed)
    options = {
        "terminate_on_solved": terminate_on_solved,
        "max_steps": max_steps,
        "positions": positions,
        "reward": Reward(pass_cost=0.02, solve_bonus=0.7),
        "initial_latents": (torch.linspace(-1, 1, WIDTH), torch.linspace(2, 0, WIDTH)),
    }
    batch = make(num_envs, **options)
    singles = [LatentRecursionEnv(Backwards, width=WIDTH, **options) for _ in range(num_envs)]

    def compare(observations, infos, rows, results):
        for row, (observation, info) in zip(rows, results, strict=True):
            assert observation.keys() == observations.keys() and info.keys() == infos.keys()
            for key, value in observation.items():
                assert np.array_equal(observations[key][row].numpy(), value), key
            for key in info.keys() - {"episode_seed"}:
                assert np.array_equal(infos[key][row].numpy(), info[key]), key

    indices = generator.integers(40, size=num_envs).tolist()
    observations, infos = batch.reset(seed=seed, options={"index": indices})
    compare(
        observations,
        infos,
        range(num_envs),
        [env.reset(options={"index": index}) for env, index in zip(singles, indices, strict=True)],
    )
    for number in range(2 * max_steps):
        actions = random_actions(batch, infos, seed + number)
        observations, rewards, terminated, truncated, infos = batch.step(actions)
        results = []
        for row, env in enumerate(singles):
            observation, reward, end, cut, info = env.step({key: value[row].numpy() for key, value in actions.items()})
            assert (reward, end, cut) == (float(rewards[row]), bool(terminated[row]), bool(truncated[row]))
            results.append((observation, info))
        compare(observations, infos, range(num_envs), results)
        ended = terminated | truncated
        if ended.any():
            rows = ended.nonzero(as_tuple=True)[0].tolist()
            indices = generator.integers(40, size=len(rows)).tolist()
            observations, infos = batch.reset(options={"reset_mask": ended, "index": indices})
            fresh = [singles[row].reset(options={"index": index}) for row, index in zip(rows, indices, strict=True)]
            compare(observations, infos, rows, fresh)


def test_a_batch_of_one_draws_as_the_single_face_does():
    batch, single = make(1), LatentRecursionEnv(Backwards, width=WIDTH)
    for seed in (5, None, None):
        (observations, infos), expected = batch.reset(seed=seed), single.reset(seed=seed)
        rows = [{key: value[0].numpy() for key, value in part.items()} for part in (observations, infos)]
        for part, wanted in zip(rows, expected, strict=True):
            assert all(np.array_equal(part[key], wanted[key]) for key in wanted)


def test_metadata_spaces_and_types():
    env = make(3)
    assert env.metadata["autoreset_mode"] is env.autoreset_mode is AutoresetMode.DISABLED
    observations, infos = env.reset(seed=0)
    arrays = {key: value.numpy() for key, value in observations.items()}
    assert arrays in env.observation_space
    observations, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
    assert rewards.dtype == torch.float32
    assert terminated.dtype == truncated.dtype == infos["solved"].dtype == torch.bool
    assert rewards.shape == terminated.shape == truncated.shape == (3,)
    assert not observations.keys() & {"solution", "solutions"}


@pytest.mark.parametrize("as_array", [False, True])
def test_a_partial_reset_leaves_other_rows_and_old_tensors_alone(as_array):
    env = make(5)
    _, infos = env.reset(seed=0)
    before, *_, infos_before = env.step(random_actions(env, infos, 0))
    kept = {key: value.clone() for key, value in {**before, **infos_before}.items()}
    mask = torch.tensor([True, False, False, True, False])
    after, infos_after = env.reset(options={"reset_mask": mask.numpy() if as_array else mask})
    assert same({**before, **infos_before}, kept)
    for key, value in {**after, **infos_after}.items():
        assert torch.equal(value[~mask], kept[key][~mask]), key
    assert after["step"].tolist() == [0, 1, 1, 0, 1]
    assert not after["y"][mask].any() and after["y"][~mask].any()
    assert not (infos_after["episode_seed"][mask] == kept["episode_seed"][mask]).any()


def test_a_mask_without_rows_changes_nothing():
    env = make(3)
    observations, infos = env.reset(seed=0)
    state = env.state_dict()["sampler"]
    again, infos_again = env.reset(options={"reset_mask": torch.zeros(3, dtype=torch.bool)})
    assert same(observations, again) and same(infos, infos_again)
    assert torch.equal(state["generator"], env.state_dict()["sampler"]["generator"])


def test_a_tensor_action_becomes_the_state_detached_and_without_a_copy():
    env = make(2)
    _, infos = env.reset(seed=0)
    actions = random_actions(env, infos, 0)
    actions["next_y"].requires_grad_()
    observations, *_ = env.step(actions)
    assert observations["y"].data_ptr() == actions["next_y"].data_ptr()
    assert not observations["y"].requires_grad
    half = {**actions, "next_y": actions["next_y"].detach().bfloat16()}
    assert env.step(half)[0]["y"].dtype == torch.float32


def test_seeds_repeat_and_differ():
    one, two = make(4), make(4)
    first, again, other = one.reset(seed=1)[0], two.reset(seed=1)[0], two.reset(seed=2)[0]
    assert torch.equal(first["inputs"], again["inputs"])
    assert not torch.equal(first["inputs"], other["inputs"])
    assert not torch.equal(make(4).reset()[1]["episode_seed"], make(4).reset()[1]["episode_seed"])


def play(env: LatentRecursionVectorEnv, steps: int, seed: int) -> list[torch.Tensor]:
    """Everything that a run returns, starting with a plain reset."""
    observations, infos = env.reset()
    seen = [*observations.values(), *infos.values()]
    for number in range(steps):
        observations, rewards, terminated, truncated, infos = env.step(random_actions(env, infos, seed + number))
        seen += [*observations.values(), *infos.values(), rewards, terminated, truncated]
        observations, infos = env.reset(options={"reset_mask": terminated | truncated})
        seen += [*observations.values(), *infos.values()]
    return seen


def test_a_restored_run_continues_bit_for_bit():
    env = make(4, max_steps=3)
    play(env, 5, seed=0)
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed, resumed_again = make(4, max_steps=3), make(4, max_steps=3)
    resumed.load_state_dict(state)
    resumed_again.load_state_dict(state)

    expected = play(resumed, 20, seed=9)
    assert all(torch.equal(a, b) for a, b in zip(expected, play(resumed_again, 20, seed=9), strict=True))
    assert torch.equal(expected[0], state["episodes"]["inputs"])

    # The original run, which never stopped, saw the same: only its first reset is left out.
    infos = {"solution": env.state_dict()["episodes"]["solution"]}
    for number in range(20):
        observations, rewards, terminated, truncated, infos = env.step(random_actions(env, infos, 9 + number))
        observations, infos = env.reset(options={"reset_mask": terminated | truncated})
    assert all(
        torch.equal(a, b) for a, b in zip([*observations.values(), *infos.values()], expected[-11:], strict=True)
    )


def test_only_the_first_full_reset_after_loading_returns_the_restored_episodes():
    env = make(4)
    env.reset(seed=0)
    state = env.state_dict()
    env.load_state_dict(state)
    assert torch.equal(env.reset()[1]["episode_seed"], state["episodes"]["episode_seed"])
    assert not torch.equal(env.reset()[1]["episode_seed"], state["episodes"]["episode_seed"])
    env.load_state_dict(state)
    assert not torch.equal(env.reset(seed=1)[1]["episode_seed"], state["episodes"]["episode_seed"])
    env.load_state_dict(state)
    env.step(env.action_space.sample())
    assert not torch.equal(env.reset()[1]["episode_seed"], state["episodes"]["episode_seed"])


@pytest.mark.parametrize("changes", [{"num_envs": 3}, {"width": 7}, {"length": 5}, {"train": 41}])
def test_a_state_of_another_environment_is_refused(changes):
    env = make(4)
    env.reset(seed=0)
    other = make(**{"num_envs": 4, **changes})
    with pytest.raises(ValueError, match="saved"):
        other.load_state_dict(env.state_dict())


def test_wrong_calls_are_named():
    env = make(4)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.state_dict()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.reset(options={"reset_mask": torch.ones(4, dtype=torch.bool)})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"must be bool \[4\], got torch.bool \[3\]"):
        env.reset(options={"reset_mask": torch.ones(3, dtype=torch.bool)})
    with pytest.raises(ValueError, match="got torch.int64"):
        env.reset(options={"reset_mask": torch.ones(4, dtype=torch.int64)})
    with pytest.raises(ValueError, match="holds 3 indices for 4 episodes"):
        env.reset(options={"index": [1, 2, 3]})
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        make(0)


def test_rendering_shows_every_row():
    env = make(2, render_mode="ansi")
    env.reset(seed=0)
    assert len(env.render()) == 2
    assert all(frame.startswith("step 0/6") for frame in env.render())


@pytest.mark.gpu
def test_on_a_gpu_everything_stays_there_and_equals_the_cpu():
    cpu, gpu = make(8), make(8, device="cuda")
    (_, infos), (observations, _) = (env.reset(seed=0, options={"index": list(range(8))}) for env in (cpu, gpu))
    assert all(value.is_cuda for value in observations.values())
    actions = random_actions(cpu, infos, 0)
    expected = cpu.step(actions)
    found = gpu.step({key: value.cuda() for key, value in actions.items()})
    assert torch.equal(found[1].cpu(), expected[1])
    assert same({key: value.cpu() for key, value in found[0].items()}, expected[0])
    mask = torch.arange(8, device="cuda") < 3
    assert gpu.reset(options={"reset_mask": mask})[0]["step"].tolist() == [0] * 3 + [1] * 5
    state = gpu.state_dict()
    first = gpu.reset()[1]["episode_seed"]
    gpu.load_state_dict(state)
    gpu.reset()
    assert torch.equal(gpu.reset()[1]["episode_seed"], first)


def test_gymnasium_accepts_the_batch_as_one_environment_each():
    """`make_vec` in sync mode stacks single faces; its first observation must equal theirs."""
    envs = gymnasium.vector.SyncVectorEnv([lambda: LatentRecursionEnv(Backwards, width=WIDTH)] * 2)
    observations, _ = envs.reset(seed=7)
    single = LatentRecursionEnv(Backwards, width=WIDTH).reset(seed=8)[0]
    assert data_equivalence({key: value[1] for key, value in observations.items()}, single, exact=True)
