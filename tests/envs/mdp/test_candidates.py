"""The decision process over candidates: what a step does to them, both faces, and what a puzzle needs for it."""

from __future__ import annotations

import inspect
import re
import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_puzzle import Backwards

from latent_rl.envs import (
    IGNORE,
    PAD,
    CandidateConfig,
    CandidateEnv,
    CandidateVectorEnv,
    Instances,
    Reward,
    possible_symbols,
)
from latent_rl.envs.mdp import CANDIDATE_KEYS
from latent_rl.envs.mdp.contract import gymnasium_space, names
from latent_rl.envs.sudoku import Sudoku

CELLS, SYMBOLS = 4, 6


class Blanked(Backwards):
    """Only the first two letters are given; the others could be any two that differ."""

    def __init__(self, train=100):
        super().__init__(train=train)

    def instances(self, split):
        full = super().instances(split)
        solution = full.solution[full.solution[:, 2] != full.solution[:, 3]]
        inputs = solution.clone()
        inputs[:, 2:] = 0
        return Instances.of(inputs, solution)

    def is_solved(self, inputs, answers):
        kept = ((inputs == answers) | (inputs == 0)).all(-1)
        return kept & (answers[:, 2] != answers[:, 3]) & (answers > 0).all(-1)


def make(num_envs: int = 3, **options) -> CandidateVectorEnv:
    return CandidateVectorEnv(Blanked, num_envs=num_envs, **options)


def action(env: CandidateVectorEnv, **changes) -> dict[str, torch.Tensor]:
    """Nothing removed, nothing pinned, but for `changes`."""
    rows = env.num_envs
    return {
        "keep": torch.ones(rows, CELLS, SYMBOLS, dtype=torch.bool),
        "branch_cell": torch.full((rows,), CELLS),
        "branch_symbol": torch.zeros(rows, dtype=torch.int64),
        **changes,
    }


def random_actions(env: CandidateVectorEnv, infos: dict, seed: int) -> dict[str, torch.Tensor]:
    """Actions that remove some candidates, mostly wrong ones, and pin a cell now and then."""
    generator = torch.Generator().manual_seed(seed)
    rows = env.num_envs
    right = torch.nn.functional.one_hot(infos["solution"], SYMBOLS).bool()
    keep = torch.rand(rows, CELLS, SYMBOLS, generator=generator) < 0.6
    careful = torch.rand(rows, 1, 1, generator=generator) < 0.9
    return {
        "keep": keep | (right & careful),
        "branch_cell": torch.randint(0, CELLS + 1, (rows,), generator=generator),
        "branch_symbol": torch.randint(0, SYMBOLS, (rows,), generator=generator),
    }


def test_what_a_cell_can_hold_is_read_off_the_training_answers():
    blanks = possible_symbols(Sudoku(size=4, train=50, test=5, validation=5))
    digits = torch.tensor([False, False, True, True, True, True])
    assert torch.equal(blanks[1], digits)
    for digit in range(2, 6):
        assert blanks[digit].nonzero().flatten().tolist() == [digit]
    assert blanks[PAD].nonzero().flatten().tolist() == [PAD]


def test_tokens_that_no_training_puzzle_gives_can_be_anything_but_padding():
    puzzle = Blanked()
    train = puzzle.instances("train")
    keep = (train.inputs != 5).all(-1)
    puzzle._instances = {**puzzle._instances, "train": Instances.of(train.inputs[keep], train.solution[keep])}
    puzzle.instances = lambda split: puzzle._instances[split]
    assert possible_symbols(puzzle)[5].tolist() == [False, *[True] * 5]


def test_cells_that_do_not_count_say_nothing():
    puzzle = Blanked()
    train = puzzle.instances("train")
    solution = torch.where(train.inputs == 0, IGNORE, train.solution)
    puzzle.instances = lambda split: Instances.of(train.inputs, solution)
    assert possible_symbols(puzzle)[0].nonzero().flatten().tolist() == [PAD]


def test_the_first_state():
    env = make()
    observation, info = env.reset(seed=0)
    assert observation["given"].tolist() == [[True, True, False, False]] * 3
    candidates = observation["candidates"]
    assert candidates.sum(-1).tolist() == [[1, 1, 5, 5]] * 3
    assert torch.equal(candidates[:, :2].long().argmax(-1), info["solution"][:, :2])
    assert not info["solved"].any() and info["quality"].tolist() == [0.0] * 3


def test_what_is_removed_stays_removed_but_given_cells_are_not_touched():
    env = make()
    before, info = env.reset(seed=0)
    keep = torch.ones(3, CELLS, SYMBOLS, dtype=torch.bool)
    keep[:, :, 1] = False
    keep[:, :2] = False
    after, *_ = env.step(action(env, keep=keep))
    assert torch.equal(after["candidates"][:, :2], before["candidates"][:, :2])
    assert not after["candidates"][:, 2:, 1].any() and after["candidates"][:, 2:, 2:].all()
    again, *_, info = env.step(action(env))
    assert torch.equal(again["candidates"], after["candidates"])
    assert info["quality"].tolist() == [0.25] * 3  # 2 of 8 surplus candidates
    assert again["restarts"].tolist() == [0] * 3


def test_a_branch_pins_one_cell():
    env = make()
    before, _ = env.reset(seed=0)
    after, *_ = env.step(action(env, branch_cell=torch.tensor([2, 3, CELLS]), branch_symbol=torch.tensor([4, 5, 1])))
    assert after["candidates"][0, 2].nonzero().flatten().tolist() == [4]
    assert after["candidates"][1, 3].nonzero().flatten().tolist() == [5]
    assert torch.equal(after["candidates"][2], before["candidates"][2])
    assert after["candidates"][0, 3].sum() == 5


def test_a_conflict_starts_the_puzzle_anew_and_gives_the_reward_back():
    env = make(reward=Reward(pass_cost=0.01, solve_bonus=2.0), passes_per_step=3)
    before, info = env.reset(seed=0)
    right = torch.nn.functional.one_hot(info["solution"], SYMBOLS).bool()
    some = torch.ones_like(right)
    some[:, 2:, 1:3] = False
    some |= right
    _, gained, *_ = env.step(action(env, keep=some))
    assert (gained > 0).all()
    emptied = torch.ones_like(some)
    emptied[0, 2] = False
    wrong = torch.ones_like(some)
    wrong[1] = torch.nn.functional.one_hot(torch.where(torch.arange(4) < 2, info["solution"][1], 5), SYMBOLS).bool()
    keep = torch.where(torch.tensor([0, 1, 2]).view(3, 1, 1) == 1, wrong, emptied)
    after, reward, terminated, truncated, info = env.step(action(env, keep=keep))
    # Row 0 has a cell without candidates; row 1 is full, and two fives break the rule; row 2 went on.
    assert after["restarts"].tolist() == [1, 1, 0]
    assert torch.equal(after["candidates"][:2], before["candidates"][:2])
    assert not terminated.any() and not truncated.any() and not info["solved"].any()
    assert torch.allclose(gained + reward, torch.tensor([-0.06, -0.06, float(gained[2]) - 0.03]))
    assert after["step"].tolist() == [2, 2, 2]


def test_a_full_board_ends_the_episode_only_if_the_rule_confirms_it_whatever_the_key_says():
    env = make(num_envs=2, max_steps=4)
    _, info = env.reset(seed=0)
    other = info["solution"].clone()
    other[0, 2:] = other[0, 2:].flip(-1)  # not the key, but as right
    other[1, 3] = other[1, 2]
    keep = torch.nn.functional.one_hot(other, SYMBOLS).bool()
    after, reward, terminated, truncated, info = env.step(action(env, keep=keep))
    assert terminated.tolist() == info["solved"].tolist() == [True, False]
    assert after["restarts"].tolist() == [0, 1]
    assert torch.equal(after["candidates"][0].long().argmax(-1), other[0])
    assert float(reward[0]) == pytest.approx(2.0 - 0.008)


def test_without_a_rule_any_full_board_is_the_answer_and_the_key_says_whether_it_was_right(monkeypatch):
    monkeypatch.setattr(Blanked, "has_rule", False)
    env = make(num_envs=2)
    _, info = env.reset(seed=0)
    other = info["solution"].clone()
    other[1, 2:] = other[1, 2:].flip(-1)
    _, _, terminated, _, info = env.step(action(env, keep=torch.nn.functional.one_hot(other, SYMBOLS).bool()))
    assert terminated.tolist() == [True, True]
    assert info["solved"].tolist() == [True, False]


def test_guided_branches_pin_what_the_key_has_where_it_is_a_candidate_still():
    rows = 400
    pinned = {}
    for share in (0.0, 0.3, 1.0):
        env = make(num_envs=rows, guided_branches=share)
        _, info = env.reset(seed=0)
        right = info["solution"][:, 2]
        wrong = right % 5 + 1
        observation, *_ = env.step(action(env, branch_cell=torch.full((rows,), 2), branch_symbol=wrong))
        found = observation["candidates"][:, 2].long()
        assert (found.sum(-1) == 1).all()
        found = found.argmax(-1)
        assert ((found == right) | (found == wrong)).all()
        pinned[share] = float((found == right).float().mean())
    assert pinned[0.0] == 0.0 and pinned[1.0] == 1.0 and pinned[0.3] == pytest.approx(0.3, abs=0.07)

    env = make(num_envs=rows, guided_branches=1.0)
    _, info = env.reset(seed=0)
    right = info["solution"][:, 2]
    gone = torch.ones(rows, CELLS, SYMBOLS, dtype=torch.bool)
    gone[torch.arange(rows), 2, right] = False
    wrong = right % 5 + 1
    observation, *_ = env.step(action(env, keep=gone, branch_cell=torch.full((rows,), 2), branch_symbol=wrong))
    assert torch.equal(observation["candidates"][:, 2].long().argmax(-1), wrong)
    before = observation["candidates"]
    observation, *_ = env.step(action(env))  # none branches
    assert torch.equal(observation["candidates"], before)


def test_which_branches_are_guided_depends_on_the_episode_and_its_step_alone():
    env = make(num_envs=400, guided_branches=0.5)
    env.reset(seed=3)
    dynamics, state = env.dynamics, env.episodes
    guided = []
    for cell in (2, 3):
        pinned = action(env, branch_cell=torch.full((400,), cell), branch_symbol=torch.zeros(400, dtype=torch.long))
        after = dynamics.step(state, **pinned).state  # symbol 0 is none of the candidates: a conflict
        alone = dynamics.step(state.of_rows(slice(7, 8)), **{key: value[7:8] for key, value in pinned.items()}).state
        assert torch.equal(alone.candidates, after.candidates[7:8])
        guided.append(after.restarts == state.restarts)
        state = replace(after, candidates=state.candidates)
    both = torch.stack(guided).float()
    assert both.mean(1).tolist() == pytest.approx([0.5, 0.5], abs=0.1)
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.2


def test_an_episode_is_truncated_at_its_last_step():
    env = make(max_steps=2)
    env.reset(seed=0)
    assert not env.step(action(env))[3].any()
    observation, _, terminated, truncated, _ = env.step(action(env))
    assert truncated.all() and not terminated.any() and observation["step"].tolist() == [2] * 3


def test_an_episode_that_has_lost_the_answer_makes_room_if_told_so():
    free, strict = make(num_envs=2), make(num_envs=2, lost_steps=2)
    for env in (free, strict):
        _, info = env.reset(seed=0)
        wrong = (info["solution"][:, 2] + 1) % 5 + 1  # no candidate that is right, and not the neighbour's
        losing = action(env, branch_cell=torch.tensor([2, CELLS]), branch_symbol=wrong)
        *_, truncated, info = env.step(losing)
        assert info["lost_for"].tolist() == [1, 0] and not truncated.any()
        *_, truncated, info = env.step(action(env))
        assert info["lost_for"].tolist() == [2, 0]
        assert truncated.tolist() == [env is strict, False]
    _, _, _, _, info = free.step(action(free, keep=torch.zeros(2, CELLS, SYMBOLS, dtype=torch.bool)))
    assert info["lost_for"].tolist() == [0, 0]  # begun anew


@settings(max_examples=10, deadline=None)
@given(num_envs=st.integers(1, 4), seed=st.integers(0, 2**16), max_steps=st.integers(1, 5))
def test_a_batch_equals_single_episodes(num_envs, seed, max_steps):
    options = {"max_steps": max_steps, "reward": Reward(pass_cost=0.02, solve_bonus=0.7)}
    batch, generator = make(num_envs, **options), np.random.default_rng(seed)
    singles = [CandidateEnv(Blanked, **options) for _ in range(num_envs)]

    def compare(observations, infos, rows, results):
        for row, (observation, info) in zip(rows, results, strict=True):
            for found, wanted in ((observations, observation), (infos, info)):
                for key in wanted.keys() - {"episode_seed"}:
                    assert np.array_equal(found[key][row].numpy(), wanted[key]), key

    indices = generator.integers(40, size=num_envs).tolist()
    observations, infos = batch.reset(seed=seed, options={"index": indices})
    started = [env.reset(options={"index": index}) for env, index in zip(singles, indices, strict=True)]
    compare(observations, infos, range(num_envs), started)
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


def test_a_restored_run_continues_bit_for_bit():
    env, resumed = make(4, max_steps=5), make(4, max_steps=5)
    _, infos = env.reset(seed=0)
    env.step(random_actions(env, infos, 0))
    resumed.load_state_dict(env.state_dict())
    _, infos = resumed.reset()
    for number in range(12):
        actions = random_actions(env, infos, number)
        one, other = env.step(actions), resumed.step(actions)
        for found, wanted in zip((one[0], one[4]), (other[0], other[4]), strict=True):
            assert all(torch.equal(found[key], wanted[key]) for key in wanted)
        mask = {"reset_mask": one[2] | one[3]}
        (_, infos), (_, again) = env.reset(options=mask), resumed.reset(options=mask)
        assert torch.equal(infos["episode_seed"], again["episode_seed"])


def test_gymnasiums_checker_has_nothing_to_say():
    gymnasium.register("test/Candidates-v0", lambda **options: CandidateEnv(Blanked, **options))
    try:
        env = gymnasium.make("test/Candidates-v0", disable_env_checker=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(env.unwrapped)
    finally:
        del gymnasium.registry["test/Candidates-v0"]


def test_both_faces_return_what_the_table_says():
    single, batch = CandidateEnv(Blanked), make()
    everything = gymnasium_space(single.dynamics.keys.values())
    for env in (single, batch):
        env.action_space.seed(0)
        for observation, *_, info in (env.reset(seed=0), env.step(env.action_space.sample())):
            assert tuple(observation) == names("observed", CANDIDATE_KEYS)
            assert tuple(info) == names("privileged", CANDIDATE_KEYS)
            assert "solution" not in observation
            for name, value in {**observation, **info}.items():
                assert torch.as_tensor(value).dtype == CANDIDATE_KEYS[name].dtype, name
                rows = value.numpy() if env is batch else [value]
                assert all(np.asarray(row) in everything[name] for row in rows), name


def test_the_docstring_names_keys_and_arguments_of_the_code():
    def table(section: str) -> list[str]:
        text = CandidateEnv.__doc__.split(f"## {section}")[1].split("## ")[0]
        return re.findall(r"^\s*\| `(\w+)`", text, re.MULTILINE)

    env = CandidateEnv(Blanked)
    observation, info = env.reset(seed=0)
    assert table("Observation Space") == list(observation)
    assert set(table("Action Space")) == set(env.action_space.spaces)
    assert table("Information") == list(info)
    parameters = inspect.signature(CandidateEnv.__init__).parameters
    assert table("Arguments") == [name for name in parameters if name != "self"]
    assert parameters["max_steps"].default == CandidateConfig().max_steps == 64


def test_rendering_shows_what_is_decided():
    env = CandidateEnv(Blanked, render_mode="ansi")
    env.reset(seed=0)
    assert env.render().startswith("step 0/64  quality 0.00  not solved")


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match="max_steps must be at least 1"):
        make(max_steps=0)
    with pytest.raises(ValueError, match="lost_steps must be at least 1"):
        make(lost_steps=0)
    with pytest.raises(ValueError, match=r"guided_branches is a share of branches, in \[0, 1\]; got 1.5"):
        make(guided_branches=1.5)
    with pytest.raises(ValueError, match=r"possible must be bool \[6, 6\], got torch.bool \[2, 2\]"):
        make(possible=torch.ones(2, 2, dtype=torch.bool))
