"""ARC-AGI: tasks that are told by a few pairs of coloured grids, each with puzzle embeddings of its own."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from latent_rl.envs.arc.canvas import Augmentation, crop, decode, encode, turned_size
from latent_rl.envs.arc.renderer import ArcRenderer
from latent_rl.envs.arc.tasks import COLOURS, LARGEST_SIDE, MINI, Pair, Task, read_tasks
from latent_rl.envs.arc.vote import ArcVote
from latent_rl.envs.options import Count, Seed
from latent_rl.envs.puzzle import IGNORE, PAD, Instances, Puzzle, PuzzleError, Split
from latent_rl.envs.vote import Question

CORNER_SHARE = 0.25
"""Share of training pairs that are not translated, as every test input is; the official code leaves one pair of each
augmented task in the corner."""

MOST_AUGMENTATIONS = 100_000

_MOST_VALIDATION = 100

logger = logging.getLogger(__name__)

Sources = str | os.PathLike | Sequence[str | os.PathLike]


class Arc(Puzzle):
    """Find out from a task's demonstrations what is done to a grid, and do it to its test inputs.

    Grids stand on a canvas of `side` x `side` cells. Tokens: 0 padding, 1 the line at a grid's end, `c + 2` for colour
    `c`; as in the official code padding does not count in solutions. The reasoner never sees the demonstrations of a
    task beside a test input: it is trained on them, and what it learned of the task is in the task's embedding.

    The training split holds the demonstrations of all tasks and the test pairs of those in `train`; the test split the
    test inputs of those in `test`. A pair of the test split is never trained on, even if it stands in another task.

    The validation split asks what the test split asks: test inputs of tasks whose demonstrations are trained on. It has
    the test pairs of some tasks in `train`, which are not trained on then. (A whole task held out could not be answered
    by anybody: its embedding would not have been learned.) Where there are only tasks to be tested on, it could only be
    made of what the test needs; so there is none by default, and `validation` asks for the last demonstration of some.

    Test outputs may be missing, as on Kaggle: their solutions are `IGNORE` in every cell.

    View `k` of a task is its image under the symmetry and the permutation of colours (0 stays) that `k` and `seed`
    say, the same for every task; view 0 is the task itself. Views are made on the fly and have the puzzle id
    `task * (augmentations + 1) + k`. In training every draw is a random view at a random place on the canvas; the test
    split holds view 0, and `vote` makes the others and takes back the answers to them.

    No rule tells whether an answer is right, only the key does (`has_rule` is False).

    Args:
        test: where the tasks are whose test inputs are held back, one source or several, see `read_tasks`.
        train: likewise, tasks whose test pairs are trained on too.
        augmentations: views beside the task itself.
        seed: of the views.
        side: cells of a side of the canvas; smaller than 30 is faster and takes tasks of smaller grids only.
        names: keep these tasks of `test` only.
        allow_leak: train on tasks of `test` if `train` holds them too.
        validation: tasks of which the validation split has pairs, drawn with `seed`: by default a tenth of those in
            `train`, at most 100. Without `train`, tasks of `test` that keep at least two demonstrations; by default 0.

    Raises:
        PuzzleError: on values out of range and, once data are asked for, if they are missing or malformed, a grid does
            not fit on the canvas, or `train` holds tasks of `test`.
    """

    has_rule = False
    symbols = ("_", ".", *map(str, range(COLOURS)))

    def __init__(
        self,
        test: Sources = MINI,
        train: Sources = (),
        augmentations: int = 1000,
        seed: Seed = 0,
        side: int = LARGEST_SIDE,
        names: Sequence[str] | None = None,
        allow_leak: bool = False,
        validation: Count | None = None,
    ) -> None:
        if not 1 <= side <= LARGEST_SIDE:
            raise PuzzleError(f"arc: side must be 1 to {LARGEST_SIDE}, got {side!r}")
        if not 0 <= augmentations <= MOST_AUGMENTATIONS:
            raise PuzzleError(f"arc: augmentations must be 0 to {MOST_AUGMENTATIONS}, got {augmentations!r}")
        self.name = f"arc-{side}x{side}"
        self.grid_shape = (side, side)
        self.side = side
        self.renderer = ArcRenderer(self)
        self.vote = ArcVote(self, augmentations + 1, seed)
        self._sources = (_listed(test), _listed(train))
        self._names = None if names is None else list(names)
        self._allow_leak = allow_leak
        if validation is not None and validation < 0:
            raise PuzzleError(f"{self.name}: validation must be at least 0, got {validation}")
        self._validation = validation
        self._seed = seed

    @property
    def num_puzzle_ids(self) -> int:
        """One row of the embedding table for every view of every task."""
        return len(self.tasks) * self.vote.views

    @property
    def ids_digest(self) -> str:
        """Changes with the tasks, their order, and the views: with whatever a puzzle id stands for."""
        content = repr((list(self.tasks), self.vote.views, self.vote.seed))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """All tasks by name, in the order of their puzzle ids: those of `test`, then the others of `train`."""
        tested, trained = self._read
        return {**tested, **{name: task for name, task in trained.items() if name not in tested}}

    @cached_property
    def questions(self) -> list[Question]:
        """What each instance of the test split is."""
        return [
            Question(task.name, number, pair.output)
            for task in self._read[0].values()
            for number, pair in enumerate(task.tests)
        ]

    def instances(self, split: Split) -> Instances:
        """The pairs to learn from, or those held out, or the test inputs; each as view 0 of its task."""
        return self._sets[split]

    @property
    def has_validation(self) -> bool:
        """Whether pairs are held out for validation."""
        return len(self._sets["validation"]) > 0

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """False: whether an answer is right, an ARC task does not tell without its key."""
        return torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)

    def augment(self, instances: Instances, generator: torch.Generator) -> Instances:
        """Every instance in a random view and, with room on the canvas, at a random place."""
        count, device = len(instances), instances.inputs.device
        number = torch.randint(self.vote.views, (count,), generator=generator, device=device)
        view = self.vote.augmentation(number)
        sizes = [
            turned_size(*crop(canvases), view.symmetry)
            for canvases in (instances.inputs, instances.solution.clamp(min=PAD))
        ]
        # Both grids of a pair move together, as far as the larger has room; and a share of all stays in the corner.
        room = self.side + 1 - torch.stack([torch.maximum(*lengths) for lengths in zip(*sizes, strict=True)], dim=-1)
        moves = torch.rand(count, 1, generator=generator, device=device) >= CORNER_SHARE
        offset = torch.rand(count, 2, generator=generator, device=device) * room
        placed = Augmentation(view.symmetry, view.colours, offset.long() * moves)
        return self.vote.image(instances, placed, number)

    def ids_of(self, inputs: Tensor) -> Tensor:
        """The puzzle id of each test input `[B, L]`, view 0; the first task's if several ask the same.

        Raises:
            PuzzleError: if a grid is none of the test inputs.
        """
        return self.instances("test").puzzle_id.to(inputs.device)[self._numbers(inputs)]

    def question_of(self, inputs: Tensor) -> Question:
        """Which test input a canvas int64 `[L]` is; the first if several tasks ask the same.

        Raises:
            PuzzleError: if it is none.
        """
        return self.questions[int(self._numbers(inputs.unsqueeze(0)))]

    def parse(self, text: str) -> Tensor:
        """The tokens of a test input, by its task's name (`name`, or `name:2` for the second), or of a grid of digits.

        Raises:
            PuzzleError: on an unknown task or number, a ragged or too large grid, or an unknown character.
        """
        words = text.split()
        name, _, number = text.strip().partition(":")
        if name in self.tasks:
            return self._test_input(name, number or "1")
        cells = "".join(words)
        if len(cells) == self.seq_len and len(words) <= 1:
            return super().parse(text)
        if not re.fullmatch(r"\d+", cells):
            raise PuzzleError(f"{self.name}: {text.strip()!r} is no task here and no grid of digits; try {self._some}")
        rows = [re.sub(r"\s", "", line) for line in text.splitlines() if line.strip()]
        if len({len(row) for row in rows}) > 1 or max(len(rows), len(rows[0])) > self.side:
            raise PuzzleError(
                f"{self.name}: a grid has rows of equal length, at most {self.side} of them and {self.side} digits"
            )
        return encode(np.array([list(map(int, row)) for row in rows], dtype=np.uint8), self.side)

    def render(self, tokens: Tensor) -> str:
        """The grid on a canvas int64 `[L]` as rows of digits, which `parse` reads back."""
        (grid,) = decode(tokens.unsqueeze(0))
        return "\n".join(" ".join(map(str, row)) for row in grid.tolist()) or "(no grid)"

    def _tokens_by_character(self) -> dict[str, int]:
        return {symbol: token for token, symbol in enumerate(self.symbols)}

    def _numbers(self, inputs: Tensor) -> Tensor:
        """The number in the test split of each of the inputs `[B, L]`, int64 `[B]`."""
        known = self.instances("test").inputs.to(inputs.device)
        same = (known.unsqueeze(0) == inputs.unsqueeze(1)).all(-1)
        if not bool(same.any(-1).all()):
            raise PuzzleError(f"{self.name}: the grid is no test input of a known task; name one, such as {self._some}")
        return same.long().argmax(-1)

    @property
    def _some(self) -> str:
        return ", ".join(list(dict.fromkeys(question.task for question in self.questions))[:3])

    def _test_input(self, name: str, number: str) -> Tensor:
        count = len(self.tasks[name].tests)
        if not (number.isdecimal() and 1 <= int(number) <= count):
            raise PuzzleError(f"{self.name}: task {name!r} has test inputs 1 to {count}, not {number!r}")
        return encode(self.tasks[name].tests[int(number) - 1].input, self.side)

    @cached_property
    def _read(self) -> tuple[dict[str, Task], dict[str, Task]]:
        """The tasks of `test` and of `train`."""
        tested, trained = (read_tasks(sources) for sources in self._sources)
        for name in self._names or ():
            if name not in tested:
                raise PuzzleError(f"{self.name}: names has {name!r}, which is no task of {', '.join(self._sources[0])}")
        if self._names is not None:
            tested = {name: task for name, task in tested.items() if name in self._names}
        if not tested:
            raise PuzzleError(f"{self.name}: no tasks to test on; give env.options.test")
        shared = sorted(tested.keys() & trained.keys())
        if shared and not self._allow_leak:
            raise PuzzleError(
                f"{self.name}: {len(shared)} tasks of 'test' are in 'train' too, the first is {shared[0]!r} in "
                f"{trained[shared[0]].file}: their answers would be trained on (ARC-AGI-2's training set contains "
                "ARC-AGI-1 evaluation tasks); leave out one source, or ask for it with env.options.allow_leak=true"
            )
        for task in (*tested.values(), *trained.values()):
            self._check_size(task)
        return tested, trained

    def _check_size(self, task: Task) -> None:
        for pair in (*task.demonstrations, *task.tests):
            for grid in pair:
                if grid is not None and max(grid.shape) > self.side:
                    rows, columns = grid.shape
                    raise PuzzleError(
                        f"{task.file}, task {task.name!r}: a grid of {rows} x {columns} cells does not fit on a canvas "
                        f"of side {self.side}; set env.options.side"
                    )

    @cached_property
    def _sets(self) -> dict[Split, Instances]:
        tested, trained = self._read
        place = {name: number for number, name in enumerate(self.tasks)}
        held_back = {_content(pair) for task in tested.values() for pair in task.tests}
        held_out = [(name, pair) for name, pair in self._held_out if _content(pair) not in held_back]
        held_back |= {_content(pair) for _, pair in held_out}
        pairs = [(place[task.name], pair) for task in tested.values() for pair in task.demonstrations]
        pairs += [(place[task.name], pair) for task in trained.values() for pair in (*task.demonstrations, *task.tests)]
        pairs = [(task, pair) for task, pair in pairs if pair.output is not None]
        kept = pairs if self._allow_leak else [(task, pair) for task, pair in pairs if _content(pair) not in held_back]
        if len(kept) < len(pairs):
            logger.info(
                "%s: %d training pairs left out, they are test or validation pairs", self.name, len(pairs) - len(kept)
            )
        if not kept:
            raise PuzzleError(f"{self.name}: no training pairs but those of the test split")
        tests = [(place[task.name], pair) for task in tested.values() for pair in task.tests]
        validation = [(place[name], pair) for name, pair in held_out]
        return {
            "train": self._encoded(kept),
            "validation": self._encoded(validation),
            "test": self._encoded(tests),
        }

    @property
    def _held_out(self) -> list[tuple[str, Pair]]:
        """The pairs for validation, with the names of their tasks, in the order of the tasks."""
        tested, trained = self._read
        # Of a task that is tested on too nothing is held out that the test does not hold back anyway.
        candidates = {
            name: [pair for pair in task.tests if pair.output is not None]
            for name, task in trained.items()
            if name not in tested
        }
        where = "train"
        if not trained:
            where = "test, with more than two demonstrations"
            candidates = {
                name: [task.demonstrations[-1]] for name, task in tested.items() if len(task.demonstrations) > 2
            }
        candidates = {name: pairs for name, pairs in candidates.items() if pairs}
        wanted = self._validation
        if wanted is None:
            wanted = min(_MOST_VALIDATION, len(candidates) // 10) if trained else 0
        if wanted > len(candidates):
            raise PuzzleError(
                f"{self.name}: validation asks for {wanted} tasks, there are {len(candidates)} in {where}"
            )
        # A stream of its own beside that of the views.
        drawn = np.random.default_rng([self._seed, 1]).permutation(len(candidates))[:wanted]
        names = [list(candidates)[number] for number in sorted(drawn)]
        return [(name, pair) for name in names for pair in candidates[name]]

    def _encoded(self, pairs: list[tuple[int, Pair]]) -> Instances:
        if not pairs:
            none = torch.empty(0, self.seq_len, dtype=torch.int64)
            return Instances(none, none, torch.empty(0, dtype=torch.int64))
        unknown = torch.full((self.seq_len,), PAD)
        solutions = torch.stack(
            [unknown if pair.output is None else encode(pair.output, self.side) for _, pair in pairs]
        )
        return Instances(
            inputs=torch.stack([encode(pair.input, self.side) for _, pair in pairs]),
            solution=solutions.masked_fill(solutions == PAD, IGNORE),
            puzzle_id=torch.tensor([task for task, _ in pairs]) * self.vote.views,
        )


def _listed(sources: Sources) -> list[str]:
    listed = [sources] if isinstance(sources, str | os.PathLike) else sources
    if not (isinstance(listed, Sequence) and all(isinstance(source, str | os.PathLike) for source in listed)):
        raise PuzzleError(f"arc: test and train name one source of tasks or a list of them, got {sources!r}")
    return [str(source) for source in listed]


def _content(pair: Pair) -> tuple[object, ...]:
    """What makes two pairs the same; a pair without an output is the same as no other."""
    if pair.output is None:
        return (id(pair),)
    return tuple((grid.shape, grid.tobytes()) for grid in pair)
