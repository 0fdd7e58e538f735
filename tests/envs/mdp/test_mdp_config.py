"""One value says what the decision process is; its fields may also be given one by one."""

from __future__ import annotations

import dataclasses
import inspect
from types import SimpleNamespace

import gymnasium
import pytest
import torch
from toy_puzzle import Backwards

from latent_rl.envs import LatentRecursionEnv, LatentRecursionVectorEnv, MDPConfig, Reward
from latent_rl.envs.mdp.config import split_options

CONFIG = MDPConfig(width=8, positions=2, max_steps=3, reward=Reward(pass_cost=0.5))


def values(config: MDPConfig) -> dict:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def test_a_config_does_what_its_fields_do_one_by_one():
    for whole, parts in (
        (
            LatentRecursionEnv(Backwards, config=CONFIG, length=3),
            LatentRecursionEnv(Backwards, length=3, **values(CONFIG)),
        ),
        (
            LatentRecursionVectorEnv(Backwards, config=CONFIG, num_envs=2),
            LatentRecursionVectorEnv(Backwards, num_envs=2, **values(CONFIG)),
        ),
    ):
        assert whole.observation_space == parts.observation_space
        assert whole.action_space == parts.action_space
        assert values(whole.dynamics.config) == values(parts.dynamics.config) == values(CONFIG)


def test_a_keyword_comes_before_the_config():
    env = LatentRecursionEnv(Backwards, config=CONFIG, max_steps=5, length=3)
    assert values(env.dynamics.config) == {**values(CONFIG), "max_steps": 5}
    assert CONFIG.max_steps == 3
    assert split_options(None, {"size": 4, "width": 8})[1] == {"size": 4}


def test_gymnasium_takes_both():
    options = {"size": 4, "train": 8, "test": 8}
    for made in (
        gymnasium.make("latent_rl/Sudoku-v0", max_steps=3, width=8, **options).unwrapped,
        gymnasium.make("latent_rl/Sudoku-v0", config=MDPConfig(max_steps=3, width=8), **options).unwrapped,
        gymnasium.make_vec("latent_rl/Sudoku-v0", num_envs=2, config=MDPConfig(max_steps=3, width=8), **options),
    ):
        assert (made.dynamics.config.max_steps, made.dynamics.config.width) == (3, 8)
        assert made.puzzle.name == "sudoku-4x4"


@pytest.mark.parametrize("face", [LatentRecursionEnv, LatentRecursionVectorEnv])
def test_a_signature_shows_the_fields_with_their_defaults(face):
    parameters = inspect.signature(face).parameters
    assert {name: parameters[name].default for name in values(CONFIG)} == values(MDPConfig())
    assert parameters["options"].kind is inspect.Parameter.VAR_KEYWORD


def test_a_reasoner_says_what_it_needs():
    shape = SimpleNamespace(width=8, puzzle_positions=2, passes_per_step=21)
    reasoner = SimpleNamespace(config=shape, initial_y=torch.ones(8), initial_z=torch.zeros(8))
    config = MDPConfig.of_reasoner(reasoner, max_steps=16)
    assert (config.width, config.positions, config.passes_per_step, config.max_steps) == (8, 2, 21, 16)
    env = LatentRecursionEnv(Backwards, config=config)
    observation, _ = env.reset(seed=0)
    assert (observation["y"] == 1).all() and not observation["z"].any()


def test_wrong_values_are_named_and_values_are_fixed():
    with pytest.raises(ValueError, match="terminate_on_solved is a share of episodes"):
        MDPConfig(terminate_on_solved=1.5)
    with pytest.raises(ValueError, match="max_steps must be at least 1, got 0"):
        LatentRecursionEnv(Backwards, config=CONFIG, max_steps=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        CONFIG.width = 9
