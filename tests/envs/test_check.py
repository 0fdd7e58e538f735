"""Every way in which a puzzle may be broken is found, and said in plain words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_puzzle import Backwards

from latent_rl.envs import IGNORE, Instances, PuzzleError, check_puzzle


def test_a_sound_puzzle_passes():
    check_puzzle(Backwards())


def test_ignored_cells_and_puzzle_ids_are_fine():
    class Ends(Backwards):
        """Only the first letter of the answer counts."""

        num_puzzle_ids = 7

        def instances(self, split):
            found = super().instances(split)
            solutions = found.solution.clone()
            solutions[:, 1:] = IGNORE
            return Instances(found.inputs, solutions, torch.arange(len(found)) % 7)

        def is_solved(self, inputs, answers):
            return answers[:, 0] == inputs[:, -1]

        def augment(self, instances, generator):
            return instances

    check_puzzle(Ends())


def change(split, **edits):
    """A puzzle whose instances of `split` are edited: a function a field."""

    class Changed(Backwards):
        def instances(self, which):
            found = super().instances(which)
            if which != split:
                return found
            return replace(found, **{name: edit(getattr(found, name)) for name, edit in edits.items()})

    return Changed()


def put(row, column, value):
    def edit(tensor):
        tensor = tensor.clone()
        tensor[row, column] = value
        return tensor

    return edit


DATA = [
    (change("train", inputs=torch.Tensor.int), "the train split: inputs must be int64, got torch.int32"),
    (
        change("test", solution=lambda s: s[:, :3]),
        r"the test split: solution must have shape \[10, 4\], got \[10, 3\]",
    ),
    (change("train", puzzle_id=lambda i: i[:, None]), r"puzzle_id must have shape \[40\], got \[40, 1\]"),
    (change("train", inputs=put(7, 0, 6)), "the train split: inputs of instance 7 hold tokens outside 0 to 5"),
    (change("test", solution=put(3, 1, -1)), "the test split: the solution of instance 3 holds tokens outside 0 to 5"),
    (change("test", solution=put(2, slice(None), IGNORE)), "the solution of instance 2 ignores every cell"),
    (change("test", puzzle_id=lambda i: i + 1), "the puzzle id of instance 0 is 1, outside 0 to 0"),
    (
        change("train", inputs=lambda i: i[torch.randperm(40)]),
        r"inputs differ between two calls of instances\('train'\)",
    ),
    (Backwards(test=0), "the test split: it holds no instances"),
    (
        change("test", inputs=put(0, slice(None), Backwards().instances("train").inputs[5])),
        "1 puzzles of the test split",
    ),
]


@pytest.mark.parametrize(("puzzle", "message"), DATA, ids=[message for _, message in DATA])
def test_faulty_data_are_found(puzzle, message):
    with pytest.raises(PuzzleError, match=message):
        check_puzzle(puzzle)


class NoName(Backwards):
    def __init__(self):
        super().__init__()
        del self.name


class LongSymbol(Backwards):
    symbols = ("_", "a", "b", "c", "d", "ee")


class SameSymbol(Backwards):
    symbols = "_abcda"


class FlatGrid(Backwards):
    def __init__(self):
        super().__init__()
        self.grid_shape = (4,)


class MissingData(Backwards):
    def instances(self, split):
        raise PuzzleError("words.csv: no such file")


class RefusesKeys(Backwards):
    def is_solved(self, inputs, answers):
        return (answers == inputs).all(-1)


class AcceptsAll(Backwards):
    def is_solved(self, inputs, answers):
        return torch.ones(len(inputs), dtype=torch.bool)


class FlatRule(Backwards):
    def is_solved(self, inputs, answers):
        return super().is_solved(inputs, answers)[:, None]


class IntegerRule(Backwards):
    def is_solved(self, inputs, answers):
        return super().is_solved(inputs, answers).long()


class CrowdRule(Backwards):
    def is_solved(self, inputs, answers):
        return super().is_solved(inputs, answers) & (len(inputs) > 1)


class WritingRule(Backwards):
    def is_solved(self, inputs, answers):
        answers[:, 0] = 1
        return super().is_solved(inputs, answers)


class CrashingRule(Backwards):
    def is_solved(self, inputs, answers):
        raise KeyError("oops")


class StingyQuality(Backwards):
    def quality(self, answers, solutions):
        return super().quality(answers, solutions) / 2


class PercentQuality(Backwards):
    def quality(self, answers, solutions):
        return super().quality(answers, solutions) * 100


class DoubleQuality(Backwards):
    def quality(self, answers, solutions):
        return super().quality(answers, solutions).double()


class HalfAugmented(Backwards):
    def augment(self, instances, generator):
        image = super().augment(instances, generator)
        return replace(image, solution=instances.solution)


class CarelessAugmented(Backwards):
    def augment(self, instances, generator):
        return super().augment(instances, torch.Generator().manual_seed(int(torch.randint(1000, ()))))


class CroppedAugmented(Backwards):
    def augment(self, instances, generator):
        return instances[:2]


class WritingAugmented(Backwards):
    def augment(self, instances, generator):
        instances.inputs.copy_(instances.inputs.flip(-1))
        instances.solution.copy_(instances.solution.flip(-1))
        return instances


class Illegible(Backwards):
    def render(self, tokens):
        return super().render(tokens).replace("a", "b")


class Unreadable(Backwards):
    def render(self, tokens):
        return super().render(tokens).upper()


class Strict(Backwards):
    def check_input(self, tokens):
        raise PuzzleError("no")


class ShortUnits(Backwards):
    units = ((0, 0, 1),)


class PaddingRenamed(Backwards):
    interchangeable = (0, 1)


class NamesThatMatter(Backwards):
    interchangeable = (1, 2)

    def is_solved(self, inputs, answers):
        return super().is_solved(inputs, answers) & (inputs[:, 0] != 2)


CODE = [
    (ShortUnits, "units: kind 0 must name a unit, an int, of each of 4 cells, got 3 values"),
    (PaddingRenamed, r"interchangeable must be distinct tokens within 1 to \d+, got \[0, 1\]"),
    (NamesThatMatter, r"is_solved refuses the answer key of instance \d+ of the train split once the interchangeable"),
    (NoName, "it has no attribute 'name'"),
    (LongSymbol, "symbols must be single characters, got 'ee'"),
    (SameSymbol, "symbols must be distinct, 'a' stands for more than one token"),
    (FlatGrid, r"grid_shape must be two positive integers \(rows, columns\), got \(4,\)"),
    (MissingData, "checking the data stopped with PuzzleError: words.csv: no such file"),
    (RefusesKeys, r"is_solved refuses the answer key of instance \d+ of the train split"),
    (AcceptsAll, "is_solved accepts an answer of nothing but padding"),
    (AcceptsAll, r"is_solved accepts most answers that have one cell changed \(40 of 40\)"),
    (FlatRule, r"is_solved must return bool \[40\] for a batch of 40, got torch.bool \[40, 1\]"),
    (IntegerRule, r"is_solved must return bool \[40\] for a batch of 40, got torch.int64"),
    (CrowdRule, "is_solved judges an answer differently alone and in a batch"),
    (WritingRule, "is_solved modifies its arguments"),
    (CrashingRule, "checking the rule stopped with KeyError: 'oops'"),
    (StingyQuality, "the quality of the train split's answer keys is not 1"),
    (PercentQuality, r"the quality of the train split's answer keys leaves \[0, 1\]"),
    (DoubleQuality, r"quality must return float32 \[40\] for a batch of 40, got torch.float64"),
    (HalfAugmented, r"augment turns the solved instance \d+ of the train split into one that is_solved refuses"),
    (CarelessAugmented, "augment draws inputs from something other than the generator it is given"),
    (CroppedAugmented, r"augment turns inputs from torch.int64 \[40, 4\] into torch.int64 \[2, 4\]"),
    (WritingAugmented, "augment modifies its arguments"),
    (Illegible, r"parse reads other tokens than render wrote for instance \d+"),
    (Unreadable, r"parse refuses what render made of instance \d+: line 1, column 1"),
    (Strict, r"check_input refuses instance \d+ of the train split: no"),
]


@pytest.mark.parametrize(("puzzle", "message"), CODE, ids=[f"{puzzle.__name__}: {message}" for puzzle, message in CODE])
def test_faulty_code_is_found(puzzle, message):
    with pytest.raises(PuzzleError, match=message):
        check_puzzle(puzzle())


def test_everything_that_is_wrong_is_listed():
    class Twice(StingyQuality, Unreadable):
        pass

    with pytest.raises(PuzzleError) as caught:
        check_puzzle(Twice())
    lines = str(caught.value).splitlines()
    assert lines[0] == "backwards-4 is not a sound puzzle:"
    assert any("quality" in line for line in lines) and any("parse" in line for line in lines)
    assert all(line.startswith("- ") for line in lines[1:])
