"""The figures that a run leaves. Their names are an interface: charts and scripts ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from latent_rl.measuring import Election, solve, trace_deduction
from latent_rl.reporting.analysis_figures import improvement
from latent_rl.reporting.arc_figures import contact_sheet
from latent_rl.reporting.curves import accuracy_against_passes, accuracy_by_step
from latent_rl.reporting.deduction import trajectory
from latent_rl.reporting.style import save
from latent_rl.storage import Evaluation
from latent_rl.training import Run, build_deduction


def result_figures(run: Run, found: Evaluation, election: Election | None) -> dict[str, Figure]:
    """The figures at the end of a run, by name."""
    reasoner, puzzle, first = run.learner.averaged_reasoner, run.puzzle, run.puzzle.instances("test")[:1]
    curves = {
        "accuracy_by_step": accuracy_by_step(found),
        "accuracy_against_passes": accuracy_against_passes(run.history.curve),
    }
    if run.config.env.state == "candidates":
        with run.ledger.phase("eval"):
            trace = trace_deduction(
                reasoner, puzzle, first.inputs[0], build_deduction(run.config), run.config.evaluation_steps
            )
        return {**curves, "trajectory": trajectory(puzzle, first.inputs[0], first.solution[0], trace)}
    with run.ledger.phase("eval"):
        # The run's ledger watches this network too.
        steps = solve(reasoner, puzzle, first.inputs, run.config.evaluation_steps, first.solution)
    return {
        **({"contact_sheet": contact_sheet(puzzle, election)} if election is not None else {}),
        **curves,
        "improvement_by_step": improvement(found.margin_by_step, found.dead_share_by_step),
        "trajectory": puzzle.renderer.trajectory(
            first.inputs[0],
            first.solution[0],
            steps.answers[:, 0],
            steps.confidence[:, 0],
            steps.margins[:, 0],
        ),
    }


def save_figures(figures: Mapping[str, Figure], run_dir: Path) -> list[Path]:
    """Leave figures in `figures/` of a run directory; returns their files."""
    folder = run_dir / "figures"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save(figure, path)
    return paths
