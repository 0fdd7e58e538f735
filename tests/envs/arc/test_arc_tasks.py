"""Every public layout is read alike, and every malformed file is named with the place in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arc_files import pair, task, write_folder, write_kaggle

from latent_rl.envs.arc.tasks import read_tasks
from latent_rl.envs.puzzle import PuzzleError


def test_the_three_layouts_give_the_same_tasks(tmp_path: Path) -> None:
    tasks = {"a": task(1, 2), "b": task(3)}
    flat = read_tasks([write_folder(tmp_path / "training", **tasks)])
    write_folder(tmp_path / "corpus" / "Above", a=tasks["a"])
    write_folder(tmp_path / "corpus" / "Below", b={**tasks["b"], "name": "extra keys are ignored"})
    nested = read_tasks([tmp_path / "corpus"])
    kaggle = read_tasks([write_kaggle(tmp_path / "kaggle", tasks)])
    assert list(flat) == list(nested) == list(kaggle) == ["a", "b"]
    for name, found in flat.items():
        assert found.same_content(nested[name]) and found.same_content(kaggle[name])
    first = flat["a"]
    assert [demonstration.input.tolist() for demonstration in first.demonstrations] == [[[1, 0, 0]], [[2, 0, 0]]]
    assert first.tests[0].output.tolist() == [[0, 5, 2, 1]]


def test_hidden_outputs_are_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hidden", a=task(1, output=False))
    kaggle = write_kaggle(tmp_path / "kaggle", {"a": task(1)}, with_solutions=False)
    for source in (folder, kaggle):
        assert read_tasks([source])["a"].tests[0].output is None


def test_the_packaged_tasks_are_a_dozen() -> None:
    tasks = read_tasks(["mini"])
    assert len(tasks) == 12
    assert all(test.output is not None for found in tasks.values() for test in found.tests)


def test_one_task_in_two_sources_counts_once_unless_it_differs(tmp_path: Path) -> None:
    one, same = (write_folder(tmp_path / folder, a=task(1)) for folder in ("one", "same"))
    assert list(read_tasks([one, same])) == ["a"]
    other = write_folder(tmp_path / "other", a=task(2))
    with pytest.raises(PuzzleError, match="task 'a' stands in .*one.* and in .*other.* with different content"):
        read_tasks([one, other])
    # One pair moved from the test to the demonstrations is another task, though the pairs are the same.
    moved = {"train": [*task(1)["train"], *task(1)["test"]], "test": [pair(9)]}
    shorter = {"train": task(1)["train"], "test": [*task(1)["test"], pair(9)]}
    with pytest.raises(PuzzleError, match="different content"):
        read_tasks([write_folder(tmp_path / "long", b=moved), write_folder(tmp_path / "short", b=shorter)])


GOOD = task(1)
WIDE = {**GOOD, "test": [{"input": [[0] * 31]}]}
MALFORMED = {
    "a 31-wide grid": (WIDE, "test pair 1, input: 1 x 31 cells; a grid has at most 30 x 30"),
    "a 31-high grid": ({**GOOD, "train": [{"input": [[0]], "output": [[0]] * 31}]}, "train pair 1, output: 31 x 1"),
    "a colour 10": ({**GOOD, "train": [pair(0), pair(0, 10)]}, "train pair 2, input: row 1 holds 10; colours are"),
    "a negative colour": ({**GOOD, "test": [{"input": [[-1]]}]}, "row 1 holds -1"),
    "a fraction": ({**GOOD, "test": [{"input": [[1.0]]}]}, "row 1 holds 1.0"),
    "a truth": ({**GOOD, "test": [{"input": [[True]]}]}, "row 1 holds True"),
    "no train": ({"test": GOOD["test"]}, "the key 'train' is missing"),
    "no test": ({"train": GOOD["train"]}, "the key 'test' is missing"),
    "no input": ({**GOOD, "test": [{"output": [[0]]}]}, "test pair 1: the key 'input' is missing"),
    "no output": ({**GOOD, "train": [{"input": [[0]]}]}, "train pair 1: the key 'output' is missing"),
    "no demonstrations": ({**GOOD, "train": []}, "'train' must be a list of demonstrations that is not empty"),
    "no test inputs": ({**GOOD, "test": []}, "'test' must be a list of test inputs that is not empty"),
    "a ragged grid": ({**GOOD, "test": [{"input": [[0, 0], [0]]}]}, "row 2 has 1 cells, row 1 has 2"),
    "an empty grid": ({**GOOD, "test": [{"input": []}]}, "a grid must be a list of rows"),
    "an empty row": ({**GOOD, "test": [{"input": [[]]}]}, "a grid must be a list of rows, none of them empty"),
    "a list": ([GOOD], "expected an object of 'train' and 'test', got a list"),
    "a pair that is none": ({**GOOD, "test": [7]}, "test pair 1: expected an object of 'input' and 'output', got 7"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_tasks_are_named_by_file_and_place(tmp_path: Path, case: str) -> None:
    content, complaint = MALFORMED[case]
    folder = write_folder(tmp_path / "training", good=GOOD, zbad=content)
    with pytest.raises(PuzzleError) as error:
        read_tasks([folder])
    assert str(error.value).startswith(f"{folder / 'zbad.json'}, task 'zbad'")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def fails(source: Path, complaint: str) -> None:
    with pytest.raises(PuzzleError, match=complaint):
        read_tasks([source])


def test_unreadable_files_are_user_errors(tmp_path: Path) -> None:
    text = json.dumps(GOOD, indent=1)
    fails(write_folder(tmp_path / "cut", a=text[: len(text) // 2]), r"a.json, line \d+: no valid JSON, is the file cut")
    fails(write_folder(tmp_path / "twice", a='{"train": [], "train": []}'), "'train' stands in one object twice")
    (write_folder(tmp_path / "latin") / "a.json").write_bytes(b'{"\xe9": 1}')
    fails(tmp_path / "latin", "cannot be read as JSON")
    fails(write_folder(tmp_path / "empty"), "no task files")
    fails(tmp_path / "absent", "no such source; give a folder of task files, or Kaggle's")
    fails(tmp_path / "absent_challenges.json", "no such file")
    (tmp_path / "notes.txt").write_text("hello")
    fails(tmp_path / "notes.txt", "no source of ARC tasks")


def test_the_kaggle_pair_must_fit_together(tmp_path: Path) -> None:
    challenges = write_kaggle(tmp_path, {"a": task(1), "b": task(2)})
    solutions = tmp_path / "arc-agi_test_solutions.json"
    answers = json.loads(solutions.read_text())
    solutions.write_text(json.dumps({**answers, "b": None}))
    fails(challenges, "solutions.json, task 'b': expected a list of grids, got null")
    solutions.write_text(json.dumps({"a": answers["a"]}))
    fails(challenges, "solutions.json: task 'b' is missing; it stands in the other file")
    solutions.write_text(json.dumps({**answers, "c": answers["a"]}))
    fails(challenges, "challenges.json: task 'c' is missing")
    solutions.write_text(json.dumps({**answers, "b": answers["b"] * 2}))
    fails(challenges, "task 'b': 1 test inputs, but the solutions file has 2")
    solutions.write_text(json.dumps({**answers, "b": [[[11]]]}))
    fails(challenges, "task 'b', solution 1: row 1 holds 11")
    challenges.write_text("{}")
    fails(challenges, "no tasks")


def test_messages_stay_short_whatever_stands_in_a_file(tmp_path):
    for number, content in enumerate(
        (
            {"train": [{"input": [[["x "] * 900]], "output": [[0]]}], "test": [{"input": [[0]]}]},
            {"train": "y " * 900, "test": [{"input": [[0]]}]},
        )
    ):
        file = tmp_path / f"{number}_challenges.json"
        file.write_text(json.dumps({"name " * 200: content}))
        with pytest.raises(PuzzleError) as caught:
            read_tasks([file])
        assert str(file) in str(caught.value) and len(str(caught.value)) < 300
