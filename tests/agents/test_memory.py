"""The best answer found is remembered, by puzzle, and nothing that is worse takes its place."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from latent_rl.agents import AnswerMemory, AnswerPolicy, GroupJudge, make_targets

INPUTS = torch.tensor([[1, 3, 1], [1, 1, 4], [2, 1, 1]])
ANSWERS = torch.tensor([[2, 3, 2], [2, 3, 4], [2, 2, 2]])


def test_what_was_remembered_is_recalled_and_nothing_else() -> None:
    memory = AnswerMemory(1000, 3)
    memory.remember(INPUTS[:2], ANSWERS[:2], torch.tensor([-2.0, 1.0]))
    answers, worth = memory.recall(INPUTS)
    assert torch.equal(answers[:2], ANSWERS[:2]) and answers.dtype == torch.int64
    assert worth.tolist() == [-2.0, 1.0, -torch.inf]


def test_only_a_better_answer_takes_the_place() -> None:
    memory = AnswerMemory(1000, 3)
    memory.remember(INPUTS, ANSWERS, torch.tensor([0.0, 0.0, 0.0]))
    memory.remember(INPUTS, ANSWERS + 1, torch.tensor([-1.0, 0.0, 1.0]))
    answers, worth = memory.recall(INPUTS)
    assert answers.tolist() == [*ANSWERS[:2].tolist(), (ANSWERS[2] + 1).tolist()]
    assert worth.tolist() == [0.0, 0.0, 1.0]


def test_of_several_answers_to_one_puzzle_the_best_is_kept() -> None:
    memory = AnswerMemory(1000, 3)
    memory.remember(INPUTS[:1].expand(3, 3), ANSWERS, torch.tensor([1.0, 3.0, 2.0]))
    answers, worth = memory.recall(INPUTS[:1])
    assert answers[0].tolist() == ANSWERS[1].tolist() and worth.item() == 3.0


def test_who_shares_a_place_takes_it_and_never_gets_the_others_answer() -> None:
    memory = AnswerMemory(1, 3)
    memory.remember(INPUTS[:1], ANSWERS[:1], torch.tensor([5.0]))
    assert memory.recall(INPUTS)[1].tolist() == [5.0, -torch.inf, -torch.inf]
    memory.remember(INPUTS[1:2], ANSWERS[1:2], torch.tensor([-5.0]))
    assert memory.recall(INPUTS)[1].tolist() == [-torch.inf, -5.0, -torch.inf]


def test_puzzles_find_places_of_their_own() -> None:
    """As many as random hashes would: with two places a puzzle, exp(-1/2) of those that came first are still there."""
    grid = torch.cartesian_prod(*[torch.arange(1, 6)] * 5)
    memory = AnswerMemory(2 * len(grid), 5)
    memory.remember(grid, grid, torch.zeros(len(grid)))
    kept = memory.recall(grid)[1].isfinite().float().mean()
    assert abs(kept - 2 * (1 - torch.tensor(-0.5).exp())) < 0.03


def test_the_state_is_all_of_it_and_fits_its_own_size_alone() -> None:
    memory, other = AnswerMemory(1000, 3), AnswerMemory(1000, 3)
    memory.remember(INPUTS, ANSWERS, torch.tensor([-2.0, 1.0, 0.5]))
    state = memory.state_dict()
    other.load_state_dict(state)
    assert all(torch.equal(one, two) for one, two in zip(memory.recall(INPUTS), other.recall(INPUTS), strict=True))
    memory.remember(INPUTS, ANSWERS, torch.tensor([9.0, 9.0, 9.0]))
    assert other.recall(INPUTS)[1].tolist() == [-2.0, 1.0, 0.5]
    with pytest.raises(ValueError, match="inputs of the memory has shape"):
        AnswerMemory(999, 3).load_state_dict(state)
    with pytest.raises(ValueError, match="places must be at least 1"):
        AnswerMemory(0, 3)


def test_a_lost_answer_is_a_target_again() -> None:
    """Found once by chance, it is learned from until the policy's own answer is as good."""
    inputs, policy = torch.tensor([[1, 3]]), AnswerPolicy(lambda given: given == 1, group=1)
    judge = GroupJudge(lambda _, answers: (answers[:, 0] - 4).abs().float(), torch.neg, policy, AnswerMemory(10, 2))

    def target(group: int, likeliest: int) -> list[int]:
        logits = torch.nn.functional.one_hot(torch.tensor([[likeliest, 3]]), 6).float()
        steps = TensorDict({"inputs": inputs, "logits": logits, "group": torch.tensor([[[group, 3]]])}, [1])
        steps["group_log_prob"] = torch.zeros(1, 1, 2)
        return make_targets("search", max_steps=6)(judge(steps))[0].tolist()

    assert target(group=4, likeliest=2) == [4, 3]
    assert target(group=2, likeliest=2) == [4, 3]
    assert target(group=2, likeliest=4) == [4, 3]
    forgetful = GroupJudge(judge.violations, judge.worth, policy)
    judge = forgetful
    assert target(group=2, likeliest=2) == [-100, 3]
