"""The ARC puzzle: what is trained on and what is held back, ids and views, mistakes told in one line."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from arc_files import pair, task, write_folder, write_kaggle

from latent_rl.envs import IGNORE, PAD, LatentRecursionVectorEnv, PuzzleError, check_puzzle
from latent_rl.envs.arc.canvas import decode, encode
from latent_rl.envs.arc.puzzle import Arc


def grids(instances_field: torch.Tensor) -> list[list[list[int]]]:
    return [grid.tolist() for grid in decode(instances_field)]


@pytest.fixture
def two_tasks(tmp_path: Path) -> Arc:
    folder = write_folder(tmp_path / "tasks", a=task(1, 2), b=task(3))
    return Arc(test=str(folder), side=6, augmentations=20)


def test_demonstrations_are_trained_on_and_test_inputs_held_back(tmp_path: Path) -> None:
    test = write_folder(tmp_path / "evaluation", a=task(1, 2), b=task(3))
    train = write_folder(tmp_path / "training", c=task(4))
    puzzle = Arc(test=str(test), train=[str(train)], side=6, augmentations=9)
    assert list(puzzle.tasks) == ["a", "b", "c"] and puzzle.num_puzzle_ids == 30
    trained, tested = puzzle.instances("train"), puzzle.instances("test")
    assert grids(trained.inputs) == [[[1, 0, 0]], [[2, 0, 0]], [[3, 0, 0]], [[4, 0, 0]], [[4, 5, 0]]]
    assert grids(trained.solution) == [[[0, 0, 1]], [[0, 0, 2]], [[0, 0, 3]], [[0, 0, 4]], [[0, 5, 4]]]
    assert trained.puzzle_id.tolist() == [0, 0, 10, 20, 20]
    assert grids(tested.inputs) == [[[1, 2, 5, 0]], [[3, 5, 0]]]
    assert tested.puzzle_id.tolist() == [0, 10]
    assert [(question.task, question.number, question.answer.tolist()) for question in puzzle.questions] == [
        ("a", 0, [[0, 5, 2, 1]]),
        ("b", 0, [[0, 5, 3]]),
    ]
    assert (tested.solution != PAD).all(), "padding does not count"
    check_puzzle(puzzle)


def test_a_pair_of_the_test_split_is_never_trained_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    test = write_folder(tmp_path / "evaluation", a=task(1, 2), b={"train": [pair(1, 2, 5, 0)], "test": [pair(7)]})
    with caplog.at_level(logging.INFO):
        assert grids(Arc(test=str(test), side=6).instances("train").inputs) == [[[1, 0, 0]], [[2, 0, 0]]]
    assert "1 training pairs left out" in caplog.text


def test_hidden_outputs_are_unknown_not_wrong(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path, {"a": task(1)}, with_solutions=False)
    puzzle = Arc(test=str(source), side=6, augmentations=3)
    test = puzzle.instances("test")
    assert (test.solution == IGNORE).all() and puzzle.questions[0].answer is None
    assert not puzzle.judge(test.inputs, test.inputs, test.solution).any()
    assert (puzzle.vote.view(test, torch.tensor([2])).solution == IGNORE).all()


def test_a_training_split_of_nothing_but_test_pairs_is_refused(tmp_path: Path) -> None:
    puzzle = Arc(test=str(write_folder(tmp_path, a={"train": [pair(1)], "test": [pair(1)]})), side=6)
    with pytest.raises(PuzzleError, match="no training pairs but those of the test split"):
        puzzle.instances("train")


def test_training_on_tasks_of_the_test_set_is_refused_unless_asked_for(tmp_path: Path) -> None:
    test = write_folder(tmp_path / "arc1" / "evaluation", a=task(1), b=task(3))
    train = write_folder(tmp_path / "arc2" / "training", b=task(3), c=task(4))
    with pytest.raises(
        PuzzleError, match="1 tasks of 'test' are in 'train' too.*'b'.*ARC-AGI-2's training set contains"
    ):
        Arc(test=str(test), train=str(train), side=6).instances("train")
    asked = Arc(test=str(test), train=str(train), side=6, allow_leak=True)
    assert list(asked.tasks) == ["a", "b", "c"]
    assert [[3, 5, 0]] in grids(asked.instances("train").inputs)


def test_judge_goes_by_the_key_and_padding_does_not_count(two_tasks: Arc) -> None:
    test = two_tasks.instances("test")
    right = test.solution.clamp(min=PAD)
    scribbled = torch.where(test.solution == IGNORE, 7, right)
    wrong = right.clone()
    wrong[:, 0] = 9
    for answers, expected in ((right, True), (scribbled, True), (wrong, False)):
        assert two_tasks.judge(test.inputs, answers, test.solution).tolist() == [expected] * 2
    assert not two_tasks.is_solved(test.inputs, right).any()


def test_every_view_is_undone_exactly() -> None:
    puzzle = Arc(side=8, augmentations=200)
    test = puzzle.instances("test")
    images = set()
    for number in range(puzzle.vote.views):
        numbers = torch.full((len(test),), number)
        view = puzzle.vote.view(test, numbers)
        assert torch.equal(view.puzzle_id, test.puzzle_id + number)
        assert torch.equal(puzzle.vote.undo(view.inputs, numbers), test.inputs)
        answers = puzzle.vote.undo(view.solution.clamp(min=PAD), numbers)
        assert torch.equal(answers.masked_fill(answers == PAD, IGNORE), test.solution)
        assert puzzle.judge(view.inputs, view.solution, view.solution).all()
        images.add(tuple(view.inputs.flatten().tolist()))
    assert len(images) == puzzle.vote.views
    assert torch.equal(puzzle.vote.view(test, torch.zeros(len(test), dtype=torch.long)).inputs, test.inputs)


def test_views_are_decided_by_their_number_and_the_seed() -> None:
    def view(number: int, **options: int) -> torch.Tensor:
        puzzle = Arc(side=8, **options)
        return puzzle.vote.view(puzzle.instances("test")[:1], torch.tensor([number])).inputs

    assert torch.equal(view(7, augmentations=10), view(7, augmentations=300))
    assert not torch.equal(view(7, augmentations=10), view(7, augmentations=10, seed=1))


def test_training_draws_views_with_their_ids_at_random_places(two_tasks: Arc) -> None:
    pair_of_a = two_tasks.instances("train")[torch.zeros(400, dtype=torch.long)]
    drawn = two_tasks.augment(pair_of_a, torch.Generator().manual_seed(0))
    numbers = drawn.puzzle_id - pair_of_a.puzzle_id
    assert set(numbers.tolist()) == set(range(21))
    corner = two_tasks.vote.view(pair_of_a, numbers)
    in_corner = (drawn.inputs == corner.inputs).all(-1)
    assert 0.2 < in_corner.float().mean() < 0.4
    # Wherever it stands, the grid is the view's, and the answer stands at the same place as the input.
    filled, answered = (tokens.view(-1, 6, 6) >= 2 for tokens in (drawn.inputs, drawn.solution))
    assert torch.equal(filled, answered)
    assert torch.equal(drawn.inputs.sort(-1).values[:, -3:], corner.inputs.sort(-1).values[:, -3:])


def test_tasks_are_named_and_grids_typed(two_tasks: Arc, tmp_path: Path) -> None:
    named = two_tasks.parse("a")
    assert torch.equal(named, two_tasks.instances("test").inputs[0])
    assert torch.equal(two_tasks.parse("1 2 5 0"), named) and torch.equal(two_tasks.parse("a:1\n"), named)
    line = "".join(two_tasks.symbols[token] for token in named.tolist())
    assert torch.equal(two_tasks.parse(line), named)
    assert two_tasks.parse(two_tasks.render(named)).equal(named)
    assert two_tasks.ids_of(torch.stack([two_tasks.parse("b"), named])).tolist() == [21, 0]
    typed = encode(np.array([[8]], dtype=np.uint8), 6)
    assert torch.equal(two_tasks.parse("8"), typed)
    for text, complaint in (
        ("zebra", "'zebra' is no task here and no grid of digits; try a, b"),
        ("a:2", "task 'a' has test inputs 1 to 1, not '2'"),
        ("12\n3", "a grid has rows of equal length"),
        ("1234567", "at most 6 of them and 6 digits"),
    ):
        with pytest.raises(PuzzleError, match=complaint):
            two_tasks.parse(text)
    with pytest.raises(PuzzleError, match="the grid is no test input of a known task; name one, such as a, b"):
        two_tasks.ids_of(typed.unsqueeze(0))


def test_mistakes_in_options(tmp_path: Path) -> None:
    with pytest.raises(PuzzleError, match="name one source of tasks or a list of them, got 500"):
        Arc(test=500)
    with pytest.raises(PuzzleError, match="side must be 1 to 30, got 31"):
        Arc(side=31)
    with pytest.raises(PuzzleError, match="augmentations must be 0 to 100000, got -1"):
        Arc(augmentations=-1)
    with pytest.raises(PuzzleError, match=r"task '67a3c6ac'.* 7 x 7 cells does not fit on a canvas of side 6"):
        Arc(side=6).instances("test")
    with pytest.raises(PuzzleError, match="names has 'nobody', which is no task of mini"):
        Arc(side=8, names=["nobody"]).instances("test")
    assert list(Arc(side=8, names=["74dd1130"]).tasks) == ["74dd1130"]


def test_the_digest_tells_what_ids_mean() -> None:
    changes = ({}, {"augmentations": 5}, {"seed": 1}, {"names": ["74dd1130"]})
    digests = [Arc(side=8, **options).ids_digest for options in changes]
    assert len(set(digests)) == 4
    assert Arc(side=8).ids_digest == Arc(side=10).ids_digest


def test_episodes_carry_ids_of_views(two_tasks: Arc) -> None:
    env = LatentRecursionVectorEnv(two_tasks, num_envs=64, width=4)
    observation, info = env.reset(seed=0)
    assert len(set(observation["puzzle_id"].tolist())) > 20
    assert not info["solved"].any()
