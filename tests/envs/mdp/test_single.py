"""The single face: Gymnasium's contract, and what its docstring promises."""

from __future__ import annotations

import inspect
import pickle
import re
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from toy_puzzle import Backwards

from latent_rl.envs import LatentRecursionEnv


def table(section: str) -> list[str]:
    """The keys in the first column of the table under a heading of the class docstring."""
    text = LatentRecursionEnv.__doc__.split(f"## {section}")[1].split("## ")[0]
    return re.findall(r"^\s*\| `(\w+)`", text, re.MULTILINE)


def make(**options) -> LatentRecursionEnv:
    return LatentRecursionEnv(Backwards, width=8, **options)


def test_gymnasiums_checker_has_nothing_to_say():
    gymnasium.register("test/Backwards-v0", lambda **options: make(**options))
    try:
        env = gymnasium.make("test/Backwards-v0", disable_env_checker=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(env.unwrapped)
    finally:
        del gymnasium.registry["test/Backwards-v0"]


def test_the_docstring_names_the_keys_of_the_code():
    env = make()
    observation, info = env.reset(seed=0)
    stepped = env.step({**env.action_space.sample(), "halt": 0})
    assert table("Observation Space") == list(observation) == list(stepped[0])
    assert set(table("Observation Space")) == set(env.observation_space.spaces)
    assert set(table("Action Space")) == set(env.action_space.spaces)
    assert table("Information") == list(info) == list(stepped[4])


def test_the_docstring_names_the_arguments_of_the_code():
    parameters = inspect.signature(LatentRecursionEnv.__init__).parameters
    assert table("Arguments") == [name for name in parameters if name != "self"]
    stated = dict(re.findall(r"^\s*\| `(\w+)` \| `?([^`|]*?)`? \|", LatentRecursionEnv.__doc__, re.MULTILINE))
    for name in ("split", "width", "positions", "max_steps", "passes_per_step", "terminate_on_solved", "render_mode"):
        assert stated[name].strip('"') == str(parameters[name].default)


def test_observations_and_samples_stay_in_their_spaces():
    env = make(max_steps=3)
    env.action_space.seed(0)
    observation, info = env.reset(seed=0)
    for _ in range(20):
        assert observation in env.observation_space
        assert "solution" not in observation
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert type(reward) is float and type(terminated) is bool and type(truncated) is bool
        if terminated or truncated:
            assert observation in env.observation_space
            observation, info = env.reset()


def test_the_action_is_copied():
    env = make()
    env.reset(seed=0)
    action = {**env.action_space.sample(), "halt": 0}
    expected = action["next_y"].copy()
    observation = env.step(action)[0]
    action["next_y"][:] = 0
    observation["y"][:] = 1
    assert np.array_equal(env.step({**action, "next_y": expected})[0]["y"], expected)


def test_a_seed_repeats_the_episodes_and_an_index_picks_one():
    env, same = make(), make()
    first = [env.reset(seed=3), env.reset(), env.reset()]
    again = [same.reset(seed=3), same.reset(), same.reset()]
    assert data_equivalence(first, again, exact=True)
    assert not data_equivalence(first[0][0], first[1][0])
    key = Backwards().instances("train")
    for index in (0, 39):
        observation, info = env.reset(options={"index": index})
        assert np.array_equal(observation["inputs"], key.inputs[index])
        assert np.array_equal(info["solution"], key.solution[index])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"index": 40}, "holds 40, but the train split of backwards-4 has instances 0 to 39"),
        ({"index": -1}, "holds -1"),
        ({"index": [1, 2]}, "holds 2 indices for 1 episodes"),
        ({"indx": 1}, "unknown reset option 'indx'; known: index"),
    ],
)
def test_wrong_reset_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make().reset(options=options)


def test_stepping_needs_a_running_episode():
    env = make()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())
    env.reset(seed=0)
    assert env.step({**env.action_space.sample(), "halt": 1})[2] is True
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())


def test_wrong_actions_are_named():
    env = make()
    env.reset(seed=0)
    action = env.action_space.sample()
    with pytest.raises(ValueError, match=r"'answer' has shape \[1, 3\], expected \[1, 4\]"):
        env.step({**action, "answer": action["answer"][:3]})
    with pytest.raises(ValueError, match="lacks 'halt'"):
        env.step({key: value for key, value in action.items() if key != "halt"})


def test_rendering_shows_the_puzzle_beside_the_answer():
    env = make(render_mode="ansi")
    _, info = env.reset(seed=0)
    start = env.render()
    assert start.startswith("step 0/6  quality ") and "not solved" in start
    env.step({**env.action_space.sample(), "answer": info["solution"], "halt": 0})
    heading, board = env.render().splitlines()
    assert heading == "step 1/6  quality 1.00  solved"
    left, right = board.split("   ")
    assert right.split() == left.split()[::-1]


def test_render_modes():
    with pytest.raises(ValueError, match="unknown render_mode 'human'"):
        make(render_mode="human")
    env = make()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render mode"):
        assert env.render() is None


def test_an_episode_survives_pickling():
    env = make()
    env.reset(seed=0)
    action = {**env.action_space.sample(), "halt": 0}
    copy = pickle.loads(pickle.dumps(env))
    assert data_equivalence(env.step(action), copy.step(action), exact=True)
    assert data_equivalence(env.reset(), copy.reset(), exact=True)
