"""The validation split: from the training side, never from the test side, and nothing else feels that it is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from arc_files import pair, task, write_folder
from toy_puzzle import Backwards

from latent_rl.envs import Instances, Puzzle, PuzzleError, check_puzzle, instances_of
from latent_rl.envs.arc import Arc
from latent_rl.envs.maze import Maze
from latent_rl.envs.nqueens import NQueens
from latent_rl.envs.sudoku import Sudoku

SPLITS = ("train", "validation", "test")


def rows(instances: Instances) -> list[tuple[int, ...]]:
    """Puzzle id and inputs of each."""
    return [tuple(row) for row in torch.cat([instances.puzzle_id[:, None], instances.inputs], dim=1).tolist()]


def same(one: Instances, other: Instances) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("inputs", "solution", "puzzle_id"))


GENERATED = [
    (Sudoku, {"size": 4, "train": 50, "test": 10}),
    (Sudoku, {"size": 6, "train": 20, "test": 10}),
    (Maze, {"size": 6, "train": 20, "test": 10}),
    (NQueens, {"size": 12, "train": 20, "test": 10}),
]
NAMES = ["sudoku-4x4", "sudoku-6x6", "maze", "nqueens-12x12"]


@pytest.mark.parametrize(("family", "options"), GENERATED, ids=NAMES)
def test_generated_ones_are_drawn_after_train_and_test_which_stay_as_they_are(family, options, tmp_path) -> None:
    made = family(**options, validation=30, cache_dir=tmp_path)
    without = family(**options, validation=0, cache_dir=tmp_path / "other")
    assert [len(made.instances(split)) for split in SPLITS] == [options["train"], 30, options["test"]]
    assert all(same(made.instances(split), without.instances(split)) for split in ("train", "test"))
    everything = [row for split in SPLITS for row in rows(made.instances(split))]
    assert len(set(everything)) == len(everything)
    check_puzzle(made)
    # Asked for first, and from the cache, it is the same.
    again = family(**options, validation=30, cache_dir=tmp_path)
    assert same(again.instances("validation"), made.instances("validation"))
    fresh = family(**options, validation=30, cache_dir=tmp_path / "third")
    assert same(fresh.instances("validation"), made.instances("validation"))
    assert made.has_validation and not without.has_validation
    with pytest.raises(PuzzleError, match="has no validation split here"):
        instances_of(without, "validation")


@pytest.mark.parametrize(("family", "options"), GENERATED, ids=NAMES)
def test_the_seed_decides(family, options, tmp_path) -> None:
    one, other = (family(**options, validation=5, seed=seed, cache_dir=tmp_path) for seed in (0, 1))
    assert not set(rows(one.instances("validation"))) & set(rows(other.instances("validation")))


def test_no_image_of_a_known_maze_is_drawn(tmp_path) -> None:
    # Few such mazes there are: an image of a known one would come up soon.
    made = Maze(size=3, min_path=4, train=20, test=10, validation=15, cache_dir=tmp_path)
    images = set()
    for split in ("train", "test"):
        boards = made.instances(split).inputs.view(-1, 3, 3)
        for turned in (boards.rot90(turn, (1, 2)) for turn in range(4)):
            images |= {tuple(row) for row in (*turned.flatten(1).tolist(), *turned.flip(2).flatten(1).tolist())}
    assert not images & {tuple(row) for row in made.instances("validation").inputs.tolist()}


def test_default_sizes(tmp_path) -> None:
    assert len(Sudoku(4, train=20, test=5, cache_dir=tmp_path).instances("validation")) == 1000
    queens = NQueens(6, train=64, test=16, cache_dir=tmp_path)
    assert [len(queens.instances(split)) for split in SPLITS] == [58, 6, 16]


def test_too_few_puzzles_are_a_clear_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("latent_rl.envs.maze.generator._FIELDS_BEFORE_FIRST", 10_000)
    monkeypatch.setattr("latent_rl.envs.maze.generator._FIELDS_PER_MAZE", 1000)
    with pytest.raises(PuzzleError, match="20 others were asked for"):
        Sudoku(4, blanks=[1, 1], train=4500, test=100, validation=20, cache_dir=tmp_path).instances("validation")
    with pytest.raises(PuzzleError, match="lower min_path, or validation"):
        Maze(size=2, min_path=1, train=1, test=1, validation=90, cache_dir=tmp_path).instances("validation")
    with pytest.raises(PuzzleError, match="holds out 20 of 20 training puzzles and leaves none; lower validation"):
        NQueens(6, train=20, test=5, validation=20)
    for family in (Sudoku, Maze, NQueens, Arc):
        with pytest.raises(PuzzleError, match="validation must be at least 0, got -1"):
            family(validation=-1)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = Maze(size=6, train=30, test=10, cache_dir=tmp_path)
    found = {f"{split}_file": tmp_path / f"{split}.csv" for split in ("train", "test")}
    for split in ("train", "test"):
        made.write(found[f"{split}_file"], made.instances(split))
    return found


def test_of_files_rows_are_held_out_that_nobody_trains_on(files) -> None:
    plain = Maze(size=6, validation=0, **files)
    everything, test = rows(plain.instances("train")), plain.instances("test")
    held_out = Maze(size=6, validation=8, **files)
    assert [len(held_out.instances(split)) for split in SPLITS] == [22, 8, 10]
    found = [row for split in ("train", "validation") for row in rows(held_out.instances(split))]
    assert sorted(found) == sorted(everything) and same(held_out.instances("test"), test)
    # What is left over suffices: the training rows are those that were drawn without it.
    drawn = Maze(size=6, train=20, validation=8, **files)
    assert same(drawn.instances("train"), Maze(size=6, train=20, validation=0, **files).instances("train"))
    assert set(rows(drawn.instances("validation"))) <= set(everything) - set(rows(drawn.instances("train")))
    # It does not: six of those that were drawn are held out too.
    assert [len(Maze(size=6, train=28, validation=8, **files).instances(split)) for split in SPLITS] == [22, 8, 10]
    with pytest.raises(PuzzleError, match=r"train.csv: validation holds out 30 of 30 training puzzles"):
        Maze(size=6, validation=30, **files).instances("train")


def test_a_row_that_stands_in_the_file_twice_is_not_in_two_splits(files) -> None:
    lines = files["train_file"].read_text().splitlines()
    files["train_file"].write_text("\n".join([*lines, *lines[1:]]) + "\n")
    made = Maze(size=6, validation=10, **files)
    assert not set(rows(made.instances("train"))) & set(rows(made.instances("validation")))
    assert len(made.instances("validation")) == 10 and len(made.instances("train")) >= 40


def test_arc_asks_training_tasks_as_it_asks_test_tasks(tmp_path) -> None:
    trained = write_folder(tmp_path / "training", **{f"t{k}": task(k % 9 + 1, k // 9 + 2) for k in range(20)})
    tested = write_folder(tmp_path / "evaluation", a=task(1, 1))
    made = Arc(test=str(tested), train=str(trained), augmentations=2, side=6)
    without = Arc(test=str(tested), train=str(trained), augmentations=2, side=6, validation=0)
    found = made.instances("validation")
    assert len(found) == 2 and made.has_validation and not without.has_validation
    assert set(rows(found)) == set(rows(without.instances("train"))) - set(rows(made.instances("train")))
    # The tasks themselves are learned: their demonstrations are in the training split.
    assert set(found.puzzle_id.tolist()) <= set(made.instances("train").puzzle_id.tolist())
    assert same(made.instances("test"), without.instances("test")) and made.ids_digest == without.ids_digest
    assert same(found, Arc(test=str(tested), train=str(trained), augmentations=2, side=6).instances("validation"))
    check_puzzle(made)
    with pytest.raises(PuzzleError, match="validation asks for 21 tasks, there are 20 in train"):
        Arc(test=str(tested), train=str(trained), side=6, validation=21).instances("train")


def test_arc_without_training_tasks_takes_demonstrations_only_if_asked(tmp_path) -> None:
    assert not Arc(side=8).has_validation
    plain, made = Arc(side=8).instances("train"), Arc(side=8, validation=3)
    assert len(made.instances("validation")) == 3 and len(made.instances("train")) == len(plain) - 3
    check_puzzle(made)
    leak = {"train": [pair(1), pair(2), pair(3)], "test": [pair(3)]}
    (tmp_path / "a.json").write_text(json.dumps(leak))
    # The pair that would be held out is the test pair.
    assert len(Arc(test=str(tmp_path), side=6, validation=1).instances("validation")) == 0


class Forgetful(Puzzle):
    """A puzzle from before there was a validation split."""

    name, grid_shape, symbols = "forgetful", (1, 4), Backwards.symbols

    def instances(self, split):
        return Backwards().instances("train" if split == "train" else "test")

    def is_solved(self, inputs, answers):
        return Backwards().is_solved(inputs, answers)


def test_a_puzzle_that_has_none_never_hands_out_its_test_puzzles() -> None:
    check_puzzle(Forgetful())
    with pytest.raises(PuzzleError, match="forgetful has no validation split here, and nothing is chosen on test"):
        instances_of(Forgetful(), "validation")

    class Liar(Forgetful):
        has_validation = True

    with pytest.raises(PuzzleError, match="10 puzzles of the test split are in the validation split too"):
        check_puzzle(Liar())
