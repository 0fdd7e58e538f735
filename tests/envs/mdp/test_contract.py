"""The table of keys: what environments return is what it says, and a line of it reaches everything made from it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from gymnasium import spaces
from toy_puzzle import Backwards

from latent_rl.envs import (
    ACTION_KEYS,
    KEYS,
    OBSERVATION_KEYS,
    PRIVILEGED_KEYS,
    LatentRecursionEnv,
    LatentRecursionVectorEnv,
)
from latent_rl.envs.mdp.contract import Anything, Below, Flag, Key, Within, gymnasium_space
from latent_rl.envs.mdp.dynamics import State

WIDTH, ROWS = 8, 3


def batch(**options) -> LatentRecursionVectorEnv:
    return LatentRecursionVectorEnv(Backwards, **{"num_envs": ROWS, "width": WIDTH, "positions": 2, **options})


def test_every_key_has_one_role_and_what_a_state_holds_is_in_the_table():
    assert list(KEYS) == [*OBSERVATION_KEYS, *PRIVILEGED_KEYS, *ACTION_KEYS]
    assert all(name == key.name for name, key in KEYS.items())
    # Apart from what it shows, a state remembers the answer.
    assert {field.name for field in dataclasses.fields(State)} == {*OBSERVATION_KEYS, *PRIVILEGED_KEYS, "answer"}


def test_a_batch_returns_what_the_table_says():
    env = batch()
    everything = gymnasium_space(env.dynamics.keys.values())
    action = env.action_space.sample()
    for observations, *_, infos in (env.reset(seed=0), env.step(action)):
        assert tuple(observations) == OBSERVATION_KEYS
        assert tuple(infos) == PRIVILEGED_KEYS
        for name, value in {**observations, **infos}.items():
            key = env.dynamics.keys[name]
            assert value.dtype == key.dtype, name
            assert value.shape == (ROWS, *key.shape), name
            assert all(np.asarray(row) in everything[name] for row in value.numpy()), name
    assert set(action) == set(ACTION_KEYS)
    for name, value in action.items():
        assert torch.as_tensor(value).dtype == KEYS[name].dtype
        assert value.shape == (ROWS, *env.dynamics.keys[name].shape)


def test_a_single_episode_returns_what_the_table_says():
    env = LatentRecursionEnv(Backwards, width=WIDTH)
    everything = gymnasium_space(env.dynamics.keys.values())
    for observation, *_, info in (env.reset(seed=0), env.step(env.action_space.sample())):
        assert (tuple(observation), tuple(info)) == (OBSERVATION_KEYS, PRIVILEGED_KEYS)
        for name, value in {**observation, **info}.items():
            assert torch.as_tensor(value).dtype == KEYS[name].dtype, name
            assert np.asarray(value) in everything[name], name


def test_a_new_line_shows_in_spaces_and_checks(monkeypatch):
    monkeypatch.setitem(KEYS, "marks", Key("marks", "observed", ("L",), torch.int64, Below("V")))
    monkeypatch.setitem(
        KEYS, "pencil", Key("pencil", "action", ("P + L", "D"), torch.float32, Within("-bound", "bound"))
    )
    env = batch()
    assert env.single_observation_space["marks"] == env.single_observation_space["inputs"]
    assert env.single_action_space["pencil"] == env.single_action_space["next_y"]
    monkeypatch.setattr(State, "marks", property(lambda state: state.inputs), raising=False)
    observations, _ = env.reset(seed=0)
    assert torch.equal(observations["marks"], observations["inputs"])
    action = env.action_space.sample()
    with pytest.raises(ValueError, match="the action lacks 'pencil'"):
        env.step({name: value for name, value in action.items() if name != "pencil"})


def test_a_changed_role_moves_a_key(monkeypatch):
    for name in ("quality", "solved", "solution"):
        monkeypatch.setitem(KEYS, name, dataclasses.replace(KEYS[name], role="observed"))
    env = LatentRecursionEnv(Backwards, width=WIDTH)
    observation, info = env.reset(seed=0)
    assert {"quality", "solved", "solution"} <= observation.keys()
    assert set(info) == {"episode_seed", "ends_when_solved", "violations"}
    stepped = env.step(env.action_space.sample())[0]
    for found in (observation, stepped):
        assert {name: np.asarray(value) for name, value in found.items()} in env.observation_space


@pytest.mark.parametrize(
    ("key", "space"),
    [
        (Key("k", "observed", ("L",), torch.int64, Below("V")), spaces.MultiDiscrete([6] * 4)),
        (Key("k", "observed", (), torch.int64, Below(2)), spaces.Discrete(2)),
        (Key("k", "observed", ("D",), torch.float32, Within(0, "V")), spaces.Box(0, 6, (WIDTH,), np.float32)),
        (Key("k", "observed", (), torch.bool, Flag()), spaces.Box(0, 1, (), np.bool_)),
        (Key("k", "observed", ("L",), torch.float32, Anything()), spaces.Box(-np.inf, np.inf, (4,), np.float32)),
    ],
)
def test_kinds_as_spaces(key, space):
    sized = key.sized(batch().dynamics.sizes)
    assert gymnasium_space([sized])["k"] == space
    assert gymnasium_space([sized])["k"].dtype == space.dtype


def test_a_state_under_the_names_of_the_first_version_is_continued():
    env, resumed = batch(terminate_on_solved=0.5), batch(terminate_on_solved=0.5)
    env.reset(seed=0)
    state = env.state_dict()
    before = {"solution": "solutions", "puzzle_id": "puzzle_ids", "answer": "answers"}
    episodes = {before.get(name, name): value for name, value in state["episodes"].items()}
    del episodes["ends_when_solved"], episodes["violations"]  # the seed and the answer say it
    old = {**state, "episodes": episodes}
    resumed.load_state_dict(old)
    assert all(torch.equal(value, resumed.state_dict()["episodes"][name]) for name, value in state["episodes"].items())


def test_a_state_with_other_keys_is_refused():
    env = batch()
    env.reset(seed=0)
    state = env.state_dict()
    less = {name: value for name, value in state["episodes"].items() if name != "quality"}
    for episodes in (less, {**state["episodes"], "marks": torch.zeros(ROWS)}):
        with pytest.raises(ValueError, match=r"saved episodes do not fit this environment: .*(quality|marks)"):
            env.load_state_dict({**state, "episodes": episodes})
