"""Sudoku on 4x4, 6x6 and 9x9 boards, generated or read from files."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from latent_rl.envs.classes import SplitBy, held_out
from latent_rl.envs.options import Count, Seed
from latent_rl.envs.puzzle import Instances, Puzzle, PuzzleError, Split
from latent_rl.envs.renderer import Renderer
from latent_rl.envs.sources import DEFAULT_VALIDATION, CsvFiles, Generated
from latent_rl.envs.sudoku import generator as grids
from latent_rl.envs.sudoku import solver
from latent_rl.envs.sudoku.uniqueness import find_ambiguous

BLANK = 1
"""Token of an empty cell; digit `d` is token `d + 1`, as in the official data sets."""

_BOX_SHAPES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}
_DEFAULT_BLANKS = {4: (6, 11), 6: (14, 24), 9: (40, 54)}
_DEFAULT_TRAIN, _DEFAULT_TEST = 10_000, 1_000
# Boards that `check_input` looks at, about a second's work. The hardest known puzzles need some thousands, but a proof
# that a few givens have no solution can take hours.
_CHECK_BUDGET = 20_000
_BLANK_CHARACTERS = "0.*_"
_HOW_TO_GET = (
    "for 9x9, download train.csv and test.csv of the public data set sapientinc/sudoku-extreme from the Hugging Face "
    "hub, or write your own CSV with the header source,question,answer,rating"
)
# Characters U+2500 to U+257F draw frames; as spaces they leave the column numbers in messages right.
_FRAMES_TO_SPACES = {code: " " for code in range(0x2500, 0x2580)}


class Sudoku(Puzzle):
    """Fill the blanks so that every row, column and box holds each digit once.

    Boxes are 2x2 on the 4x4 board, 2 rows by 3 columns on 6x6 and 3x3 on 9x9. Tokens: 0 padding, 1 blank, `d + 1` for
    digit `d`; the vocabulary of 9x9 is the official one of 11 tokens.

    Instances are generated, or read from files if `train_file` and `test_file` are given (checked row by row, and that
    each puzzle has one solution: minutes for ten thousands of the hardest known ones, but only the first time). Either
    way no puzzle is in two of the three splits. The validation split is generated after the other two, or held out of
    `train_file`. Generated puzzles have exactly one solution, and their grids
    come from the whole space of grids (see `generator`); different puzzles may share a grid, in 4x4 they must: there
    are only 288.

    Augmentation relabels digits, permutes bands, stacks, rows inside bands and columns inside stacks, and transposes
    square boxes. The generated sets are disjoint as they stand, NOT up to these symmetries: an augmented training
    puzzle can coincide with a test puzzle. Use it where the test set is disjoint up to symmetry, as for curated files;
    hence it is off by default.

    Args:
        size: 4, 6 or 9.
        train: training puzzles: to generate (default 10,000), or to draw from `train_file` with `seed` (default all).
        test: test puzzles, likewise (default 1,000, or all).
        seed: of generation and of drawing from files.
        blanks: least and greatest number of blanks in generated puzzles, both included; by default (6, 11) for 4x4,
            (14, 24) for 6x6, (40, 54) for 9x9. A puzzle that becomes minimal before it reaches the number that it drew
            keeps fewer, but never less than the least.
        train_file: CSV, plain or gzip, with the header `source,question,answer,rating`.
        test_file: likewise.
        check_uniqueness: whether puzzles from files must have one solution; False skips the search for others.
        augment: whether `augment` transforms anything.
        cache_dir: where generated sets are kept, see `cache.cached`.
        validation: validation puzzles: to generate (default 1,000), or to hold out of `train_file` (default 1,000, at
            most a tenth of the file, at least one): of its rows that `train` leaves over, else of those that it takes.
            0: none.
        split_by: `solution`: generated test puzzles have solutions that are no image, under any of the symmetries
            above, of a training or validation puzzle's. For 4x4, with 2 classes of grids, and 6x6 with 49: on 9x9 no
            two generated puzzles share a grid anyway.

    Raises:
        PuzzleError: on values that fit no Sudoku, and from `instances` on missing or malformed files.
    """

    def __init__(
        self,
        size: int = 4,
        train: Count | None = None,
        test: Count | None = None,
        seed: Seed = 0,
        blanks: Sequence[int] | None = None,
        train_file: str | os.PathLike[str] | None = None,
        test_file: str | os.PathLike[str] | None = None,
        check_uniqueness: bool = True,
        augment: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
        validation: Count | None = None,
        split_by: SplitBy = "puzzle",
    ) -> None:
        if size not in _BOX_SHAPES:
            raise PuzzleError(f"sudoku: size must be one of {', '.join(map(str, _BOX_SHAPES))}, got {size!r}")
        self.size = size
        self.box_shape = _BOX_SHAPES[size]
        self.name = f"sudoku-{size}x{size}"
        self.grid_shape = (size, size)
        self.renderer = Renderer(self, self.box_shape)
        self.symbols = ("_", ".", *map(str, range(1, size + 1)))
        self.interchangeable = tuple(range(BLANK + 1, size + BLANK + 1))
        height, width = self.box_shape
        places = [divmod(cell, size) for cell in range(size * size)]
        self.units = (
            tuple(row for row, _ in places),
            tuple(column for _, column in places),
            tuple(row // height * height + column // width for row, column in places),
        )
        self.blanks = _DEFAULT_BLANKS[size] if blanks is None else tuple(blanks)
        if len(self.blanks) != 2 or not 0 <= self.blanks[0] <= self.blanks[1] <= size * size:
            raise PuzzleError(
                f"{self.name}: blanks must be [least, greatest] within 0 to {size * size}, got {list(self.blanks)}"
            )
        if (train_file is None) != (test_file is None):
            missing = "test_file" if test_file is None else "train_file"
            raise PuzzleError(f"{self.name}: {missing} is missing; give both files or neither")
        if train_file is None and not check_uniqueness:
            raise PuzzleError(f"{self.name}: check_uniqueness is for files; generated puzzles have one solution anyway")
        for split, count in (("train", train), ("test", test)):
            if count is not None and count < 1:
                raise PuzzleError(f"{self.name}: {split} must be at least 1, got {count}")
        if validation is not None and validation < 0:
            raise PuzzleError(f"{self.name}: validation must be at least 0, got {validation}")
        if split_by == "solution" and (train_file is not None or size == 9):
            why = "files are split as they are" if train_file is not None else "no two generated puzzles share a grid"
            raise PuzzleError(f"{self.name}: split_by=solution changes nothing: {why}")
        self._augments = augment
        self._cache_dir = cache_dir
        self._split_by, self._seed = split_by, seed
        if train_file is None:
            self.source = Generated(
                self.name,
                self._generate,
                train=_DEFAULT_TRAIN if train is None else train,
                test=_DEFAULT_TEST if test is None else test,
                seed=seed,
                version=grids.VERSION,
                options={"blanks": list(self.blanks)} | ({"split_by": split_by} if split_by == "solution" else {}),
                cache_dir=cache_dir,
                validation=DEFAULT_VALIDATION if validation is None else validation,
                more=self._generate_more,
            )
        else:
            self.source = CsvFiles(
                train_file,
                test_file,
                train=train,
                test=test,
                validation=validation,
                puzzle_name=self.name,
                cell_count=self.seq_len,
                question_tokens=self._tokens_by_character(),
                answer_tokens={str(digit): digit + BLANK for digit in range(1, size + 1)},
                find_fault=self._find_fault,
                prove=self._find_ambiguous if check_uniqueness else None,
                seed=seed,
                how_to_get=_HOW_TO_GET,
            )

    def labels(self, split: Split) -> dict[str, list[str]]:
        """The columns of files, and the number of `blanks`."""
        blanks = (self.instances(split).inputs == BLANK).sum(-1).tolist()
        return {**super().labels(split), "blanks": [str(count) for count in blanks]}

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Whether rows, columns and boxes hold every digit once and the givens are kept, bool `[B]`."""
        size, (rows, columns) = self.size, self.box_shape
        is_digit = ((answers > BLANK) & (answers < self.vocab_size)).all(-1)
        keeps_givens = ((inputs == answers) | (inputs <= BLANK)).all(-1)
        # `size` powers of two add up to 2^size - 1 only if they are all different.
        bits = torch.ones_like(answers) << (answers - BLANK - 1).clamp(0, size - 1)
        board = bits.view(-1, size, size)
        boxes = bits.view(-1, size // rows, rows, size // columns, columns).sum((2, 4))
        sums = torch.stack([board.sum(1), board.sum(2), boxes.flatten(1)], dim=1)
        return is_digit & keeps_givens & (sums == 2**size - 1).flatten(1).all(-1)

    def violations(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Digits missing from rows, columns and boxes, and givens that were not kept: float32 `[B]`."""
        size, (rows, columns) = self.size, self.box_shape
        # Compared, not `one_hot`, which looks at the values to check them.
        digits = torch.arange(1, size + 1, device=answers.device)
        digit = ((answers - BLANK).clamp(max=size).unsqueeze(-1) == digits).view(-1, size, size, size)
        boxes = digit.view(-1, size // rows, rows, size // columns, columns, size).any(4).any(2)
        present = digit.any(1).sum((1, 2)) + digit.any(2).sum((1, 2)) + boxes.sum((1, 2, 3))
        changed = ((inputs != answers) & ~self.free_cells(inputs)).sum(-1)
        return (3 * size * size - present + changed).float()

    def offending(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """Digits that stand twice in a row, column or box, and givens that were not kept: bool `[B, L]`."""
        size, (rows, columns) = self.size, self.box_shape
        digit = F.one_hot((answers - BLANK).clamp(0, size), size + 1)[..., 1:].view(-1, size, size, size)
        boxes = digit.view(-1, size // rows, rows, size // columns, columns, size)
        twice_in_box = (boxes.sum((2, 4), keepdim=True) > 1).expand_as(boxes).reshape_as(digit)
        twice = (digit.sum(1, keepdim=True) > 1) | (digit.sum(2, keepdim=True) > 1) | twice_in_box
        changed = (inputs != answers) & ~self.free_cells(inputs)
        return (twice & digit.bool()).any(-1).flatten(1) | changed

    def free_cells(self, inputs: Tensor) -> Tensor:
        """The blanks, bool `[B, L]`."""
        return inputs == BLANK

    def augment(self, instances: Instances, generator: torch.Generator) -> Instances:
        """Boards under random symmetries of the rule: digits, bands, lines, diagonal; as given with `augment=False`."""
        if not self._augments:
            return instances
        count, device = len(instances), instances.inputs.device
        digits = _permutations((count,), self.size, generator, device)
        # PAD and BLANK, which stay; as a constant they would have to be sent to the device.
        fixed = torch.arange(BLANK + 1, device=device).expand(count, -1)
        relabelled = torch.cat([fixed, digits + BLANK + 1], dim=1)  # [B, vocabulary]

        rows, columns = self.box_shape
        from_row = self._line_order(count, rows, generator, device)
        from_column = self._line_order(count, columns, generator, device)
        cells = from_row[:, :, None] * self.size + from_column[:, None, :]  # [B, size, size]
        if rows == columns:
            # Not on the 6x6 board: transposed, its boxes of 2x3 would stand as 3x2 and no longer be its boxes.
            transposes = torch.rand(count, 1, 1, generator=generator, device=device) < 0.5
            cells = torch.where(transposes, cells.transpose(1, 2), cells)
        cells = cells.flatten(1)
        return Instances(
            relabelled.gather(1, instances.inputs.gather(1, cells)),
            relabelled.gather(1, instances.solution.gather(1, cells)),
            instances.puzzle_id,
        )

    def check_input(self, tokens: Tensor) -> None:
        """Raise `PuzzleError` if a digit stands twice in a row, column or box, or if there is no solution.

        The search for a solution is bounded; givens that it cannot settle are let through.
        """
        board = tokens.cpu().numpy()
        wrong = np.flatnonzero((board < BLANK) | (board >= self.vocab_size))
        if wrong.size:
            raise PuzzleError(f"{self.name}: {self._place(wrong[0])} holds neither a digit nor a blank")
        if (conflict := self._conflict(board)) is not None:
            raise PuzzleError(f"{self.name}: {conflict}")
        try:
            _, counts = solver.solve(board - BLANK, self.box_shape, limit=1, budget=_CHECK_BUDGET)
        except solver.SearchBudgetExceeded:
            return  # nobody is kept waiting for a proof; the givens may be sound
        if counts[0] == 0:
            raise PuzzleError(f"{self.name}: the givens have no solution")

    def parse(self, text: str) -> Tensor:
        """As `Puzzle.parse`; `0`, `.`, `*` and `_` are blanks, and frames of box-drawing characters are skipped."""
        return super().parse(text.translate(_FRAMES_TO_SPACES))

    def render(self, tokens: Tensor) -> str:
        """The board as text with lines between the boxes, which `parse` reads back, for tokens int64 `[L]`."""
        rows, columns = self.box_shape
        board = np.array([self.symbols[token] for token in tokens.tolist()]).reshape(self.size, -1, columns)
        lines = [" | ".join(" ".join(part) for part in row) for row in board]
        rule = "-+-".join(["-" * (2 * columns - 1)] * (self.size // columns))
        bands = ["\n".join(lines[start : start + rows]) for start in range(0, self.size, rows)]
        return f"\n{rule}\n".join(bands)

    def _tokens_by_character(self) -> dict[str, int]:
        return super()._tokens_by_character() | dict.fromkeys(_BLANK_CHARACTERS, BLANK)

    @cached_property
    def _held_out(self) -> np.ndarray | None:
        """Which of `reduced_grids` are for the test set alone, bool `[R]`; None if puzzles are split, not solutions."""
        return None if self._split_by == "puzzle" else held_out(grids.grid_classes(self.box_shape), self._seed)

    def _generate(self, train: int, test: int, rng: np.random.Generator) -> Instances:
        if self._held_out is None:
            return self._generated(train + test, rng)
        return Instances.cat(
            [self._generated(train, rng, among=~self._held_out), self._generated(test, rng, among=self._held_out)]
        )

    def _generate_more(self, count: int, known: Instances, rng: np.random.Generator) -> Instances:
        seen = {row.tobytes() for row in (known.inputs - BLANK).numpy().astype(np.uint8)}
        return self._generated(count, rng, seen, None if self._held_out is None else ~self._held_out)

    def _generated(
        self,
        count: int,
        rng: np.random.Generator,
        known: Collection[bytes] = frozenset(),
        among: np.ndarray | None = None,
    ) -> Instances:
        try:
            boards = grids.generate(count, self.box_shape, self.blanks, rng, known, among)
        except PuzzleError as error:
            raise PuzzleError(f"{self.name}: {error}") from error
        return Instances.of(*(torch.from_numpy(digits.astype(np.int64)) + BLANK for digits in boards))

    def _find_fault(self, inputs: Tensor, solutions: Tensor) -> tuple[int, str] | None:
        right = self.is_solved(inputs, solutions)
        if right.all():
            return None
        row = int((~right).int().argmax())
        board, solution = inputs[row].numpy(), solutions[row].numpy()
        changed = np.flatnonzero((board > BLANK) & (board != solution))
        if changed.size:
            return row, f"the answer changes the given in {self._place(changed[0])}"
        return row, f"in the answer, {self._conflict(solution)}"

    def _find_ambiguous(self, inputs: Tensor, file: str) -> tuple[int, str] | None:
        row = find_ambiguous(inputs.numpy() - BLANK, self.box_shape, file, self._cache_dir)
        return (
            None
            if row is None
            else (
                row,
                "the question has several solutions, of which the answer is one (check_uniqueness: false accepts that)",
            )
        )

    def _conflict(self, board: np.ndarray) -> str | None:
        """The first row, column or box in which a digit stands twice, in words."""
        for kind, unit in zip(("row", "column", "box"), self.units, strict=True):
            for number in range(self.size):
                counts = np.bincount(board[np.equal(unit, number)], minlength=self.vocab_size)
                counts[: BLANK + 1] = 0
                if (counts > 1).any():
                    token = int((counts > 1).argmax())
                    amount = ("two", "three")[counts[token] - 2] if counts[token] < 4 else "many"
                    return f"{kind} {number + 1} has {amount} {self.symbols[token]}s"
        return None

    def _place(self, cell: int) -> str:
        return f"row {cell // self.size + 1}, column {cell % self.size + 1}"

    def _line_order(self, count: int, group: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Random orders of rows (or columns) that keep groups of `group` neighbours together, int64 `[B, size]`."""
        groups = self.size // group
        bands = _permutations((count,), groups, generator, device)
        inside = _permutations((count, groups), group, generator, device)
        return (bands[:, :, None] * group + inside).flatten(1)


def _permutations(shape: tuple[int, ...], length: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Independent random permutations of `range(length)`, int64 `[*shape, length]`."""
    return torch.rand(*shape, length, generator=generator, device=device).argsort(-1)
