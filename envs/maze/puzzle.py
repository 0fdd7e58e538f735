"""Mazes: draw a shortest path from S to G, on boards of any size, generated or read from files."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from latent_rl.envs.csv_format import write_csv
from latent_rl.envs.maze import generator as fields
from latent_rl.envs.maze.paths import distances, neighbours
from latent_rl.envs.options import Count, Seed
from latent_rl.envs.puzzle import PAD, Instances, Puzzle, PuzzleError
from latent_rl.envs.sources import DEFAULT_VALIDATION, CsvFiles, Generated

WALL, FLOOR, START, GOAL, PATH = 1, 2, 3, 4, 5
"""Tokens, as in the official data set; 0 is padding."""

LARGEST_SIDE = 200
Side = Annotated[int, Field(le=LARGEST_SIDE)]

_DEFAULT_COUNT = 1000  # as many as Maze-Hard has, to train on and to test on
_HOW_TO_GET = (
    "for 30x30, download train.csv and test.csv of the public data set sapientinc/maze-30x30-hard-1k from the Hugging "
    "Face hub, or write your own CSV with the header source,question,answer,rating"
)


class Maze(Puzzle):
    """Draw a shortest path from S to G through the open floor; moves go up, down, left and right.

    The alphabet is the official one: `#` wall, space floor, `S`, `G`, and `o` for the path, which leaves S and G as
    they are. Several shortest paths can be right: `is_solved` accepts each of them, `quality` compares with the key.

    Generated mazes have walls at random on 30 to 50% of the cells and at least `min_path` moves from S to G. No maze
    is in two of the three splits, nor is an image of one under the symmetries of the board. Maze-Hard, which
    was selected from such fields too, is `size=30, min_path=111` (its paths are longer than 110).

    Files are checked row by row: the alphabet, one S and one G, walls kept, a shortest path drawn.

    Args:
        size: rows and columns, 2 to 200, unless `rows` and `columns` are given.
        rows: for boards that are not square.
        columns: likewise.
        train: training mazes: to generate (default 1,000), or to draw from `train_file` with `seed` (default all).
        test: test mazes, likewise (default 1,000, or all).
        seed: of generation and of drawing from files.
        min_path: least number of moves from S to G in generated mazes; by default `rows + columns`.
        unique: generate only mazes with a single shortest path. Among open fields these are few (4% of 10x10 fields
            with 20 moves), but their key is the one right answer: a network is not taught to guess which one is meant.
        train_file: CSV, plain or gzip, with the header `source,question,answer,rating`.
        test_file: likewise.
        augment: whether `augment` transforms anything.
        cache_dir: where generated sets are kept, see `cache.cached`.
        validation: validation mazes: to generate, after the others (default 1,000), or to hold out of `train_file`
            (default 1,000, at most a tenth of the file, at least one): of its rows that `train` leaves over, else of
            those that it takes. 0: none.

    Raises:
        PuzzleError: on values that fit no maze, and from `instances` on missing or malformed files or if mazes with so
            long a path are too rare to be found.
    """

    symbols = "_# SGo"

    def __init__(
        self,
        size: Side = 10,
        rows: Side | None = None,
        columns: Side | None = None,
        train: Count | None = None,
        test: Count | None = None,
        seed: Seed = 0,
        min_path: int | None = None,
        unique: bool = False,
        train_file: str | os.PathLike[str] | None = None,
        test_file: str | os.PathLike[str] | None = None,
        augment: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
        validation: Count | None = None,
    ) -> None:
        if (rows is None) != (columns is None):
            raise PuzzleError(f"maze: {'columns' if columns is None else 'rows'} is missing; give both, or only size")
        self.grid_shape = (size, size) if rows is None else (rows, columns)
        rows, columns = self.grid_shape
        self.name = f"maze-{rows}x{columns}"
        if min(rows, columns) < 2:
            raise PuzzleError(f"{self.name}: a maze needs a size of at least 2, or at least 2 rows and 2 columns")
        if (train_file is None) != (test_file is None):
            missing = "test_file" if test_file is None else "train_file"
            raise PuzzleError(f"{self.name}: {missing} is missing; give both files or neither")
        if train_file is not None and min_path is not None:
            raise PuzzleError(f"{self.name}: min_path is for generated mazes, it does not select from files")
        if train_file is not None and unique:
            raise PuzzleError(f"{self.name}: unique is for generated mazes, it does not select from files")
        for option, value in (("train", train), ("test", test), ("min_path", min_path)):
            if value is not None and value < 1:
                raise PuzzleError(f"{self.name}: {option} must be at least 1, got {value}")
        if validation is not None and validation < 0:
            raise PuzzleError(f"{self.name}: validation must be at least 0, got {validation}")
        if min_path is not None and min_path > rows * columns:
            raise PuzzleError(f"{self.name}: min_path must be at most {rows * columns}, got {min_path}")
        self.min_path = rows + columns if min_path is None else min_path
        self.unique = unique
        self._augments = augment
        if train_file is None:
            self.source = Generated(
                self.name,
                self._generate,
                train=_DEFAULT_COUNT if train is None else train,
                test=_DEFAULT_COUNT if test is None else test,
                seed=seed,
                version=fields.VERSION,
                options={"min_path": self.min_path, "unique": unique},
                cache_dir=cache_dir,
                validation=DEFAULT_VALIDATION if validation is None else validation,
                more=self._generate_more,
            )
        else:
            answer_tokens = self._tokens_by_character()
            self.source = CsvFiles(
                train_file,
                test_file,
                train=train,
                test=test,
                validation=validation,
                puzzle_name=self.name,
                cell_count=self.seq_len,
                question_tokens={symbol: token for symbol, token in answer_tokens.items() if token != PATH},
                answer_tokens=answer_tokens,
                find_fault=self._find_fault,
                seed=seed,
                how_to_get=_HOW_TO_GET,
            )

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Whether answers keep walls, S and G, and draw exactly one shortest path; bool `[B]`."""
        board, drawn = (tokens.view(-1, *self.grid_shape) for tokens in (inputs, answers))
        path = (drawn == PATH) & (board == FLOOR)
        kept = path | (drawn == board)
        start, goal = board == START, board == GOAL
        ends = start | goal
        # A shortest path takes no cell beside itself: its ends touch one other cell of it, the rest touch two. What
        # has this property is a path from S to G and perhaps closed rings, and these cost cells that the flood below
        # does not: it alone decides for the few answers that get so far, and the others cost next to nothing.
        touching = neighbours((path | ends).to(torch.uint8)).sum(0, dtype=torch.uint8)
        locally_right = torch.where(ends, touching == 1, ~path | (touching == 2))
        one_each = (start.sum((1, 2)) == 1) & (goal.sum((1, 2)) == 1)
        solved = one_each & (kept & locally_right).flatten(1).all(-1)
        candidates = solved.nonzero(as_tuple=True)[0]
        if len(candidates):
            moves = self._moves(board[candidates])
            solved[candidates] = moves == path[candidates].sum((1, 2)) + 1
        return solved

    def violations(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """What is wrong with answers, float32 `[B]`.

        Cells changed that are no floor, or to something that is no path; ends of the path that do not touch exactly
        one other cell of it, and cells of the path that do not touch two: how many too few or too many. An answer
        with nothing of this may still be too long, or hold a ring: that is 1.
        """
        changed, loose = self._changed_and_loose(inputs, answers)
        found = (changed + loose).flatten(1).sum(-1).float()
        return torch.where(self.is_solved(inputs, answers), 0.0, found.clamp(min=1.0))

    def offending(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Cells that were changed and are no path, and those where a path ends or forks: bool `[B, L]`."""
        changed, loose = self._changed_and_loose(inputs, answers)
        return ((changed | (loose > 0)) & (answers != inputs).view_as(changed)).flatten(1)

    def _changed_and_loose(self, inputs: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """What is wrong where, each `[B, R, C]`.

        Cells that are neither as given nor a path, bool, and how many cells of the path too few or too many each end
        and each cell of it touches, int64.
        """
        board, drawn = (tokens.view(-1, *self.grid_shape) for tokens in (inputs, answers))
        path = (drawn == PATH) & (board == FLOOR)
        changed = (drawn != board) & ~path
        ends = (board == START) | (board == GOAL)
        touching = neighbours((path | ends).to(torch.uint8)).sum(0).long()
        return changed, torch.where(ends, (touching - 1).abs(), torch.where(path, (touching - 2).abs(), 0))

    def free_cells(self, inputs: Tensor) -> Tensor:
        """The floor, bool `[B, L]`."""
        return inputs == FLOOR

    def augment(self, instances: Instances, generator: torch.Generator) -> Instances:
        """Each maze turned and mirrored at random: 8 symmetries of a square board, 4 of another."""
        if not self._augments:
            return instances
        device = instances.inputs.device
        images = _symmetries(torch.arange(self.seq_len, device=device).view(self.grid_shape))  # [8 or 4, L]
        drawn = torch.randint(len(images), (len(instances),), generator=generator, device=device)
        cells = images[drawn]
        return Instances(instances.inputs.gather(1, cells), instances.solution.gather(1, cells), instances.puzzle_id)

    def check_input(self, tokens: Tensor) -> None:
        """Raise `PuzzleError` unless there is one S, one G, a way between them, and no path drawn yet."""
        if (fault := self._question_fault(tokens[None])) is not None:
            raise PuzzleError(f"{self.name}: {fault[1]}")

    def parse(self, text: str) -> Tensor:
        """Tokens int64 `[L]` of a board in lines, or in one line of `L` characters; `.` is floor too.

        A space is floor, so that none is skipped, and a line that is too short is filled up with floor. Blank lines
        before and after the board do not count.

        Raises:
            PuzzleError: on an unknown character, or lines too many, too few or too long.
        """
        rows, columns = self.grid_shape
        lines = list(enumerate(text.splitlines(), start=1))
        for end in (0, -1):
            while len(lines) > 1 and len(lines) != rows and not lines[end][1].strip():
                lines.pop(end)
        if len(lines) == 1 and len(lines[0][1]) == self.seq_len:
            number, whole = lines[0]
            lines = [(number, whole[row * columns : (row + 1) * columns]) for row in range(rows)]
        if len(lines) != rows:
            raise PuzzleError(
                f"{self.name} has {rows} lines of {columns} characters (or one line of {self.seq_len}), "
                f"got {len(lines)} line{'s' if len(lines) != 1 else ''}"
            )
        token_of = {**self._tokens_by_character(), ".": FLOOR}
        tokens = torch.full((rows, columns), FLOOR)
        for row, (number, line) in enumerate(lines):
            line = line if len(line) <= columns else line.rstrip()
            if len(line) > columns:
                raise PuzzleError(f"line {number}: {self.name} has {columns} columns, got {len(line)} characters")
            for column, character in enumerate(line):
                if character not in token_of:
                    raise PuzzleError(
                        f"line {number}, column {column + 1}: {character!r} is no symbol of {self.name}; "
                        "allowed: # S G o, space or . for floor"
                    )
                tokens[row, column] = token_of[character]
        return tokens.flatten()

    def render(self, tokens: Tensor) -> str:
        """The board as lines of characters, without anything between them."""
        rows, columns = self.grid_shape
        text = "".join(self.symbols[token] for token in tokens.tolist())
        return "\n".join(text[row * columns : (row + 1) * columns] for row in range(rows))

    def write(self, path: str | os.PathLike[str], instances: Instances, source: str = "latent_rl") -> None:
        """Write instances as CSV with the public schema; the rating is the number of moves of the shortest path."""
        ratings = self._moves(instances.inputs.view(-1, *self.grid_shape)).tolist()
        questions, answers = (
            ["".join(self.symbols[token] for token in row) for row in tokens.tolist()]
            for tokens in (instances.inputs, instances.solution)
        )
        write_csv(path, zip([source] * len(instances), questions, answers, ratings, strict=True))

    def _moves(self, board: Tensor) -> Tensor:
        """Moves from S to G on boards `[B, R, C]` with one of each, int64 `[B]`; -1 if there is no way."""
        steps = distances((board != WALL) & (board != PAD), board == START)
        return torch.where(board == GOAL, steps, 0).sum((1, 2))

    def _question_fault(self, inputs: Tensor) -> tuple[int, str] | None:
        for token in (START, GOAL):
            counts = (inputs == token).sum(-1)
            if (counts != 1).any():
                row = int((counts != 1).int().argmax())
                return row, f"a maze has one {self.symbols[token]}, this one has {int(counts[row])}"
        drawn = (inputs == PATH).any(-1)
        if drawn.any():
            return int(drawn.int().argmax()), "a path (o) is drawn in the question"
        stuck = self._moves(inputs.view(-1, *self.grid_shape)) < 0
        if stuck.any():
            return int(stuck.int().argmax()), "there is no way from S to G"
        return None

    def _find_fault(self, inputs: Tensor, solutions: Tensor) -> tuple[int, str] | None:
        if (fault := self._question_fault(inputs)) is not None:
            return fault
        wrong = ~self.is_solved(inputs, solutions)
        if not wrong.any():
            return None
        row = int(wrong.int().argmax())
        board, answer = inputs[row], solutions[row]
        changed = ((answer != board) & ~((answer == PATH) & (board == FLOOR))).nonzero()
        if len(changed):
            line, column = divmod(int(changed[0]), self.grid_shape[1])
            return row, f"the answer changes the cell in row {line + 1}, column {column + 1} of the maze"
        moves, drawn = int(self._moves(board.view(1, *self.grid_shape))), int((answer == PATH).sum())
        return row, f"the answer draws no shortest path: {moves - 1} cells lead from S to G, it draws {drawn}"

    def _generate(self, train: int, test: int, rng: np.random.Generator) -> Instances:
        return self._generated(train + test, rng, f"{train} + {test} mazes", "train or test")

    def _generate_more(self, count: int, known: Instances, rng: np.random.Generator) -> Instances:
        boards = known.inputs.view(-1, *self.grid_shape).numpy()
        ends = torch.stack([(known.inputs == token).int().argmax(1) for token in (START, GOAL)], dim=1).numpy()
        keys = {fields.canonical(board == WALL, end) for board, end in zip(boards, ends, strict=True)}
        return self._generated(count, rng, f"{count} other mazes for validation", "or validation", keys)

    def _generated(
        self, count: int, rng: np.random.Generator, asked: str, lower: str, known: Collection[bytes] = frozenset()
    ) -> Instances:
        try:
            mazes = fields.generate(*self.grid_shape, count, self.min_path, self.unique, rng, known)
        except fields.TooFewMazesError as error:
            raise PuzzleError(
                f"{self.name}: {asked} with a shortest path of at least {self.min_path} moves asked for, found "
                f"{error.found} (the longest seen has {error.longest}); lower min_path, {lower}"
            ) from error
        walls, ends, paths = (torch.from_numpy(part).flatten(1) for part in mazes)
        inputs = torch.where(walls, WALL, FLOOR).scatter(1, ends, torch.tensor([[START, GOAL]]).expand(len(ends), -1))
        return Instances.of(inputs, torch.where(paths, PATH, inputs))


def _symmetries(board: Tensor) -> Tensor:
    """All images of a board `[R, C]` on a board of its own shape, flattened: `[8, L]` if square, else `[4, L]`."""
    turns = range(4) if board.shape[0] == board.shape[1] else (0, 2)
    turned = [board.rot90(turn) for turn in turns]
    return torch.stack([image.flatten() for one in turned for image in (one, one.flip(1))])
