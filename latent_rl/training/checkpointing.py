"""Saving a run and going on with it: a checkpoint is the sum of the states of the run's parts."""

from __future__ import annotations

from pathlib import Path

from latent_rl.errors import UserError
from latent_rl.storage import load_training, restore_random_states, save_model, save_training
from latent_rl.training.run import Run


def save(run: Run, run_dir: Path, mlflow_run_id: str | None) -> Path:
    """Write both checkpoint files; returns the path of the model file."""
    folder = run_dir / "checkpoint"
    parts = {name: part.state_dict() for name, part in run.parts.items()}
    identity = {"puzzle": run.puzzle.name, "ids_digest": run.puzzle.ids_digest, "mlflow_run_id": mlflow_run_id}
    save_training(folder, {**identity, **parts})
    return save_model(
        folder,
        run.learner.averaged_reasoner,
        run.config,
        run.learner.updates,
        run.puzzle.ids_digest,
        run.halting.policy,
    )


def restore(run: Run, run_dir: Path) -> str | None:
    """Continue from a run directory's checkpoint, random states included; returns the MLflow run's id.

    Raises:
        UserError: if there is no checkpoint, or it is of another puzzle or configuration.
    """
    state = load_training(run_dir / "checkpoint", run.device)
    if state["puzzle"] != run.puzzle.name:
        raise UserError(
            f"{run_dir} was trained on {state['puzzle']}, not on {run.puzzle.name}: resume it with its own puzzle"
        )
    if state.get("ids_digest", "") != run.puzzle.ids_digest:
        raise UserError(
            f"{run_dir} learned embeddings of other puzzles than those of {run.puzzle.name} here: resume it "
            "with its own env.options and data"
        )
    try:
        for name, part in run.parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run_dir} does not fit this configuration: {' '.join(str(error).split())}") from None
    restore_random_states(state["random"])
    return state["mlflow_run_id"]
