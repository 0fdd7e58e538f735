"""Tasks of reasoning-gym: their rules against its own scores, their splits, and what is said where something lacks."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError

import gymnasium
import pytest
import torch
from torch import Tensor

from latent_rl.envs import Puzzle, check_puzzle, make_puzzle, puzzle_from_id
from latent_rl.envs.puzzle import Instances, PuzzleError
from latent_rl.envs.reasoning_gym import BinaryMatrix, Kakurasu, MiniSudoku, RotateMatrix, Survo, items
from latent_rl.envs.registration import REASONING_GYM

try:
    import reasoning_gym
except ImportError:
    reasoning_gym = None

installed = pytest.mark.skipif(reasoning_gym is None, reason="reasoning-gym is not installed")

FEW = {"train": 30, "test": 8, "validation": 8}
SMALL = {"sudoku": {"train": 4, "test": 3, "validation": 3}}
OPTIONS = {
    "game_of_life": [{}, {"size": 5, "simulation_steps": 2}],
    "survo": [{}, {"size": 5, "min_empty": 6, "max_empty": 7}],
    "binary_matrix": [{}, {"size": 8, "p_zero": 0.05}],
    "kakurasu": [{}, {"size": 4}],
}
CASES = [(task, options) for task in sorted(REASONING_GYM) for options in OPTIONS.get(task, [{}])]


def made(task: str, **options: object) -> Puzzle:
    return puzzle_from_id(f"reasoning_gym:{task}", **{**FEW, **SMALL.get(task, {}), **options})


def written(task: str, puzzle: Puzzle, item: dict, board: Tensor) -> str:
    """An answer as reasoning-gym wants it written."""
    symbols = [puzzle.symbols[token] for token in board.tolist()]
    rows, columns = puzzle.grid_shape
    lines = [symbols[row * columns : (row + 1) * columns] for row in range(rows)]
    if task == "futoshiki":
        digits = iter([cell for line in lines[::2] for cell in line[::2]])
        return re.sub(r"\d", lambda _: next(digits).replace(".", "_"), item["answer"])
    if task == "kakurasu":
        lines = [line[: puzzle.side] for line in lines[: puzzle.side]]
    if task == "survo":
        side = puzzle.side
        solution = [list(map(str, line)) for line in item["metadata"]["solution"]]
        lines = [lines[row][:side] + solution[row][side:] for row in range(side)] + solution[side:]
    if task == "rotate_matrix":
        lines = lines[:-1]
    if task == "binary_matrix":
        lines = [[cell if cell in "._" else str(int(cell, 36)) for cell in line] for line in lines]
    if task == "game_of_life":
        return json.dumps([[int(cell) if cell.isdigit() else -1 for cell in line] for line in lines])
    return "\n".join(" ".join(line) for line in lines)


def drawn(task: str, puzzle: Puzzle, seed: int) -> Iterator[tuple[object, dict, Instances]]:
    """Data set, items, and the boards of them that are wanted."""
    sizes = {key: value for key, value in puzzle.source.parameters.items() if key in config_fields(task)}
    dataset = reasoning_gym.create_dataset(task, **{**sizes, "seed": seed, "size": 10_000})
    read = getattr(puzzle, "_read", None) or items_of_sudoku
    for item in itertools.islice(dataset, 10):
        if (board := read(item)) is not None:
            yield dataset, item, Instances.of(*(torch.tensor([tokens]) for tokens in board))


def config_fields(task: str) -> set[str]:
    return set(reasoning_gym.factory.DATASETS[task][1].__dataclass_fields__) - {"seed", "size"}


def items_of_sudoku(item: dict) -> object:
    from latent_rl.envs.reasoning_gym import sudoku

    return sudoku._read(item)


@installed
@pytest.mark.parametrize(("task", "options"), CASES)
def test_every_task_is_a_sound_puzzle(task: str, options: dict) -> None:
    puzzle = made(task, **options)
    check_puzzle(puzzle)
    assert puzzle.has_validation and puzzle.counts_violations == puzzle.has_rule == (task != "arc_1d")
    inputs = puzzle.instances("test").inputs
    for tokens in inputs:
        assert torch.equal(puzzle.parse(puzzle.render(tokens)), tokens)
    assert gymnasium.make(f"reasoning_gym/{task}-v0", **{**FEW, **SMALL.get(task, {}), **options}) is not None


@installed
@pytest.mark.parametrize(("task", "options"), [case for case in CASES if case[0] != "arc_1d"])
def test_the_rule_agrees_with_the_score(task: str, options: dict) -> None:
    """On keys, on keys with a cell changed or two swapped, and on answers of chance."""
    puzzle = made(task, **options)
    generator = torch.Generator().manual_seed(0)
    judged: list[tuple[bool, float]] = []
    for dataset, item, one in drawn(task, puzzle, seed=100):
        key, free = one.solution, puzzle.free_cells(one.inputs)
        cells = free[0].nonzero().flatten()
        noise = torch.randint(1, puzzle.vocab_size, (60, puzzle.seq_len), generator=generator)
        answers = [key, one.inputs]
        for row in noise:
            cell, other = cells[torch.randint(len(cells), (2,), generator=generator)]
            changed, swapped = key.clone(), key.clone()
            changed[0, cell] = row[cell]
            swapped[0, [cell, other]] = swapped[0, [other, cell]]
            answers += [changed, swapped, torch.where(free, row, key)]
        batch = torch.cat(answers)
        solved = puzzle.is_solved(one.inputs.expand_as(batch), batch).tolist()
        scores = [dataset.score_answer(written(task, puzzle, item, answer), item) for answer in batch]
        judged += list(zip(solved, scores, strict=True))
    assert len(judged) > 500
    assert [pair for pair in judged if pair[0] != (pair[1] == 1)] == []
    assert sum(solved for solved, _ in judged) >= 10 and sum(not solved for solved, _ in judged) >= 300


@installed
def test_a_changed_clue_solves_nothing() -> None:
    for task in ("futoshiki", "kakurasu", "survo", "rotate_matrix"):
        puzzle = made(task)
        test = puzzle.instances("test")
        for cell in (~puzzle.free_cells(test.inputs[:1]))[0].nonzero().flatten().tolist():
            answers = test.solution.clone()
            answers[:, cell] = answers[:, cell] % (puzzle.vocab_size - 1) + 1
            kept = puzzle.free_cells(test.inputs)[:, cell]
            assert not puzzle.is_solved(test.inputs, answers)[~kept].any()


@installed
def test_kakurasu_accepts_every_answer_that_adds_up() -> None:
    """Of the 4x4 boards that share their sums with others, a few: reasoning-gym accepts each answer, and so do we."""
    puzzle = Kakurasu(size=4, **FEW)
    boards = torch.cartesian_prod(*[torch.arange(2)] * 16).view(-1, 4, 4)
    places = torch.arange(1, 5)
    sums = torch.cat(((boards * places).sum(2), (boards.mT * places).sum(2)), dim=1)
    _, group, sizes = sums.unique(dim=0, return_inverse=True, return_counts=True)
    for shared in (sizes > 1).nonzero().flatten()[::500].tolist():
        right = boards[group == shared]
        metadata = {"n_rows": 4, "n_cols": 4, "solution": right[0].tolist()}
        metadata |= zip(("row_sums", "col_sums"), sums[group == shared][0].view(2, 4).tolist(), strict=True)
        inputs = torch.tensor([puzzle._read({"metadata": metadata})[0]])
        answers = inputs.repeat(len(boards), 1).view(-1, 6, 6)
        answers[:, :4, :4] = boards + puzzle.encode("0")[0]
        solved = puzzle.is_solved(inputs.expand(len(boards), -1), answers.flatten(1))
        assert torch.equal(solved, group == shared)
        dataset = reasoning_gym.create_dataset("kakurasu", seed=0)
        for answer in answers.flatten(1)[solved]:
            assert dataset.score_answer(written("kakurasu", puzzle, {}, answer), {"metadata": metadata}) == 1


@installed
def test_survo_leaves_out_what_has_several_answers() -> None:
    puzzle = Survo(min_empty=4, max_empty=5, **FEW)
    dataset = reasoning_gym.create_dataset("survo", seed=3, size=100, max_board_size=4, min_empty=4, max_empty=5)
    left_out = 0
    for item in itertools.islice(dataset, 40):
        board, left = torch.tensor(item["metadata"]["puzzle"]), item["metadata"]["candidate_numbers"]
        right = set()
        for order in set(itertools.permutations(left)):
            filled = board.clone()
            filled[board == 0] = torch.tensor(order)
            inner = filled[:3, :3]
            if torch.equal(inner.sum(1), filled[:3, 3]) and torch.equal(inner.sum(0), filled[3, :3]):
                right.add(order)
        read = puzzle._read(item)
        assert (read is None) == (len(right) > 1)
        left_out += read is None
    assert 0 < left_out < 40


@installed
def test_more_violations_are_further_from_solved() -> None:
    """Graded, so that a sampled answer that breaks less is known to be better."""
    generator = torch.Generator().manual_seed(1)
    for task in sorted(REASONING_GYM.keys() - {"arc_1d"}):
        puzzle = made(task)
        test = puzzle.instances("test")
        noise = torch.randint(1, puzzle.vocab_size, test.inputs.shape, generator=generator)
        places = torch.rand(test.inputs.shape, generator=generator)
        means = []
        for share in (0.0, 0.2, 1.0):
            free = puzzle.free_cells(test.inputs)
            answers = torch.where(free & (places < share), noise, test.solution)
            means.append(puzzle.violations(test.inputs, answers).mean().item())
        assert means[0] == 0 < means[1] < means[2], task


@installed
def test_seeds_and_splits_share_nothing() -> None:
    """Item i + 1 of a seed is item i of the next one in reasoning-gym."""
    first, second = (RotateMatrix(seed=seed, **FEW) for seed in (0, 1))
    rows = [
        {tuple(row) for row in puzzle.instances(split).inputs.tolist()}
        for puzzle in (first, second)
        for split in ("train", "validation", "test")
    ]
    assert len(set.union(*rows)) == 2 * (30 + 8 + 8)
    more = RotateMatrix(seed=0, train=40, test=8, validation=8)
    assert torch.equal(more.instances("test").inputs, first.instances("test").inputs)
    assert torch.equal(more.instances("train").inputs[:30], first.instances("train").inputs)


@installed
def test_a_board_occurs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "_PATIENCE", 200)
    puzzle = BinaryMatrix(size=2, p_zero=0.5, train=8, test=4, validation=3)
    found = [tuple(row) for split in ("train", "test", "validation") for row in puzzle.instances(split).inputs.tolist()]
    assert len(set(found)) == len(found) == 15  # all there are: a board has a 0
    with pytest.raises(PuzzleError, match=r"binary_matrix-2x2: only 11 of 12 different puzzles found; ask for fewer"):
        BinaryMatrix(size=2, p_zero=0.5, train=12, test=4).instances("train")


@installed
def test_boards_are_written_as_people_write_them() -> None:
    board = made("futoshiki").parse(
        "_ < . + * > 1\n" + "+ + ∧ + + + v\n" + ". + . + . + .\n" + ("+ " * 7 + "\n. + . + . + .\n") * 2
    )
    assert made("futoshiki").render(board).splitlines()[:2] == [". < . + . > 1", "+ + ^ + + + v"]
    matrix = BinaryMatrix(size=2, **FEW)
    assert matrix.render(matrix.parse("0 1\n1 1")) == "0 .\n. ."


@installed
@pytest.mark.parametrize(
    ("task", "text", "message"),
    [
        ("rotate_matrix", "1" * 25 + "7++++", "row 6, column 1 holds '7'; allowed there: 0 1 2 3"),
        ("binary_matrix", "0" * 35 + "2", "row 6, column 6 holds '2'; allowed there: 0 ."),
        ("kakurasu", "." * 49, "row 1, column 6 holds '.'; allowed there: 0 1 2"),
    ],
)
def test_a_symbol_in_the_wrong_place_is_named(task: str, text: str, message: str) -> None:
    puzzle = made(task)
    with pytest.raises(PuzzleError, match=re.escape(message)):
        puzzle.check_input(puzzle.parse(text))


@pytest.mark.parametrize(
    ("id", "options", "message"),
    [
        ("mini_sudoko", {}, "reasoning_gym:mini_sudoko: no such puzzle; did you mean 'mini_sudoku'? known: arc_1d, b"),
        (
            "chain_sum",
            {},
            "reasoning_gym:chain_sum: no such puzzle; known: arc_1d, binary_matrix, futoshiki, game_of",
        ),
        ("kakurasu", {"rows": 4}, "reasoning_gym:kakurasu: Kakurasu has no option 'rows'; known: size, p_ones, train"),
        ("kakurasu", {"size": 2}, "Kakurasu: option 'size' should be greater than or equal to 3, got 2"),
    ],
)
def test_what_is_not_there_is_named(id: str, options: dict, message: str) -> None:
    with pytest.raises(PuzzleError, match=re.escape(message)):
        make_puzzle(f"reasoning_gym:{id}", **options)


@installed
@pytest.mark.parametrize(
    ("puzzle", "options", "message"),
    [
        (MiniSudoku, {"max_empty": 13}, "reasoning_gym-mini_sudoku: max_empty must be between min_empty and 12"),
        (MiniSudoku, {"train": 0}, "train and test must be at least 1 and validation at least 0, got 0, 1000, 1000"),
        (Survo, {"min_empty": 6}, "survo-4x4: min_empty must be at most max_empty, got 6 and 5"),
        (Survo, {"max_empty": 12}, "less than or equal to 9"),
    ],
)
def test_numbers_out_of_range_are_one_line(puzzle: type[Puzzle], options: dict, message: str) -> None:
    with pytest.raises(PuzzleError, match=re.escape(message)) as caught:
        make_puzzle(puzzle, **options).instances("train")
    assert "\n" not in str(caught.value)


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(items, "version", nothing)
    for task in REASONING_GYM:
        with pytest.raises(
            PuzzleError, match="needs a package that is not installed: pip install reasoning-gym"
        ) as got:
            puzzle_from_id(f"reasoning_gym:{task}")
        assert "\n" not in str(got.value) and task in str(got.value)
