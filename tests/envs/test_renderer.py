"""What the figures of boards show, read back from their own elements; and a puzzle that brings its own renderer."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import torch
from matplotlib.colors import to_hex
from rich.text import Text
from torch import Tensor
from toy_puzzle import Backwards

from latent_rl.envs import IGNORE, Instances, Puzzle, Renderer
from latent_rl.envs.arc import Arc
from latent_rl.envs.arc.renderer import ArcRenderer
from latent_rl.envs.renderer import BARE_SHADES, LETTERED_SHADES, STROKE
from latent_rl.envs.sudoku import Sudoku


class Board(Puzzle):
    """Any answer will do; here only the drawing counts."""

    name = "board"
    symbols = "_.123456789"

    def __init__(self, rows: int, columns: int, box_shape: tuple[int, int] | None = None) -> None:
        self.grid_shape = (rows, columns)
        self.renderer = Renderer(self, box_shape)

    def instances(self, split: str) -> Instances:
        raise NotImplementedError

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        raise NotImplementedError


def elements(axes) -> tuple[Counter, int, int, list[str]]:
    """Cells by colour, strokes, dots and texts of one board."""
    cells = Counter(to_hex(patch.get_facecolor()) for patch in axes.patches if patch.get_fill())
    strokes = sum(line.get_color() == STROKE for line in axes.lines)
    dots = sum(line.get_marker() == "o" for line in axes.lines)
    return cells, strokes, dots, [text.get_text() for text in axes.texts]


def test_given_right_wrong_and_changed_cells_are_told_apart() -> None:
    inputs = torch.tensor([2, 1, 1, 1, 3, 1])
    solution = torch.tensor([2, 3, 4, IGNORE, 3, 2])
    answers = torch.tensor([[2, 3, 5, 6, 4, 1], [2, 3, 4, 6, 3, 2]])
    figure = Board(2, 3).renderer.trajectory(inputs, solution, answers, torch.tensor([0.25, 0.99]))
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_xlabel() for axes in panels] == ["the puzzle", "step 1: 25% sure", "step 2: 99% sure"]

    shade, white = LETTERED_SHADES, "#ffffff"
    cells, strokes, dots, texts = elements(panels[0])
    assert cells == {shade.given: 2, white: 4}
    assert (strokes, dots, texts) == (0, 0, ["1", "2"])
    # Wrong at step 1: a wrong digit, an overwritten given, a cell left empty. The ignored cell is not wrong.
    cells, strokes, dots, texts = elements(panels[1])
    assert cells == {shade.given: 1, shade.right: 2, shade.wrong: 3}
    assert (strokes, dots, texts) == (3, 4, ["1", "2", "4", "5", "3"])
    cells, strokes, dots, texts = elements(panels[2])
    assert cells == {shade.given: 2, shade.right: 4}
    assert (strokes, dots, texts) == (0, 3, ["1", "2", "3", "5", "2", "1"])


def test_without_a_solution_nothing_is_called_right_or_wrong() -> None:
    inputs = torch.tensor([2, 1, 1, 3])
    figure = Board(2, 2).renderer.trajectory(inputs, None, torch.tensor([[2, 4, 1, 3]]), torch.tensor([0.5]))
    cells, strokes, dots, _ = elements(figure.axes[1])
    assert cells == {LETTERED_SHADES.given: 2, LETTERED_SHADES.filled: 1, "#ffffff": 1}
    assert (strokes, dots) == (0, 1)
    assert [text.get_text() for text in figure.legends[0].texts] == ["given", "filled in", "changed in this step"]


def test_boxes_have_thick_lines() -> None:
    inputs = torch.ones(24, dtype=torch.int64)
    arguments = (inputs, None, inputs.unsqueeze(0), torch.zeros(1))
    assert len(Board(4, 6).renderer.trajectory(*arguments).axes[0].lines) == 0
    assert len(Board(4, 6, box_shape=(2, 3)).renderer.trajectory(*arguments).axes[0].lines) == 3 + 3


def test_a_large_board_is_drawn_in_colours_with_letters_for_rare_symbols_alone(tmp_path) -> None:
    inputs = torch.ones(900, dtype=torch.int64)
    inputs[:100] = 2
    inputs[500], inputs[600] = 3, 4
    solution = inputs.clone()
    solution[500:510] = torch.where(inputs[500:510] == 1, 5, inputs[500:510])
    figure = Board(30, 30).renderer.trajectory(inputs, solution, solution.unsqueeze(0), torch.ones(1))
    cells, strokes, dots, texts = elements(figure.axes[1])
    assert cells == {BARE_SHADES.given: 100, BARE_SHADES.right.lower(): 9, "#ffffff": 791}
    assert (strokes, dots, texts) == (0, 9, ["2", "3"])
    figure.savefig(tmp_path / "large.png", dpi=150)
    assert (tmp_path / "large.png").stat().st_size > 5_000


class Dice(Renderer):
    """Draws nothing but the sum of a board."""

    def text(self, inputs: Tensor, board: Tensor, changed: Tensor) -> Text:
        return Text(f"<{int(board.sum())}>\n")

    def draw(self, axes, inputs: Tensor, board: Tensor, solution: Tensor | None, changed: Tensor) -> None:
        axes.set_title(f"<{int(board.sum())}>")

    def legend(self, known: bool) -> list:
        return []


class Rolled(Board):
    """A puzzle that is drawn otherwise, in one line."""

    def __init__(self) -> None:
        super().__init__(1, 2)
        self.renderer = Dice(self)


def test_a_puzzle_changes_how_it_is_drawn() -> None:
    puzzle, inputs = Rolled(), torch.tensor([1, 3])
    answers = torch.tensor([[2, 3], [6, 3]])
    assert puzzle.renderer.text(inputs, inputs, answers[0] != inputs).plain == "<4>\n"
    figure = puzzle.renderer.trajectory(inputs, None, answers, torch.tensor([0.5, 0.6]))
    titles = [axes.get_title() for axes in figure.axes if axes.axison]
    assert titles == ["<4>", "<5>", "<9>"] and not any(axes.patches for axes in figure.axes)


def test_every_puzzle_has_a_renderer_of_its_own_and_still_goes_to_other_processes() -> None:
    toy, sudoku, arc = Backwards(), Sudoku(size=6), Arc(side=8)
    assert type(toy.renderer) is Renderer and toy.renderer is toy.renderer
    assert sudoku.renderer.box_shape == (2, 3) and type(arc.renderer) is ArcRenderer
    for puzzle in (toy, sudoku, arc):
        copy = pickle.loads(pickle.dumps(puzzle))
        assert copy.renderer.puzzle is copy


GRID = Path(__file__).parents[1] / "data" / "grid.csv"


def test_puzzles_are_imported_without_what_draws_them() -> None:
    program = (
        "import sys, latent_rl.envs as envs\n"
        "from importlib.util import find_spec\n"
        # Those of an optional package are known without it, and made with it only.
        "there = [id for id in envs.registered_ids() if find_spec('reasoning_gym') or id[:9] != 'reasoning']\n"
        "assert len(there) > 4\n"
        "for id in there:\n"
        f"    options = {{'file': {str(GRID)!r}}} if id == 'latent_rl/Grid-v0' else {{}}\n"
        "    envs.puzzle_from_id(id, **options).renderer\n"
        "assert not {'matplotlib', 'rich'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
