"""A puzzle being solved, as an animated GIF: one frame for the puzzle, then one for each recursion step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from latent_rl.envs import Puzzle
from latent_rl.envs.renderer import BLUE, FRAME, INK, changes
from latent_rl.errors import UserError
from latent_rl.reporting.files import check_animation, replacing

SECONDS_PER_STEP = 1.0
LAST_FRAME_SECONDS = 3.0


def animate(
    path: Path,
    puzzle: Puzzle,
    inputs: Tensor,
    solution: Tensor | None,
    answers: Tensor,
    confidence: Tensor,
    passes: Sequence[int],
) -> None:
    """Write the animation; every frame shows the step, the network passes spent and how sure the value head is.

    Args:
        path: a file that ends in `.gif`.
        puzzle: its renderer draws the boards.
        inputs: int64 `[L]`.
        solution: int64 `[L]`, or None if nobody knows it; cells are then not told right from wrong.
        answers: int64 `[S, L]`, the answer after each step.
        confidence: float `[S]`, in [0, 1].
        passes: network passes spent up to and with each step, S numbers.

    Raises:
        UserError: if the file cannot be written or does not end in `.gif`.
    """
    check_animation(path)
    inputs, answers = inputs.cpu(), answers.cpu()
    changed = torch.cat((torch.zeros_like(answers[:1], dtype=torch.bool), changes(inputs, answers)))
    boards = torch.cat((inputs.unsqueeze(0), answers))
    steps = len(answers)
    rows, columns = puzzle.grid_shape
    figure = Figure(figsize=(4.6, 4.2 * rows / columns + 1.3))
    FigureCanvasAgg(figure)
    heights = (4.2 * rows / columns, 0.28)
    axes, meter = figure.subplots(
        2,
        1,
        height_ratios=heights,
        gridspec_kw={"left": 0.05, "right": 0.95, "bottom": 0.13, "top": 0.93, "hspace": 0.1},
    )
    figure.legend(
        handles=puzzle.renderer.legend(solution is not None), loc="lower center", ncols=3, frameon=False, fontsize=8
    )
    writer = PillowWriter(fps=1 / SECONDS_PER_STEP)
    try:
        with replacing(path) as file, writer.saving(figure, file, dpi=100):
            for number, board in enumerate(boards):
                axes.clear()
                puzzle.renderer.draw(axes, inputs, board, solution if number else None, changed[number])
                sure = float(confidence[number - 1]) if number else None
                spent = f"step {number} of {steps}, {passes[number - 1]:,} network passes" if number else "the puzzle"
                axes.set_title(spent, fontsize=11)
                _draw_meter(meter, sure)
                # The answer stays for a while before the film starts over; equal frames become one long one.
                for _ in range(round(LAST_FRAME_SECONDS / SECONDS_PER_STEP) if number == steps else 1):
                    writer.grab_frame()
    except OSError as error:
        raise UserError(f"cannot write the animation {path}: {error.strerror or error}") from None


def _draw_meter(axes: Axes, sure: float | None) -> None:
    """How sure the value head is: a bar with its number in words."""
    axes.clear()
    axes.set_axis_off()
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(0, 1)
    axes.add_patch(Rectangle((0, 0.15), 1, 0.7, facecolor="white", edgecolor=FRAME, linewidth=0.8))
    axes.add_patch(Rectangle((0, 0.15), sure or 0.0, 0.7, facecolor=BLUE, alpha=0.45, linewidth=0))
    text = "nothing answered yet" if sure is None else f"{sure:.0%} sure"
    axes.text(0.5, 0.48, text, ha="center", va="center", fontsize=10, color=INK)
