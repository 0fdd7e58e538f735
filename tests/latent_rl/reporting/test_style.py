"""The shared look of the figures: it comes from the style file, stays with the figure, and changes nothing else."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from latent_rl.reporting.style import VERMILLION, share_axis, step_axis, styled, training_cost_axis


@styled
def example(cost: str = "train_passes") -> Figure:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 2_000_000], [0, 1])
    share_axis(axes)
    training_cost_axis(axes, cost)
    return figure


def test_a_figure_keeps_its_style_wherever_it_is_drawn() -> None:
    # Asking for the backend would choose one.
    before = {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
    figure = example()
    assert {name: matplotlib.rcParams[name] for name in before} == before
    (axes,) = figure.axes
    assert not axes.spines.top.get_visible() and axes.spines.left.get_visible()
    assert to_hex(axes.lines[0].get_color()) == VERMILLION.lower()
    figure.savefig(io.BytesIO(), dpi=50)  # outside of the style
    assert {line.get_color() for line in axes.get_ygridlines()} == {"#e3e3e3"}
    assert all(line.get_visible() for line in axes.get_ygridlines())
    assert not any(line.get_visible() for line in axes.get_xgridlines())


def test_axes_are_written_for_people() -> None:
    (axes,) = example().axes
    assert axes.yaxis.get_major_formatter()(0.5) == "50%"
    assert [axes.xaxis.get_major_formatter()(spent) for spent in (0, 500, 2_500, 2e6)] == ["0", "500", "2.5 k", "2 M"]
    (axes,) = example("train_seconds").axes
    assert [axes.xaxis.get_major_formatter()(spent) for spent in (0.2, 500, 2_500)] == ["0.2", "500", "2,500"]
    step_axis(axes, 6)
    assert np.allclose(axes.get_xlim(), (0.4, 6.6)) and axes.get_xlabel() == "recursion step"
