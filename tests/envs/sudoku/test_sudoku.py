"""Sudoku: the solver against brute force, the generator's promises, the rule, symmetries, files and text."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latent_rl.envs.puzzle import Instances, PuzzleError
from latent_rl.envs.sudoku import generator as sudoku_generator
from latent_rl.envs.sudoku.puzzle import BLANK, Sudoku
from latent_rl.envs.sudoku.solver import SearchBudgetExceeded, solve

BOX_SHAPES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}
SAMPLE = Path(__file__).parents[2] / "data" / "sudoku_sample.csv"
BROKEN_4X4 = {
    "nothing": "1234341221434321",
    "boxes": "1234234134124123",
    "columns": "1234341212343412",
    "rows": "1313242431314242",
}
MOST_BLANKS = {4: 11, 6: 24, 9: 54}


def brute_force(board: list[int], size: int) -> list[tuple[int, ...]]:
    """All solutions, by trying digits cell after cell in reading order; shares nothing with the solver under test."""
    rows, columns = BOX_SHAPES[size]

    def box(cell: int) -> tuple[int, int]:
        return cell // size // rows, cell % size // columns

    def clashes(cell: int, digit: int) -> bool:
        return any(
            cells[other] == digit
            and other != cell
            and (other // size == cell // size or other % size == cell % size or box(other) == box(cell))
            for other in range(size * size)
        )

    cells, found = list(board), []

    def fill(cell: int) -> None:
        if cell == size * size:
            found.append(tuple(cells))
        elif board[cell]:
            if not clashes(cell, board[cell]):
                fill(cell + 1)
        else:
            for digit in range(1, size + 1):
                if not clashes(cell, digit):
                    cells[cell] = digit
                    fill(cell + 1)
            cells[cell] = 0

    fill(0)
    return found


@pytest.fixture(scope="module")
def sudokus(tmp_path_factory) -> dict[int, Sudoku]:
    cache = tmp_path_factory.mktemp("cache")
    counts = {4: (600, 100), 6: (200, 50), 9: (24, 8)}
    return {size: Sudoku(size, *counts[size], seed=1, augment=True, cache_dir=cache) for size in BOX_SHAPES}


def both_splits(puzzle: Sudoku) -> Instances:
    train, test = puzzle.instances("train"), puzzle.instances("test")
    return Instances.of(torch.cat([train.inputs, test.inputs]), torch.cat([train.solution, test.solution]))


# The solver


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(0, 15), st.integers(1, 4), max_size=7))
@example({0: 1, 3: 1})  # twice in a row, a column, a box and nothing else
@example({0: 1, 12: 1})
@example({0: 1, 5: 1})
def test_solver_counts_all_solutions_of_any_4x4_board(givens):
    board = [givens.get(cell, 0) for cell in range(16)]
    expected = brute_force(board, 4)
    solutions, counts = solve(np.array(board), BOX_SHAPES[4], limit=None)
    assert counts.tolist() == [len(expected)]
    assert tuple(solutions[0].tolist()) in expected if expected else not solutions.any()


def test_solver_rejects_full_boards_that_break_one_kind_of_unit():
    boards = [list(map(int, board)) for board in BROKEN_4X4.values()]
    assert solve(np.array(boards), BOX_SHAPES[4])[1].tolist() == [1, 0, 0, 0]


def test_solver_finds_each_of_the_288_grids_of_4x4():
    # Every completion of the first row, so that each grid is one board's solution.
    boards = np.zeros((24, 16), dtype=int)
    boards[:, :4] = list(itertools.permutations(range(1, 5)))
    assert solve(boards, BOX_SHAPES[4], limit=None)[1].tolist() == [12] * 24
    assert solve(np.zeros(16, dtype=int), BOX_SHAPES[4], limit=None)[1].tolist() == [288]


def test_solver_counts_the_grids_of_6x6_with_a_given_first_row():
    board = np.zeros(36, dtype=int)
    board[:6] = range(1, 7)
    assert solve(board, BOX_SHAPES[6], limit=None)[1].tolist() == [28_200_960 // 720]


def test_solver_stops_at_the_limit_and_at_the_budget():
    empty = np.zeros(81, dtype=int)
    solutions, counts = solve(empty, BOX_SHAPES[9])
    assert counts.tolist() == [2]
    assert Sudoku(9).is_solved(torch.tensor(empty[None] + BLANK), torch.tensor(solutions.astype(int) + BLANK)).all()
    assert solve(empty, BOX_SHAPES[9], limit=1)[1].tolist() == [1]
    with pytest.raises(SearchBudgetExceeded):
        solve(empty, BOX_SHAPES[9], budget=10)


def test_solver_rejects_boards_of_another_shape():
    with pytest.raises(ValueError, match=r"\[N, 36\], got \[1, 16\]"):
        solve(np.zeros(16, dtype=int), BOX_SHAPES[6])
    with pytest.raises(ValueError, match="between 0 and 4, got 0 to 5"):
        solve(np.array([5] + [0] * 15), BOX_SHAPES[4])


# The generator


@pytest.mark.parametrize(("size", "checked"), [(4, 700), (6, 60)])
def test_generated_puzzles_have_one_solution_by_brute_force(sudokus, size, checked):
    instances = both_splits(sudokus[size])
    for inputs, solution in zip(instances.inputs[:checked], instances.solution[:checked], strict=True):
        assert brute_force((inputs - BLANK).tolist(), size) == [tuple((solution - BLANK).tolist())]


@pytest.mark.parametrize("size", BOX_SHAPES)
def test_generated_puzzles_are_different_consistent_and_in_the_range_of_blanks(sudokus, size):
    puzzle = sudokus[size]
    instances = both_splits(puzzle)
    assert len(instances.inputs.unique(dim=0)) == len(instances)
    assert puzzle.is_solved(instances.inputs, instances.solution).all()
    solutions, counts = solve((instances.inputs - BLANK).numpy(), BOX_SHAPES[size])
    assert (counts == 1).all() and (solutions == (instances.solution - BLANK).numpy()).all()
    blanks = (instances.inputs == BLANK).sum(1)
    low, high = puzzle.blanks
    assert low <= blanks.min() and blanks.max() <= high == MOST_BLANKS[size]
    assert blanks.float().std() > (high - low) / 5  # uniform: the range / sqrt(12)


def test_some_generated_puzzles_need_more_than_propagation():
    """The fast rules alone would make easy puzzles only."""
    rng = np.random.default_rng(0)
    puzzles, _ = sudoku_generator.generate(100, BOX_SHAPES[6], (22, 24), rng)
    with pytest.raises(SearchBudgetExceeded):
        solve(puzzles, BOX_SHAPES[6], budget=len(puzzles))


def test_4x4_grids_are_uniform_over_all_288():
    grids = next(sudoku_generator._grids(BOX_SHAPES[4], np.random.default_rng(0), batch=28_800))
    counts = np.unique(grids, axis=0, return_counts=True)[1]
    assert len(counts) == 288
    assert ((counts - 100) ** 2 / 100).sum() < 287 + 4 * np.sqrt(2 * 287)  # chi-squared with 287 degrees of freedom


def test_the_sampler_of_9x9_grids_is_uniform_where_that_can_be_seen():
    """On 4x4, where the solver's own grids are far from uniform (chi-squared near 3,700)."""
    grids = sudoku_generator._metropolis(BOX_SHAPES[4], np.random.default_rng(0), batch=28_800)
    counts = np.unique(grids, axis=0, return_counts=True)[1]
    assert len(counts) == 288
    assert ((counts - 100) ** 2 / 100).sum() < 287 + 4 * np.sqrt(2 * 287)


def test_generated_sets_repeat_by_seed_and_come_from_the_cache(tmp_path, caplog, monkeypatch):
    def make(seed: int, folder: str) -> Instances:
        return both_splits(Sudoku(4, 30, 10, seed=seed, cache_dir=tmp_path / folder))

    first = make(0, "a")
    assert torch.equal(make(0, "b").inputs, first.inputs)
    assert not torch.equal(make(1, "b").inputs, first.inputs)
    (file,) = (tmp_path / "a").iterdir()
    file.write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        assert torch.equal(make(0, "a").inputs, first.inputs)
    assert "damaged" in caplog.text
    monkeypatch.setattr(sudoku_generator, "generate", None)  # from here on, calling it fails
    assert torch.equal(make(0, "a").solution, first.solution)


def test_instances_are_loaded_once(sudokus):
    assert sudokus[4].instances("train") is sudokus[4].instances("train")
    assert len(sudokus[4].instances("train")) == 600 and len(sudokus[4].instances("test")) == 100


def test_asking_for_more_puzzles_than_there_are_ends_in_an_error(tmp_path):
    grids_less_one_given = 288 * 16
    puzzle = Sudoku(4, grids_less_one_given, 1, blanks=(1, 1), cache_dir=tmp_path)
    with pytest.raises(PuzzleError, match=r"sudoku-4x4: 4\d+ different puzzles with 1 to 1 blanks .* 4609 were asked"):
        puzzle.instances("train")
    with pytest.raises(PuzzleError, match="0 different puzzles with 13 to 16 blanks"):  # 4x4 needs at least 4 givens
        Sudoku(4, 1, 1, blanks=(13, 16), cache_dir=tmp_path).instances("train")


def test_so_few_givens_that_no_puzzle_has_one_solution_are_not_searched_for(monkeypatch):
    monkeypatch.setattr(sudoku_generator, "_grids", None)
    for box_shape, blanks in (((2, 2), 13), ((2, 3), 29), ((3, 3), 65)):
        with pytest.raises(PuzzleError, match=f"0 different puzzles with {blanks} to {blanks} blanks found"):
            sudoku_generator.generate(5, box_shape, (blanks, blanks), np.random.default_rng(0))


# The rule


@pytest.mark.parametrize("size", BOX_SHAPES)
def test_is_solved_fails_on_every_wrong_cell(sudokus, size):
    instances = sudokus[size].instances("test")[:1]
    inputs, solution = instances.inputs, instances.solution
    wrong = solution.repeat(size * size * (size + 2), 1)
    cells = torch.arange(size * size).repeat_interleave(size + 2)
    tokens = torch.arange(size + 2).repeat(size * size)
    wrong[torch.arange(len(wrong)), cells] = tokens  # every token in every cell
    expected = (wrong == solution).all(1)
    assert expected.sum() == size * size
    assert torch.equal(sudokus[size].is_solved(inputs.expand_as(wrong), wrong), expected)
    for outside in (-100, -1, size + 2, 1000):
        broken = solution.clone()
        broken[0, 0] = outside
        assert not sudokus[size].is_solved(torch.full_like(inputs, BLANK), broken).any()


def test_is_solved_looks_at_rows_columns_boxes_and_givens_each():
    puzzle = Sudoku(4)
    answers = torch.stack([puzzle.parse(board) for board in BROKEN_4X4.values()])
    blank = torch.full_like(answers, BLANK)
    assert puzzle.is_solved(blank, answers).tolist() == [True, False, False, False]
    given = blank.clone()
    given[:, 0] = BLANK + 2
    assert not puzzle.is_solved(given, answers).any()
    # How much is wrong: digits missing from boxes, or from columns or rows and boxes, and a given that was not kept.
    assert puzzle.violations(blank, answers).tolist() == [0, 4, 8, 8]
    assert puzzle.violations(given, answers).tolist() == [1, 5, 9, 9]


# Symmetries


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.sampled_from([4, 6, 9]))
def test_augmented_instances_stay_puzzles_with_their_solutions(sudokus, seed, size):
    puzzle = sudokus[size]
    before = puzzle.instances("train")
    copies = before.inputs.clone()
    after = puzzle.augment(before, torch.Generator().manual_seed(seed))
    assert puzzle.is_solved(after.inputs, after.solution).all()
    assert torch.equal((after.inputs == BLANK).sum(1), (before.inputs == BLANK).sum(1))
    assert torch.equal(before.inputs, copies)
    again = puzzle.augment(before, torch.Generator().manual_seed(seed))
    assert torch.equal(after.inputs, again.inputs) and torch.equal(after.solution, again.solution)


@pytest.mark.parametrize("size", BOX_SHAPES)
def test_each_row_of_a_batch_gets_its_own_symmetry(sudokus, size):
    one = sudokus[size].instances("train")[:1]
    many = Instances.of(one.inputs.repeat(200, 1), one.solution.repeat(200, 1))
    images = sudokus[size].augment(many, torch.Generator().manual_seed(0)).inputs
    assert len(images.unique(dim=0)) > 150
    # The places of the blanks move too, so more than the labels differ.
    assert len((images == BLANK).unique(dim=0)) > 50


def test_augmentation_reaches_all_symmetries_of_4x4_and_nothing_else():
    """Bands, rows inside them, the same for columns, transposition and the digits' names, enumerated here by hand."""
    puzzle = Sudoku(4, augment=True)
    tokens = puzzle.parse("12.. .... ...3 ....")
    solution = torch.from_numpy(solve((tokens - BLANK).numpy(), BOX_SHAPES[4])[0].astype(np.int64)) + BLANK
    orders = [p for p in itertools.permutations(range(4)) if p[0] // 2 == p[1] // 2]  # keep bands together
    expected = set()
    for rows, columns in itertools.product(orders, repeat=2):
        moved = tokens.numpy().reshape(4, 4)[np.ix_(rows, columns)]
        for digits, board in itertools.product(itertools.permutations((2, 3, 4, 5)), (moved, moved.T)):
            expected.add(tuple(np.array((0, BLANK, *digits))[board].ravel().tolist()))
    copies = 30_000  # about 20 for each image
    many = Instances.of(tokens.repeat(copies, 1), solution.repeat(copies, 1))
    images = puzzle.augment(many, torch.Generator().manual_seed(0)).inputs
    assert set(map(tuple, images.unique(dim=0).tolist())) == expected


def test_without_augment_instances_stay_as_they_are():
    puzzle = Sudoku(4)
    grid = puzzle.parse("1234341221434321")[None]
    instances = Instances.of(grid, grid)
    assert puzzle.augment(instances, torch.Generator()) is instances


# Files


def write_sample(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def sample() -> list[str]:
    return SAMPLE.read_text().splitlines()


def test_real_files_are_read(tmp_path, sample):
    train = write_sample(tmp_path / "train.csv", sample[:16])
    test = write_sample(tmp_path / "test.csv", [sample[0], *sample[16:]])
    puzzle = Sudoku(9, train_file=train, test_file=test, validation=0)
    assert len(puzzle.instances("train")) == 15 and len(puzzle.instances("test")) == 5
    first = puzzle.instances("train")[:1]
    assert puzzle.render(first.inputs[0]).replace(" ", "").startswith("...|...|...\n...|...|.12\n..3|.45|...\n---")
    assert puzzle.vocab_size == 11
    both = both_splits(puzzle)
    solutions, counts = solve((both.inputs - BLANK).numpy(), BOX_SHAPES[9])
    assert (counts == 1).all() and (solutions == (both.solution - BLANK).numpy()).all()
    drawn = Sudoku(9, train=4, test=2, seed=3, train_file=train, test_file=test)
    assert len(drawn.instances("train")) == 4 and len(drawn.instances("test")) == 2


def several_solutions(row: str) -> str:
    """A row of the file with two of its givens taken out: its answer is one of several."""
    source, question, answer, rating = row.split(",")
    return ",".join([source, question.replace("1", ".").replace("2", "."), answer, rating])


def test_a_question_with_several_solutions_is_named_by_file_and_line(tmp_path, sample):
    train = write_sample(tmp_path / "train.csv", [*sample[:5], several_solutions(sample[5])])
    test = write_sample(tmp_path / "test.csv", [sample[0], *sample[16:]])
    files = {"train_file": train, "test_file": test, "cache_dir": tmp_path / "cache"}
    with pytest.raises(PuzzleError, match="train.csv, line 6: the question has several solutions.*check_uniqueness"):
        Sudoku(9, **files).instances("train")
    assert len(Sudoku(9, **files, check_uniqueness=False, validation=0).instances("train")) == 5
    with pytest.raises(PuzzleError, match="check_uniqueness is for files"):
        Sudoku(9, check_uniqueness=False)


def test_uniqueness_is_proved_once_for_the_same_content(tmp_path, sample, monkeypatch):
    for name in ("a", "b"):
        write_sample(tmp_path / f"{name}.csv", sample[:6])
    test = write_sample(tmp_path / "test.csv", [sample[0], *sample[16:]])
    for file in (tmp_path / "a.csv", tmp_path / "b.csv"):
        Sudoku(9, train_file=file, test_file=test, cache_dir=tmp_path / "cache").instances("train")
        monkeypatch.setattr("latent_rl.envs.sudoku.uniqueness.solve", None)  # nothing is searched any more


def test_what_the_search_cannot_settle_is_accepted_and_counted(tmp_path, sample, monkeypatch, caplog):
    monkeypatch.setattr("latent_rl.envs.sudoku.uniqueness._BUDGET_OF_ONE", 50)
    monkeypatch.setattr("latent_rl.envs.sudoku.uniqueness._BUDGET_A_BOARD", 50)
    train = write_sample(tmp_path / "train.csv", sample[:11])
    test = write_sample(tmp_path / "test.csv", [sample[0], *sample[16:]])
    for _ in range(2):
        caplog.clear()
        Sudoku(9, train_file=train, test_file=test, cache_dir=tmp_path / "cache").instances("train")
        assert "train.csv: whether" in caplog.text and "could not be settled" in caplog.text


def test_bad_files_are_named(tmp_path, sample):
    good = write_sample(tmp_path / "good.csv", sample[:6])

    def error(lines: list[str]) -> str:
        bad = write_sample(tmp_path / "bad.csv", lines)
        with pytest.raises(PuzzleError) as caught:
            Sudoku(9, train_file=bad, test_file=good).instances("train")
        return str(caught.value)

    source, question, answer, rating = sample[7].split(",")
    given_at = next(cell for cell, symbol in enumerate(question) if symbol != ".")
    other = str(int(answer[given_at]) % 9 + 1)
    changed = answer[:given_at] + other + answer[given_at + 1 :]
    place = f"row {given_at // 9 + 1}, column {given_at % 9 + 1}"
    message = error([*sample[:3], ",".join([source, question, changed, rating])])
    assert message == f"{tmp_path / 'bad.csv'}, line 4: the answer changes the given in {place}"

    blank_at = question.index(".")
    twice = answer[:blank_at] + str(int(answer[blank_at]) % 9 + 1) + answer[blank_at + 1 :]
    message = error([*sample[:3], ",".join([source, question, twice, rating])])
    assert f"line 4: in the answer, row {blank_at // 9 + 1} has two" in message

    assert "sudoku-9x9 has 81 cells, the question has 80" in error([sample[0], f"{source},{question[:80]},{answer},0"])
    assert "share 5 puzzles" in error(sample)
    with pytest.raises(PuzzleError, match="absent.csv: no such file; .*sapientinc/sudoku-extreme"):
        Sudoku(9, train_file=tmp_path / "absent.csv", test_file=good).instances("test")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"size": 5}, "size must be one of 4, 6, 9, got 5"),
        ({"size": 4, "blanks": (9, 3)}, r"blanks must be \[least, greatest\] within 0 to 16, got \[9, 3\]"),
        ({"size": 4, "blanks": (3, 17)}, "blanks must be"),
        ({"size": 9, "train_file": "x.csv"}, "test_file is missing; give both files or neither"),
        ({"size": 4, "test": 0}, "test must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(options, complaint):
    with pytest.raises(PuzzleError, match=complaint):
        Sudoku(**options)


# Text


@pytest.mark.parametrize("size", BOX_SHAPES)
def test_parse_reads_what_render_draws(sudokus, size):
    puzzle = sudokus[size]
    for tokens in puzzle.instances("test").inputs[:5]:
        assert torch.equal(puzzle.parse(puzzle.render(tokens)), tokens)


def test_render_draws_the_boxes():
    puzzle = Sudoku(6)
    lines = puzzle.render(puzzle.parse("1...56" + "." * 29 + "2")).splitlines()
    assert lines == [
        "1 . . | . 5 6",
        ". . . | . . .",
        "------+------",
        ". . . | . . .",
        ". . . | . . .",
        "------+------",
        ". . . | . . .",
        ". . . | . . 2",
    ]


def test_parse_accepts_the_usual_spellings():
    puzzle = Sudoku(4)
    expected = [2, 1, 1, 5] + [1] * 12
    for text in (
        "1..4............",
        "1004" + "0" * 12,
        "1**4 **** ____ ....",
        "┌──┬──┐\n│1.│.4│\n│..│..│\n├──┼──┤\n│..│..│\n│..│..│\n└──┴──┘",
        "1 . | . 4\n. . | . .\n----+----\n. . | . .\n. . | . .\n",
    ):
        assert puzzle.parse(text).tolist() == expected


def test_parse_names_what_is_wrong():
    with pytest.raises(PuzzleError, match=r"^sudoku-9x9 has 81 cells \(9 x 9\), got 80$"):
        Sudoku(9).parse("." * 80)
    with pytest.raises(PuzzleError, match="line 2, column 3: '5' is no symbol of sudoku-4x4"):
        Sudoku(4).parse("1...\n│.5..")


@pytest.mark.parametrize(
    ("size", "text", "complaint"),
    [
        (9, "5...5" + "." * 76, "^sudoku-9x9: row 1 has two 5s$"),
        (6, "..3..." + "......" * 4 + "..3...", "^sudoku-6x6: column 3 has two 3s$"),
        (6, "......" * 2 + "...4.." + ".....4" + "......" * 2, "^sudoku-6x6: box 4 has two 4s$"),
        (4, "1111" + "." * 12, "^sudoku-4x4: row 1 has many 1s$"),
        (4, "12.." + "3..." + "...." * 2, None),
        (4, "12.." + "..3." + "...." * 2, "^sudoku-4x4: the givens have no solution$"),
    ],
)
def test_check_input_names_contradictions(size, text, complaint):
    puzzle = Sudoku(size)
    if complaint is None:
        puzzle.check_input(puzzle.parse(text))
    else:
        with pytest.raises(PuzzleError, match=complaint):
            puzzle.check_input(puzzle.parse(text))


def test_check_input_rejects_padding():
    with pytest.raises(PuzzleError, match="row 1, column 2 holds neither a digit nor a blank"):
        Sudoku(4).check_input(torch.tensor([1, 0] + [1] * 14))
