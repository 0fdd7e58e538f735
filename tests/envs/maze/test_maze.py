from __future__ import annotations

import dataclasses
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_rl.envs import PuzzleError, check_puzzle
from latent_rl.envs.maze.generator import TooFewMazesError, generate
from latent_rl.envs.maze.paths import distances, only_one_way, shortest_paths
from latent_rl.envs.maze.puzzle import FLOOR, GOAL, PATH, START, WALL, Maze


def plain_distances(free: np.ndarray, source: tuple[int, int]) -> dict[tuple[int, int], int]:
    """Breadth-first search in plain Python."""
    found, queue = {source: 0}, deque([source])
    while queue:
        row, column = queue.popleft()
        for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= cell[0] < free.shape[0] and 0 <= cell[1] < free.shape[1]
            if inside and free[cell] and cell not in found:
                found[cell] = found[row, column] + 1
                queue.append(cell)
    return found


def is_right(board: np.ndarray, answer: np.ndarray) -> bool:
    """The rule in plain Python: nothing but the path is new, and walking it takes the least number of moves."""
    path = answer == PATH
    if (answer[~path] != board[~path]).any() or (board[path] != FLOOR).any():
        return False
    (start,), (goal,) = (list(zip(*np.nonzero(board == token), strict=True)) for token in (START, GOAL))
    least = plain_distances(board != WALL, start).get(goal)
    walked = plain_distances(path | (board == START) | (board == GOAL), start).get(goal)
    return least is not None and walked == least and path.sum() == least - 1


def random_boards(seed: int, count: int, rows: int, columns: int) -> np.ndarray:
    """Boards `[count, rows, columns]` with S and G anywhere, some without a way between them."""
    rng = np.random.default_rng(seed)
    boards = np.where(rng.random((count, rows * columns)) < 0.3, WALL, FLOOR)
    for board in boards:
        board[rng.choice(rows * columns, 2, replace=False)] = START, GOAL
    return boards.reshape(count, rows, columns)


SHAPES = st.tuples(st.integers(2, 7), st.integers(2, 7))
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(SHAPES, SEEDS)
def test_distances_are_those_of_a_plain_search(shape, seed):
    boards = random_boards(seed, 8, *shape)
    steps = distances(torch.from_numpy(boards != WALL), torch.from_numpy(boards == START)).numpy()
    for board, found in zip(boards, steps, strict=True):
        expected = np.full(shape, -1)
        for cell, moves in plain_distances(board != WALL, tuple(np.argwhere(board == START)[0])).items():
            expected[cell] = moves
        assert (found == expected).all()


@settings(max_examples=50, deadline=None)
@given(SHAPES, SEEDS)
def test_a_single_way_is_told_from_several(shape, seed):
    boards = random_boards(seed, 8, *shape)
    single = only_one_way(distances(torch.from_numpy(boards != WALL), torch.from_numpy(boards == START))).numpy()
    for board, found in zip(boards, single, strict=True):
        ((row, column),) = zip(*np.nonzero(board == START), strict=True)
        steps = plain_distances(board != WALL, (row, column))
        ways = {(row, column): 1}
        for cell in sorted(steps, key=steps.get)[1:]:
            around = ((cell[0] + down, cell[1] + right) for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)))
            ways[cell] = sum(ways[one] for one in around if steps.get(one) == steps[cell] - 1)
        assert {tuple(cell) for cell in np.argwhere(found).tolist()} == {cell for cell in ways if ways[cell] == 1}


@settings(max_examples=100, deadline=None)
@given(SHAPES, SEEDS)
def test_the_batched_rule_is_the_plain_rule(shape, seed):
    boards = random_boards(seed, 12, *shape)
    steps = distances(torch.from_numpy(boards != WALL), torch.from_numpy(boards == START))
    rng = np.random.default_rng(seed)
    goals = torch.from_numpy((boards == GOAL).reshape(len(boards), -1).argmax(1))
    paths = shortest_paths(steps.clamp(min=0), goals).numpy() & (boards == FLOOR)
    right = np.where(paths, PATH, boards)
    answers, questions = [right], [boards]
    for _ in range(4):  # the same with one cell changed
        changed = right.copy().reshape(len(boards), -1)
        changed[np.arange(len(boards)), rng.integers(changed.shape[1], size=len(boards))] = rng.integers(1, 6)
        answers.append(changed.reshape(boards.shape))
        questions.append(boards)
    answers, questions = np.concatenate(answers), np.concatenate(questions)
    solved = Maze(rows=shape[0], columns=shape[1]).is_solved(
        torch.from_numpy(questions).flatten(1), torch.from_numpy(answers).flatten(1)
    )
    assert solved.tolist() == [is_right(*pair) for pair in zip(questions, answers, strict=True)]


def solved(question: str, answer: str) -> bool:
    lines = question.split("|")
    puzzle = Maze(rows=len(lines), columns=len(lines[0]))
    inputs, answers = (puzzle.parse(text.replace("|", "\n")) for text in (question, answer))
    return bool(puzzle.is_solved(inputs[None], answers[None]))


def test_every_shortest_path_is_right_and_a_longer_one_is_not():
    open_floor = "S...|....|...G"
    assert solved(open_floor, "Sooo|...o|...G")
    assert solved(open_floor, "S...|o...|oooG")
    assert solved(open_floor, "So..|.oo.|..oG")
    assert not solved("S....|.....|G....|.....", "So...|.o...|Go...|.....")  # four moves where two do
    assert not solved("S...G|.....|.....", "S...G|o...o|ooooo")
    assert not solved("S..G|....", "So.G|.o..")  # as many cells as the path has, in the wrong places
    assert not solved("S.#G|#...|....", "So#G|#oo.|....")  # does not arrive
    assert solved("SG|..", "SG|..")
    assert not solved("SG|..", "SG|oo")


def test_nothing_else_may_be_drawn_or_changed():
    question = "S...G|.....|.....|....."
    assert solved(question, "SoooG|.....|.....|.....")
    assert not solved(question, "SoooG|.....|....o|.....")  # a stray cell
    assert not solved(question, "SoooG|.....|.oo..|.oo..")  # a ring: every cell of it touches two others
    assert not solved(question, "SoooG|#....|.....|.....")  # a wall built
    assert not solved(question, "SoooS|.....|.....|.....")  # G moved
    assert not solved("S.#.G|.....", "SoooG|.....")  # through a wall
    assert not solved("S#G|###", "S#G|###")  # there is no way


@pytest.mark.parametrize(("rows", "columns", "least"), [(6, 6, 9), (10, 10, 24), (7, 12, 20), (30, 30, 60)])
def test_generated_mazes(rows, columns, least):
    walls, ends, paths = generate(rows, columns, 40, least, False, np.random.default_rng(0))
    assert walls.shape == (40, rows, columns)
    assert len({maze.tobytes() + pair.tobytes() for maze, pair in zip(walls, ends, strict=True)}) == 40
    for maze, (start, goal), path in zip(walls, ends, paths, strict=True):
        moves = plain_distances(~maze, divmod(start, columns))[divmod(goal, columns)]
        assert moves >= least and path.sum() == moves - 1 and not (path & maze).any()


def test_unique_mazes_have_one_shortest_path(tmp_path):
    maze = Maze(size=8, train=40, test=10, unique=True, cache_dir=tmp_path)
    train = maze.instances("train")
    boards = train.inputs.view(-1, 8, 8)
    single = only_one_way(distances(boards != WALL, boards == START))
    assert single[boards == GOAL].all() and maze.is_solved(train.inputs, train.solution).all()
    assert not torch.equal(train.inputs, Maze(size=8, train=40, test=10, cache_dir=tmp_path).instances("train").inputs)


def test_sets_are_disjoint_up_to_symmetry_and_reproducible(tmp_path):
    def make(seed: int, folder: str) -> Maze:
        return Maze(size=4, train=300, test=60, min_path=5, seed=seed, cache_dir=tmp_path / folder)

    puzzle = make(0, "a")
    train, test = puzzle.instances("train"), puzzle.instances("test")
    assert (len(train), len(test)) == (300, 60)
    images = {row.tobytes() for turns in range(4) for flip in ((), (2,)) for row in _images(train.inputs, turns, flip)}
    assert len(images) > 4 * 300
    assert not images & {row.tobytes() for row in test.inputs.numpy()}
    assert torch.equal(make(0, "b").instances("test").inputs, test.inputs)
    assert not torch.equal(make(1, "a").instances("test").inputs, test.inputs)


def _images(inputs: torch.Tensor, turns: int, flip: tuple[int, ...]) -> np.ndarray:
    return inputs.view(-1, 4, 4).rot90(turns, (1, 2)).flip(flip).flatten(1).contiguous().numpy()


def test_maze_hard(tmp_path):
    puzzle = Maze(size=30, min_path=111, train=20, test=4, cache_dir=tmp_path)
    train = puzzle.instances("train")
    assert ((train.solution == PATH).sum(1) >= 110).all()
    assert puzzle.is_solved(train.inputs, train.solution).all()
    assert puzzle.vocab_size == 6 and puzzle.seq_len == 900


def test_paths_too_long_to_be_found(tmp_path, monkeypatch):
    monkeypatch.setattr("latent_rl.envs.maze.generator._FIELDS_BEFORE_FIRST", 20_000)
    with pytest.raises(TooFewMazesError) as caught:
        generate(5, 5, 3, 24, False, np.random.default_rng(0))
    assert 10 < caught.value.longest < 24
    with pytest.raises(PuzzleError, match=r"maze-5x5: 2 \+ 1 mazes with a shortest path of at least 24 moves.*lower"):
        Maze(size=5, train=2, test=1, min_path=24, cache_dir=tmp_path).instances("train")


@pytest.mark.parametrize(("options", "images"), [({"size": 6}, 8), ({"rows": 4, "columns": 9}, 4)])
def test_augmented_mazes_stay_solved(options, images, tmp_path):
    puzzle = Maze(**options, train=50, test=5, augment=True, cache_dir=tmp_path)
    train = puzzle.instances("train")
    drawn = puzzle.augment(train, torch.Generator().manual_seed(0))
    assert puzzle.is_solved(drawn.inputs, drawn.solution).all()
    one = train[torch.zeros(400, dtype=torch.int64)]
    many = puzzle.augment(one, torch.Generator().manual_seed(0))
    assert len(many.inputs.unique(dim=0)) == images
    plain = Maze(**options, train=50, test=5, cache_dir=tmp_path)
    assert plain.augment(train, torch.Generator()) is train


@pytest.mark.parametrize("options", [{"size": 6}, {"rows": 3, "columns": 8}, {"size": 7, "augment": True}])
def test_it_conforms(options, tmp_path):
    check_puzzle(Maze(**options, train=30, test=10, cache_dir=tmp_path))


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_written_mazes_are_read_back(suffix, tmp_path):
    made = Maze(size=8, train=30, test=10, cache_dir=tmp_path)
    files = {f"{split}_file": tmp_path / f"{split}.{suffix}" for split in ("train", "test")}
    for split in ("train", "test"):
        made.write(files[f"{split}_file"], made.instances(split))
    assert len(Maze(size=8, **files).instances("validation")) == 3  # a tenth of the training file
    read = Maze(size=8, validation=0, **files)
    for split in ("train", "test"):
        for field in dataclasses.fields(read.instances(split)):
            assert torch.equal(*(getattr(one.instances(split), field.name) for one in (read, made)))
    assert len(Maze(size=8, train=7, **files).instances("train")) == 7
    with pytest.raises(PuzzleError, match="share 30 puzzles"):
        Maze(size=8, train_file=files["train_file"], test_file=files["train_file"]).instances("test")


@pytest.mark.parametrize(
    ("question", "answer", "message"),
    [
        ("S G######", "SoG###", "the answer has 6"),
        ("S G#####x", "SoG######", "'x' at position 9 of the question; allowed: space # G S"),
        ("SoG######", "SoG######", "'o' at position 2 of the question"),
        ("S S######", "SoS######", "a maze has one S, this one has 2"),
        ("S  ######", "Soo######", "a maze has one G, this one has 0"),
        ("S#G######", "S#G######", "there is no way from S to G"),
        ("S G###   ", "SoG### # ", "the answer changes the cell in row 3, column 2"),
        ("S G   ###", "S Gooo###", "the answer draws no shortest path: 1 cells lead from S to G, it draws 3"),
    ],
)
def test_a_bad_row_is_named(question, answer, message, tmp_path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("source,question,answer,rating\nx,S G######,SoG######,2\n")
    bad.write_text(f"source,question,answer,rating\nx,SG#######,SG#######,1\nx,{question},{answer},2\n")
    with pytest.raises(PuzzleError, match="bad.csv, line 3: ") as caught:
        Maze(size=3, train_file=good, test_file=bad).instances("test")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 1}, "at least 2 rows"),
        ({"rows": 5}, "columns is missing"),
        ({"train_file": "a.csv"}, "test_file is missing"),
        ({"train_file": "a.csv", "test_file": "b.csv", "min_path": 5}, "min_path is for generated mazes"),
        ({"train_file": "a.csv", "test_file": "b.csv", "unique": True}, "unique is for generated mazes"),
        ({"min_path": 0}, "min_path must be at least 1, got 0"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(PuzzleError, match=message):
        Maze(**options)


def test_a_missing_file_says_where_to_get_it():
    with pytest.raises(PuzzleError, match="nowhere.csv: no such file; for 30x30, download"):
        Maze(size=30, train_file="nowhere.csv", test_file="nowhere.csv").instances("train")


def test_spellings_of_a_board():
    puzzle = Maze(rows=3, columns=4)
    expected = puzzle.parse("S..#\n#...\n..G.")
    assert expected.tolist() == [3, 2, 2, 1, 1, 2, 2, 2, 2, 2, 4, 2]
    for text in ("S  #\n#\n  G", "S  #\n#   \n  G \n", "\nS  #\r\n#...   \n..G.\n\n", "S  ##     G ", "S..##.....G.\n"):
        assert torch.equal(puzzle.parse(text), expected)
    assert puzzle.render(expected) == "S  #\n#   \n  G "
    blank_edges = puzzle.parse("    \nS G#\n    ")
    assert torch.equal(puzzle.parse(puzzle.render(blank_edges)), blank_edges)
    for text, message in (
        ("S..#\n#.x.\n..G.", "line 2, column 3: 'x' is no symbol"),
        ("S..#\n#....\n..G.", "line 2: maze-3x4 has 4 columns, got 5"),
        ("S..#\n#...", "has 3 lines of 4 characters .* got 2 lines"),
        ("S..##.....G", "got 1 line$"),
    ):
        with pytest.raises(PuzzleError, match=message):
            puzzle.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("S.G\nS..", "one S, this one has 2"),
        ("S..\n...", "one G, this one has 0"),
        ("SoG\n...", "a path .o. is drawn"),
        ("S#G\n.#.", "there is no way from S to G"),
    ],
)
def test_unsound_givens(text, message):
    puzzle = Maze(rows=2, columns=3)
    puzzle.check_input(puzzle.parse("S.G\n.#."))
    with pytest.raises(PuzzleError, match=message):
        puzzle.check_input(puzzle.parse(text))
