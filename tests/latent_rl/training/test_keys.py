"""`agents` may not know `envs`: that both mean the same keys is tested here, where they meet."""

from __future__ import annotations

import torch
from toy_puzzle import Backwards

from latent_rl.agents import TARGETS, ReasonerConfig, RecursionPolicy, RecursiveReasoner
from latent_rl.envs import ACTION_KEYS, KEYS, OBSERVATION_KEYS, PRIVILEGED_KEYS, LatentRecursionVectorEnv, MDPConfig
from latent_rl.envs.mdp import Below, Key
from latent_rl.training.torchrl_env import LatentRecursionTorchEnv

ROWS = 3


def reasoner() -> RecursiveReasoner:
    torch.manual_seed(0)
    shape = ReasonerConfig(vocab_size=6, seq_len=4, width=8, layers=1, heads=2, cycles=1, inner_updates=1)
    return RecursiveReasoner(shape)


def environment(model: RecursiveReasoner) -> LatentRecursionTorchEnv:
    config = MDPConfig.of_reasoner(model)
    return LatentRecursionTorchEnv(LatentRecursionVectorEnv(Backwards, config=config, num_envs=ROWS))


def test_the_policy_reads_and_writes_the_keys_of_the_table():
    model = reasoner()
    policy, env = RecursionPolicy(model), environment(model)
    assert tuple(policy.in_keys) == OBSERVATION_KEYS
    # A policy may write more than the action, but nothing that is the environment's to write.
    assert tuple(key for key in policy.out_keys if key in KEYS) == ACTION_KEYS
    env.set_seed(0)
    acted = policy(env.reset())
    for key in ACTION_KEYS:
        assert acted[key].dtype == KEYS[key].dtype, key
    assert env.action_spec.is_in(acted.select(*ACTION_KEYS))


def test_targets_are_made_from_keys_of_the_table():
    for name, targets in TARGETS.items():
        # The policy's own logits, and what is said of answers that it samples, are no keys of the process.
        sampled = {"free", "group_log_prob", "group_solved", "best", "best_worth"}
        sampled |= {"greedy", "greedy_worth", "greedy_solved"}
        assert set(targets.in_keys) <= {*KEYS, "logits", *sampled}, name


def test_specs_say_what_the_table_says():
    env = environment(reasoner())
    specs = {**env.observation_spec, **env.action_spec}
    assert set(specs) == set(KEYS)
    for name, spec in specs.items():
        key = env._env.dynamics.keys[name]
        assert (spec.dtype, spec.shape) == (key.dtype, (ROWS, *key.shape)), name
    values = env.reset()
    for name in (*OBSERVATION_KEYS, *PRIVILEGED_KEYS):
        assert specs[name].is_in(values[name]), name


def test_a_new_line_shows_in_the_specs(monkeypatch):
    monkeypatch.setitem(KEYS, "marks", Key("marks", "observed", ("L",), torch.int64, Below("V")))
    monkeypatch.setitem(KEYS, "pencil", Key("pencil", "action", (), torch.int64, Below(3)))
    env = environment(reasoner())
    assert env.observation_spec["marks"] == env.observation_spec["inputs"]
    assert env.action_spec["pencil"].n == 3


def test_a_seed_is_the_vector_environments():
    env, vector = environment(reasoner()), environment(reasoner())._env
    env.set_seed(3)
    assert torch.equal(env._env.state_dict()["episodes"]["inputs"], vector.reset(seed=3)[0]["inputs"])
    assert torch.equal(env.reset()["episode_seed"], vector.reset()[1]["episode_seed"])
