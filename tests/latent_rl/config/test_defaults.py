"""Where a library class and the schema both have a default, it is one value: a run and a script mean the same."""

from __future__ import annotations

import inspect

import pytest

from latent_rl.agents import Deduction, HaltingLearner, HaltingPolicy, Search
from latent_rl.config.schema import Config, DeductionConfig, EnvConfig, HaltingPPOConfig, RewardConfig
from latent_rl.envs import MDPConfig, Reward


@pytest.mark.parametrize(
    ("kind", "section", "names"),
    [
        (HaltingLearner, HaltingPPOConfig, ["lr", "clip", "entropy", "lmbda", "epochs", "minibatch"]),
        (HaltingPolicy, HaltingPPOConfig, ["hidden", "floor"]),
        (Reward, RewardConfig, ["pass_cost", "solve_bonus"]),
        (Deduction, DeductionConfig, list(DeductionConfig.model_fields)),
        (MDPConfig, EnvConfig, ["max_steps", "terminate_on_solved"]),
    ],
)
def test_classes_agree_with_the_schema(kind: type, section: type, names: list[str]) -> None:
    parameters = inspect.signature(kind).parameters
    ours = {name: parameters[name].default for name in names}
    assert ours == {name: section.model_fields[name].default for name in names}


def test_search_agrees_with_its_options() -> None:
    from latent_rl import cli

    parser = cli.Parser("x", "x", "x")
    cli.add_search_arguments(parser)
    options, search = parser.parse_args([]), Search(trajectories=1)
    cli.check_search(parser, options)
    assert (options.noise, options.enough, options.choose) == (search.noise, search.enough, search.choose)


def test_a_configuration_needs_nothing_to_be_whole() -> None:
    assert Config().halting.ppo == HaltingPPOConfig()
