"""How figures look: the shared colours, the style file, and the axes that several figures have."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter, StrMethodFormatter

from latent_rl.errors import UserError
from latent_rl.reporting.files import check_file, replacing

# Okabe and Ito's colours, as in the style file; whatever a colour says, a marker or a dash says as well.
VERMILLION, BLUE, GREEN, PURPLE, ORANGE, BLACK = "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#000000"
INK, GREY, PALE = "#222222", "#767676", "#c9c9c9"

Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Let a function that makes a figure work in the style of `latent_rl.mplstyle`; nothing global changes."""

    @wraps(draw)
    def drawn(*arguments: Arguments.args, **named: Arguments.kwargs) -> Figure:
        with style.context("latent_rl.reporting.latent_rl"):
            figure = draw(*arguments, **named)
            # Ticks and grid lines are made when they are first needed, in the style of that moment: so, now.
            figure.draw_without_rendering()
        return figure

    return drawn


def percent_axis(axes: Axes, label: str, *, decimals: int | None = None) -> None:
    """Shares in [0, 1] upwards, written in percent."""
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals))
    axes.set_ylabel(label)


def share_axis(axes: Axes, label: str = "share of test puzzles (or cells)") -> None:
    """The same from none to all, with room for the markers at both ends."""
    percent_axis(axes, label)
    axes.set_ylim(-0.02, 1.04)


def step_axis(axes: Axes, steps: int) -> None:
    """Recursion steps to the right, from 1."""
    axes.set_xlabel("recursion step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=16, min_n_ticks=1))
    axes.set_xlim(0.4, steps + 0.6)


def training_cost_axis(axes: Axes, cost: str) -> None:
    """What training had cost, to the right: `train_passes` or `train_seconds`."""
    axes.set_xlim(left=0)
    if cost == "train_passes":
        axes.set_xlabel("network passes spent on training")
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    else:
        axes.set_xlabel("seconds of training")
        # Not in k and m: a fifth of a second is no 200 m.
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's ending, PNG if there is none; a reader never sees half of it.

    Raises:
        UserError: if the file cannot be written or the format is unknown.
    """
    try:
        with replacing(path) as file:
            figure.savefig(file, dpi=150, format=_format(path))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the figure {path}: {getattr(error, 'strerror', None) or error}") from None


def check_figure(path: Path) -> None:
    """Raise `UserError` if `save` could not write there; called before the work that the figure is of."""
    known = FigureCanvasBase.get_supported_filetypes()
    if _format(path) not in known:
        raise UserError(
            f"cannot write the figure {path}: format {_format(path)!r} is not among {', '.join(sorted(known))}"
        )
    check_file(path, "the figure ")


def _format(path: Path) -> str:
    return path.suffix.lstrip(".").lower() or "png"
