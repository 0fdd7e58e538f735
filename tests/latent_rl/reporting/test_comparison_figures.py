"""The figures of a comparison: no legend over a curve, wherever it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from latent_rl.measuring import Comparison
from latent_rl.measuring.comparison import Run
from latent_rl.reporting.comparison_figures import figures
from latent_rl.storage import Evaluation, Milestone, Summary

SCHEMES = ["exit", "grpo", "pi"]


def run(scheme: str, seed: int, ends: float) -> Run:
    """A run whose accuracy rises from 0 to `ends` over ten evaluations."""
    rising = [ends * point / 10 for point in range(11)]
    history = [
        Milestone(100 * n, 2.0 * n, 3000 * n, Evaluation(50, [one / 2, one], [one / 2, one], [0.5, 0.6], 18.0, 1.0))
        for n, one in enumerate(rising)
    ]
    last = history[-1]
    ended = [*history, Milestone(last.updates, last.train_seconds, last.train_passes, last.evaluation, split="test")]
    summary = Summary.model_construct(eval_passes_per_puzzle=18.0, exact_accuracy=ends, solved_rate=ends)
    return Run(scheme, seed, Path(f"{scheme}-{seed}"), summary, ended)


@pytest.mark.parametrize("ends", [0.0, 0.03, 1.0])
def test_no_legend_covers_a_curve(ends: float) -> None:
    runs = [run(scheme, seed, ends) for scheme in SCHEMES for seed in (0, 1)]
    drawn = figures(Comparison("solved", 0.9, [], [], runs), SCHEMES)
    assert set(drawn) == {"train_passes", "train_seconds", "eval_passes"}
    for figure in drawn.values():
        figure.draw_without_rendering()
        (axes,), (legend,) = figure.axes, figure.legends
        assert [text.get_text() for text in legend.get_texts()] == SCHEMES
        assert not legend.get_window_extent().overlaps(axes.get_tightbbox())
        assert figure.bbox.contains(*legend.get_window_extent().min)


def test_supervised_and_reward_driven_curves_stand_side_by_side() -> None:
    runs = [run(scheme, 0, ends) for scheme, ends in zip(SCHEMES, (0.9, 0.02, 1.0), strict=True)]
    (axes,) = figures(Comparison("solved", 0.9, [], [], runs), SCHEMES)["train_passes"].axes
    curves = {line.get_label(): line for line in axes.lines if line.get_label() in SCHEMES}
    assert [curves[scheme].get_ydata()[-1] for scheme in SCHEMES] == pytest.approx([0.9, 0.02, 1.0])
    assert list(curves["grpo"].get_xdata()) == [3000 * n for n in range(11)]
    assert len({line.get_marker() for line in curves.values()}) == 3
