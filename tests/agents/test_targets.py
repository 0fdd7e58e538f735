from __future__ import annotations

import itertools
import json

import pytest
import torch
from golden_files import GOLDEN, arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDict

from latent_rl.agents import TARGETS, DiffusionTargets, TerminalTargets
from latent_rl.agents.mixing import mix
from latent_rl.agents.targets import IGNORE

OFFICIAL = json.loads((GOLDEN / "targets.json").read_text())
SEEDS = st.integers(0, 2**62 - 1)


def path(inputs, solution, seed, max_steps):
    """Targets of steps 1 .. S of one episode, `[S, L]`."""
    rows = {
        "inputs": torch.as_tensor(inputs).expand(max_steps, -1),
        "solution": torch.as_tensor(solution).expand(max_steps, -1),
        "step": torch.arange(max_steps),
        "episode_seed": torch.full((max_steps,), seed),
    }
    return DiffusionTargets(max_steps=max_steps)(TensorDict(rows, batch_size=[max_steps]))


@st.composite
def episodes(draw):
    length = draw(st.integers(1, 12))
    tokens = st.lists(st.integers(0, 4), min_size=length, max_size=length)
    inputs = draw(tokens)
    solution = [IGNORE if token == 0 else token for token in draw(tokens)]
    return inputs, solution, draw(SEEDS), draw(st.integers(1, 17))


@pytest.mark.parametrize("table", OFFICIAL["tables"], ids=lambda table: f"S={table['supervision_steps']}")
def test_counts_of_the_official_code(table):
    steps = table["supervision_steps"]
    for differing, revealed in table["revealed_at_step"].items():
        inputs = torch.ones(25, dtype=torch.int64)
        solution = torch.where(torch.arange(25) < int(differing), 2, 1)
        for seed in range(5):
            assert (path(inputs, solution, seed, steps) == 2).sum(-1).tolist() == revealed


@pytest.mark.parametrize("example", OFFICIAL["examples"])
def test_counts_of_official_paths(example):
    start, target = torch.tensor(example["start"]), torch.tensor(example["target"])
    ours = path(start, target, seed=0, max_steps=6)
    assert (ours != start).sum(-1).tolist() == example["revealed_by_frame"][1:]
    official = torch.tensor(example["frames"])[1:]
    assert (ours != start).sum(-1).equal((official != start).sum(-1))
    assert torch.equal(ours[-1], official[-1])


def test_counts_of_the_dis_run():
    golden = arrays("dis_att")
    for inputs, labels, official in zip(golden["inputs"], golden["labels"], golden["target_path"], strict=True):
        ours = path(inputs, labels, seed=11, max_steps=6)
        assert (ours != inputs).sum(-1).equal((official[1:] != inputs).sum(-1))


@settings(max_examples=60, deadline=None)
@given(episodes())
def test_diffusion_properties(episode):
    inputs, solution, seed, steps = episode
    targets = path(*episode)
    inputs, solution = torch.tensor(inputs), torch.tensor(solution)
    differs = inputs != solution
    revealed = targets != inputs
    s = torch.arange(1, steps + 1)
    assert revealed.sum(-1).tolist() == (s * differs.sum() // steps).tolist()
    assert torch.equal(targets, torch.where(revealed, solution, inputs)), "a target is an input or a solution cell"
    assert not (revealed[:-1] & ~revealed[1:]).any(), "what is revealed stays revealed"
    assert torch.equal(targets[-1], solution)
    assert torch.equal(targets, path(*episode)), "the order is stored nowhere and must be found again"


def test_rows_do_not_see_each_other():
    inputs, solution = torch.ones(6, 9, dtype=torch.int64), torch.full((6, 9), 2)
    seeds, step = torch.tensor([5, 5, 6, 7, 5, 8]), torch.tensor([0, 3, 3, 1, 3, 9])
    batch = {"inputs": inputs, "solution": solution, "step": step, "episode_seed": seeds}
    batch = TensorDict(batch, batch_size=[6])
    together = DiffusionTargets(max_steps=6)(batch)
    alone = torch.stack([DiffusionTargets(max_steps=6)(batch[row : row + 1])[0] for row in range(6)])
    assert torch.equal(together, alone)
    assert torch.equal(together[1], together[4])
    assert torch.equal(together[5], solution[5]), "beyond the horizon the solution stays"
    assert torch.equal(DiffusionTargets(max_steps=6)(batch.reshape(2, 3)), together.reshape(2, 3, 9))


def test_orders_are_uniform():
    """All 4! orders of four differing cells, over seeds as bad as consecutive ones."""
    seeds, steps = 24_000, 4
    batch = TensorDict(
        {
            "inputs": torch.ones(seeds, steps, 5, dtype=torch.int64),
            "solution": torch.tensor([2, 2, 1, 2, 2]).expand(seeds, steps, 5),
            "step": torch.arange(steps).expand(seeds, steps),
            "episode_seed": torch.arange(seeds).unsqueeze(-1).expand(seeds, steps),
        },
        batch_size=[seeds, steps],
    )
    shown = (DiffusionTargets(max_steps=steps)(batch) == 2)[..., [0, 1, 3, 4]].sum(1)  # steps for which a cell is shown
    for order in itertools.permutations((1, 2, 3, 4)):
        count = (shown == torch.tensor(order)).all(-1).sum().item()
        # Binomial(24000, 1/24): mean 1000, deviation 31; five of them over 24 orders happen once in 70,000 tries.
        assert abs(count - 1000) < 155, (order, count)


def test_neighbouring_seeds_are_independent():
    """Which of two cells comes first must not tell it for the next seed (1/6, were seed and cell simply added)."""
    seeds = 10_000
    cells, zeros = torch.ones(seeds, 2, dtype=torch.int64), torch.zeros(seeds, dtype=torch.int64)
    batch = {"inputs": cells, "solution": cells + 1, "episode_seed": torch.arange(seeds), "step": zeros}
    batch = TensorDict(batch, batch_size=[seeds])
    first = DiffusionTargets(max_steps=2)(batch)[:, 0] == 2
    assert (first[:-1] & first[1:]).double().mean().item() == pytest.approx(0.25, abs=0.025)


def test_mix_is_splitmix64():
    """The first outputs of the reference generator from seed 0 (state advances by the golden ratio constant)."""
    state = torch.tensor([0, 0x9E3779B97F4A7C15 - 2**64, 2 * 0x9E3779B97F4A7C15 % 2**64])
    assert [value % 2**64 for value in mix(state).tolist()] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


def test_terminal_targets_are_the_solution():
    solution = torch.tensor([[3, IGNORE], [1, 2]])
    batch = TensorDict({"solution": solution}, batch_size=[2])
    assert torch.equal(TerminalTargets(max_steps=3)(batch), solution)


def test_registry():
    for name, kind in TARGETS.items():
        assert kind(max_steps=4).max_steps == 4, name
        with pytest.raises(ValueError, match="max_steps must be at least 1, got 0"):
            kind(max_steps=0)
