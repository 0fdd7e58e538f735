"""What would make a processor wait for its accelerator in every update, counted where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from loop import learn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from latent_rl.agents import StepGraph
from latent_rl.config import load_config
from latent_rl.envs import LatentRecursionVectorEnv, MDPConfig
from latent_rl.training import assemble
from latent_rl.training.parts import build_losses, build_policy, build_puzzle, build_reasoner

SMALL = [
    "env.options={size: 4, train: 40, test: 10, augment: true}",
    "network={width: 16, layers: 1, heads: 2, multiple_of: 8}",
    "collector.num_envs=8",
    "tracking.enabled=false",
    "device=cpu",
]

ASKS = {
    "aten::_local_scalar_dense",  # .item(), bool(), int(), float()
    "aten::is_nonzero",
    "aten::equal",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::repeat_interleave",
    "aten::lift_fresh",  # a constant of Python, to be sent to the device
}


class Watch(TorchDispatchMode):
    """Counts the operations whose result the processor has to wait for, and those that mix devices."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.mixed: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        # An index of truth values is `nonzero` in disguise; a number of Python's is a tensor of no dimension.
        by_mask = name in ("aten::index", "aten::index_put_") and any(one.dtype == torch.bool for one in tensors[1:])
        if name in ASKS or by_mask:
            self.waits[name] += 1
        if len({one.device for one in tensors if one.ndim}) > 1:
            self.mixed[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.mark.parametrize(
    "settings", [[], ["scheme=dis"], ["scheme=trm", "halting.rule=never"]], ids=["pi", "dis", "trm"]
)
def test_a_fused_update_does_not_wait(watch: Watch, settings: list[str]) -> None:
    run = assemble(load_config("sudoku-4x4", [*SMALL, *settings, "env.max_steps=2"]))
    # As on an accelerator.
    run.collection.environment.vector.masked_resets = True
    learn(run, 2)
    with watch:
        learn(run, 1)
    assert not watch.waits
    assert run.learner.updates == 3


def test_puzzles_of_a_small_set_are_laid_out_for_many_updates(watch: Watch) -> None:
    """Every update looks further ahead than it draws."""
    run = assemble(load_config("sudoku-4x4", [*SMALL, "env.options.train=10", "env.max_steps=6"]))
    run.collection.environment.vector.masked_resets = True
    learn(run, 2)
    with watch:
        learn(run, 40)
    assert sum(watch.waits.values()) <= 2


def test_neither_does_a_captured_one(watch: Watch) -> None:
    run = assemble(load_config("sudoku-4x4", [*SMALL, "env.max_steps=2", "collector.mode=captured"]))
    for _ in range(2):
        run.captured()
    with watch:
        run.captured()
    assert not watch.waits
    assert run.learner.updates == 3


def test_the_watch_sees_what_an_update_would_wait_for(watch: Watch) -> None:
    run = assemble(load_config("sudoku-4x4", [*SMALL, "env.max_steps=2"]))
    learn(run, 1)
    with watch:
        learn(run, 2)
    assert watch.waits["aten::nonzero"] and watch.waits["aten::_local_scalar_dense"]


@pytest.mark.parametrize("mixer", ["attention", "mlp"])
def test_on_the_meta_device_a_step_and_its_losses_mix_no_devices(watch: Watch, mixer: str) -> None:
    meta = torch.device("meta")
    positions = "rope" if mixer == "attention" else "none"
    settings = [f"network.mixer={mixer}", f"network.positions={positions}", "precision=bfloat16"]
    config = load_config("sudoku-4x4", [*SMALL, *settings])
    puzzle = build_puzzle(config)
    reasoner = build_reasoner(config, puzzle, meta)
    reasoner.compute_dtype = torch.bfloat16
    graph = StepGraph()
    policy = build_policy(config, puzzle, reasoner, graph=graph)
    losses, _ = build_losses(config, reasoner)
    example = assemble(config)
    batch = next(example.collection).squeeze(-1).to(meta)
    with watch:
        steps = policy(batch)
        output = graph.take()
        steps.update({"logits": output.logits, "q": output.q})
        found = {name: loss(steps) for name, loss in losses.items()}
        sum(values[key] for values in found.values() for key in values.keys() if key.startswith("loss_")).backward()
    assert not watch.mixed and not watch.waits
    assert all(weight.grad is None or weight.grad.device == meta for weight in reasoner.parameters())


def epochs(env: LatentRecursionVectorEnv, count: int) -> Iterator[int]:
    """The indices of the training puzzles in the order in which rows begin them."""
    known = {tuple(row): number for number, row in enumerate(env.puzzle.instances("train").inputs.tolist())}
    observation, _ = env.reset(seed=0)
    yield from (known[tuple(row)] for row in observation["inputs"].tolist())
    generator = torch.Generator().manual_seed(0)
    while count > 0:
        mask = torch.rand(env.num_envs, generator=generator) < 0.4
        observation, _ = env.reset(options={"reset_mask": mask})
        yield from (known[tuple(row)] for row in observation["inputs"][mask].tolist())
        count -= int(mask.sum())


@pytest.mark.parametrize("masked", [False, True])
def test_every_puzzle_comes_once_an_epoch(masked: bool) -> None:
    config = MDPConfig(width=4, positions=1, max_steps=3, passes_per_step=3)
    env = LatentRecursionVectorEnv("latent_rl/Sudoku-v0", num_envs=7, config=config, size=4, train=30, test=5)
    env.masked_resets = masked
    drawn = list(epochs(env, 200))
    whole = len(drawn) // 30
    assert whole >= 5
    for epoch in range(whole):
        assert sorted(drawn[30 * epoch : 30 * (epoch + 1)]) == list(range(30))


def test_rows_that_run_on_are_left_alone_by_a_masked_reset() -> None:
    config = MDPConfig(width=4, positions=1, max_steps=3, passes_per_step=3)
    env = LatentRecursionVectorEnv("latent_rl/Sudoku-v0", num_envs=4, config=config, size=4, train=30, test=5)
    env.masked_resets = True
    before, _ = env.reset(seed=0)
    mask = torch.tensor([True, False, False, True])
    after, info = env.reset(options={"reset_mask": mask})
    assert torch.equal(after["inputs"][~mask], before["inputs"][~mask])
    assert not torch.equal(after["inputs"][mask], before["inputs"][mask])
    saved = env.state_dict()
    other = LatentRecursionVectorEnv("latent_rl/Sudoku-v0", num_envs=4, config=config, size=4, train=30, test=5)
    other.masked_resets = True
    other.load_state_dict(saved)
    other.reset()
    for one in (env, other):
        after, info = one.reset(options={"reset_mask": mask})
    again, _ = env.reset(options={"reset_mask": mask})
    assert torch.equal(again["inputs"], other.reset(options={"reset_mask": mask})[0]["inputs"])
    assert info["episode_seed"].shape == (4,)
