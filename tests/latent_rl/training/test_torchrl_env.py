"""The TorchRL face: specs, collectors with partial resets, resumed collectors."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torchrl.collectors import Collector
from torchrl.data import Categorical
from torchrl.envs import StepCounter, TransformedEnv
from torchrl.envs.utils import check_env_specs
from toy_puzzle import Backwards

from latent_rl.envs import ACTION_KEYS, OBSERVATION_KEYS, PRIVILEGED_KEYS, LatentRecursionVectorEnv
from latent_rl.training import LatentRecursionTorchEnv

NUM_ENVS, STEPS, MAX_STEPS, WIDTH = 5, 7, 4, 8


def make(**options) -> LatentRecursionTorchEnv:
    options = {"num_envs": NUM_ENVS, "width": WIDTH, "max_steps": MAX_STEPS, **options}
    return LatentRecursionTorchEnv(LatentRecursionVectorEnv(Backwards, **options))


class Scripted(TensorDictModuleBase):
    """Moves the latents in a way that can be checked, and halts after as many steps as the puzzle's first letter."""

    in_keys = list(OBSERVATION_KEYS)
    out_keys = [*ACTION_KEYS, "logits"]

    def forward(self, td: TensorDictBase) -> TensorDictBase:
        td["next_y"] = td["y"] * 0.5 + 1
        td["next_z"] = td["z"] - td["y"] * 0.25
        td["answer"] = torch.where(td["step"][:, None] % 2 == 0, td["inputs"].flip(-1), td["inputs"])
        td["halt"] = (td["step"] + 1 >= td["inputs"][:, 0]).long()
        td["logits"] = torch.nn.functional.one_hot(td["answer"], 6).float()
        return td


def collector(env, **options) -> Collector:
    defaults = {"frames_per_batch": NUM_ENVS * STEPS, "total_frames": -1, "auto_register_policy_transforms": False}
    return Collector(env, Scripted(), **{**defaults, **options})


def test_specs():
    env = make()
    check_env_specs(env, seed=0)
    assert env.batch_size == (NUM_ENVS,)
    assert sorted(env.action_keys) == sorted(ACTION_KEYS)
    assert set(env.observation_spec.keys()) == {*OBSERVATION_KEYS, *PRIVILEGED_KEYS}
    for key, spec in (("inputs", env.observation_spec["inputs"]), ("answer", env.action_spec["answer"])):
        assert isinstance(spec, Categorical) and spec.n == 6 and spec.shape == (NUM_ENVS, 4), key


def test_a_seed_repeats_the_rollout():
    env, same = make(), make()
    env.set_seed(3)
    same.set_seed(3)
    rollouts = [e.rollout(12, Scripted(), break_when_any_done=False) for e in (env, same)]
    assert bool((rollouts[0] == rollouts[1]).all())


def test_actions_and_specs_agree_with_gymnasium():
    env = make()
    action = env.action_spec.rand()
    assert {key: value.numpy() for key, value in action.items()} in env._env.action_space
    observation = env.reset().select(*OBSERVATION_KEYS)
    assert {key: value.numpy() for key, value in observation.items()} in env._env.observation_space


@pytest.mark.parametrize("options", [{}, {"use_buffers": False, "return_same_td": True, "track_traj_ids": False}])
def test_a_collector_loses_no_terminal_observation(options):
    env = make()
    env.set_seed(0)
    batches = [batch.clone() for batch, _ in zip(collector(env, **options), range(3), strict=False)]
    steps = torch.cat(batches, dim=1)
    assert steps.shape == (NUM_ENVS, 3 * STEPS)
    following = steps["next"]
    done = following["done"].squeeze(-1)
    first = steps["step"] == 0

    # The observation after a step is the action's, at the end of an episode too.
    for key in ("y", "z"):
        assert torch.equal(following[key], steps[f"next_{key}"])
    assert torch.equal(following["step"], steps["step"] + 1)
    assert torch.equal(following["inputs"], steps["inputs"])
    assert torch.equal(following["solved"], (steps["answer"] == steps["solution"]).all(-1))
    # An episode goes on where it was, or a new one starts from the initial latents; across batches as well.
    went_on = ~done[:, :-1]
    for key in (*OBSERVATION_KEYS, *PRIVILEGED_KEYS):
        assert torch.equal(steps[key][:, 1:][went_on], following[key][:, :-1][went_on]), key
    assert torch.equal(first[:, 1:], done[:, :-1])
    assert not steps["y"][first].any() and not steps["z"][first].any()
    assert not (steps["episode_seed"][:, 1:] == steps["episode_seed"][:, :-1])[~went_on].any()
    # Both ends occur, each where it should.
    halted = following["terminated"].squeeze(-1)
    assert torch.equal(halted, steps["step"] + 1 >= steps["inputs"][..., 0])
    assert torch.equal(following["truncated"].squeeze(-1), (following["step"] == MAX_STEPS) & ~halted)
    assert halted.any() and following["truncated"].any()


def test_batches_keep_their_values_while_collection_goes_on():
    running = iter(collector(make(), frames_per_batch=NUM_ENVS, use_buffers=False, return_same_td=True))
    kept = [next(running) for _ in range(10)]
    copies = [batch.clone() for batch in kept]
    for _ in range(10):
        next(running)
    assert all(bool((batch == copy).all()) for batch, copy in zip(kept, copies, strict=True))


def test_resetting_a_collector_starts_from_the_initial_latents():
    """`Collector.reset` first writes zeros into the observations it holds."""
    env = make(initial_latents=(torch.full((WIDTH,), 1.5), torch.full((WIDTH,), -0.5)))
    running = collector(env)
    running.reset()
    batch = next(iter(running))
    assert (batch["y"][:, 0] == 1.5).all() and (batch["z"][:, 0] == -0.5).all()
    assert bool((batch["inputs"] > 0).all())


def test_a_new_collector_resumes_bit_for_bit():
    env = make()
    env.set_seed(0)
    running = iter(collector(env))
    next(running)
    state = env._env.state_dict()
    resumed = make()
    resumed._env.load_state_dict(state)
    for expected, found, _ in zip(running, collector(resumed), range(3), strict=False):
        assert bool((expected.exclude("collector") == found.exclude("collector")).all())


def test_transforms_and_partial_resets_by_tensordict():
    env = TransformedEnv(make(), StepCounter())
    check_env_specs(env, seed=0)
    rollout = env.rollout(12, Scripted(), break_when_any_done=False)
    assert torch.equal(rollout["step_count"].squeeze(-1), rollout["step"])
    last = rollout[:, -1]["next"].select(*OBSERVATION_KEYS, *PRIVILEGED_KEYS, "done", "terminated", "truncated")
    mask = torch.tensor([True, False, True, False, False])
    restarted = env.base_env.reset(last.clone().set("_reset", mask[:, None]))
    assert torch.equal(restarted["step"] == 0, mask)
    assert torch.equal(restarted["inputs"][~mask], last["inputs"][~mask])


@pytest.mark.gpu
def test_collection_on_a_gpu_stays_there():
    env = make(device="cuda")
    check_env_specs(env, seed=0)
    batch = next(iter(collector(env)))
    assert all(value.is_cuda for value in batch.exclude("collector").values(True, True))
