"""The animation of a puzzle being solved: frames, how long they stay, and what cannot be written."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from latent_rl.envs.renderer import LETTERED_SHADES
from latent_rl.envs.sudoku.puzzle import Sudoku
from latent_rl.errors import UserError
from latent_rl.reporting.animation import animate

PUZZLE = Sudoku(size=4)
INPUTS = PUZZLE.parse("321...32.12.23.1")
SOLUTION = PUZZLE.parse("3214143241232341")
ANSWERS = torch.stack((PUZZLE.parse("3214113241232341"), SOLUTION, SOLUTION))


def frames(path) -> list[tuple[Image.Image, int]]:
    with Image.open(path) as film:
        found = []
        for number in range(film.n_frames):
            film.seek(number)
            found.append((film.convert("RGB"), film.info["duration"]))
    return found


def test_one_frame_for_the_puzzle_and_one_a_step(tmp_path) -> None:
    path = tmp_path / "film.gif"
    animate(path, PUZZLE, INPUTS, None, ANSWERS, torch.tensor([0.1, 0.5, 0.9]), [3, 6, 9])
    film = frames(path)
    assert [duration for _, duration in film] == [1000, 1000, 1000, 3000]
    assert len({image.tobytes() for image, _ in film}) == 4
    # The bar of how sure the model is, alone below the board, grows from step to step.
    strips = [image.crop((0, int(0.80 * image.height), image.width, int(0.88 * image.height))) for image, _ in film]
    blue = [sum(b > r + 40 for r, _, b in strip.getdata()) for strip in strips]
    assert blue[0] == 0 < blue[1] < blue[2] < blue[3]


def test_with_the_solution_wrong_cells_are_marked(tmp_path) -> None:
    shade = tuple(int(LETTERED_SHADES.wrong[start : start + 2], 16) for start in (1, 3, 5))
    shown = []
    for key in (None, SOLUTION):
        animate(tmp_path / "film.gif", PUZZLE, INPUTS, key, ANSWERS, torch.zeros(3), [3, 6, 9])
        image = frames(tmp_path / "film.gif")[1][0].crop((0, 0, 460, 400))
        shown.append(sum(max(abs(a - b) for a, b in zip(pixel, shade, strict=True)) < 8 for pixel in image.getdata()))
    assert shown[0] < 100 < 2000 < shown[1]


@pytest.mark.parametrize("name", ["film.png", "film", "no/folder/film.gif"])
def test_what_cannot_be_written(tmp_path, name) -> None:
    with pytest.raises(UserError, match="cannot write the animation"):
        animate(tmp_path / name, PUZZLE, INPUTS, None, ANSWERS, torch.zeros(3), [3, 6, 9])


def test_a_trajectory_shows_margins_where_they_are_known() -> None:
    figure = PUZZLE.renderer.trajectory(INPUTS, SOLUTION, ANSWERS, torch.zeros(3), torch.tensor([1.25, -0.5, 0.0]))
    labels = [axes.get_xlabel() for axes in figure.axes if axes.axison]
    assert labels[1:] == ["step 1: 0% sure\nmargin +1.2", "step 2: 0% sure\nmargin -0.5", "step 3: 0% sure\nmargin 0"]
