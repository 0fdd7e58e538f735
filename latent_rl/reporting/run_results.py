"""The numbers and figures that a run reports. Their names are an interface: charts and scripts ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latent_rl.measuring import solve
from latent_rl.reporting.analysis_figures import improvement
from latent_rl.reporting.arc_figures import contact_sheet
from latent_rl.reporting.curves import accuracy_against_passes, accuracy_by_step

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from tensordict import TensorDictBase

    from latent_rl.measuring import Evaluation
    from latent_rl.training import Session


def training_metrics(session: Session, batch: TensorDictBase, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """`train/…` and `passes/…` after an update.

    `train/reward` is the mean over the collected recursion steps, `train/solved` the share of solved puzzles among
    the episodes that ended in the batch (left out if none did), `train/episode_steps` their mean length.
    """
    puzzles, seconds = session.puzzles_seen, session.train_seconds
    values = {f"train/{name}": value for name, value in metrics.items()}
    values["train/reward"] = batch["next", "reward"].mean()
    ended = batch["next", "done"].squeeze(-1)
    if ended.any():
        values["train/solved"] = batch["next", "solved"][ended].float().mean()
        values["train/episode_steps"] = batch["next", "step"][ended].float().mean()
    values["train/seconds"] = seconds
    values["train/puzzles_seen"] = puzzles
    values["train/puzzles_per_second"] = puzzles / max(seconds, 1e-9)
    return {**values, **_passes(session)}


def evaluation_metrics(session: Session, found: Evaluation) -> dict[str, Any]:
    """`eval/…`, `passes/…`, `savings/…` and, for every recursion step, `steps/…` after an evaluation."""
    return {
        "eval/exact_accuracy": found.exact_accuracy,
        "eval/solved_rate": found.solved_rate,
        "eval/cell_accuracy": found.cell_accuracy,
        **_pass_at(session),
        "eval/seconds": found.seconds,
        "eval/puzzles": found.puzzles,
        **_passes(session),
        "passes/eval_per_puzzle": found.passes_per_puzzle,
        "savings/vs_trm": session.config.baseline_passes_per_puzzle / found.passes_per_puzzle,
        # A group of their own: the charts of `eval` stay few.
        **{f"steps/exact_accuracy_{step:02d}": share for step, share in enumerate(found.accuracy_by_step, start=1)},
        **{f"steps/margin_{step:02d}": margin for step, margin in enumerate(found.margin_by_step, start=1)},
        **{f"steps/dead_share_{step:02d}": share for step, share in enumerate(found.dead_share_by_step, start=1)},
    }


def result_figures(session: Session, found: Evaluation) -> dict[str, Figure]:
    """The figures at the end of a run, by name."""
    reasoner, puzzle, first = session.learner.averaged_reasoner, session.puzzle, session.test_instances[:1]
    with session.ledger.phase("eval"):
        # The session's ledger watches this network too.
        steps = solve(reasoner, puzzle, first.inputs, session.config.env.max_steps, first.solution)
    election = session.election
    return {
        **({"contact_sheet": contact_sheet(puzzle, election)} if election is not None else {}),
        "accuracy_by_step": accuracy_by_step(found),
        "accuracy_against_passes": accuracy_against_passes(session.history),
        "improvement_by_step": improvement(found.margin_by_step, found.dead_share_by_step),
        "trajectory": puzzle.renderer.trajectory(
            first.inputs[0],
            first.solution[0],
            steps.answers[:, 0],
            steps.confidence[:, 0],
            steps.margins[:, 0],
        ),
    }


def _pass_at(session: Session) -> dict[str, float]:
    """`eval/pass_at_2` and so on, once views of ARC's test inputs have voted."""
    scored = session.election.pass_at if session.election is not None else {}
    return {f"eval/{name.replace('@', '_at_')}": share for name, share in scored.items()}


def _passes(session: Session) -> dict[str, float]:
    total = session.ledger.train_passes
    return {"passes/train_total": total, "passes/train_per_puzzle": total / session.puzzles_seen}
