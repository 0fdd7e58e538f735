"""Saving a run and going on with it: a checkpoint is the sum of the states of the run's parts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from latent_rl.errors import UserError
from latent_rl.storage import load_training, restore_random_states, save_model, save_training
from latent_rl.training.run import Run


def save(run: Run, run_dir: Path, mlflow_run_id: str | None) -> Path:
    """Write both checkpoint files; returns the path of the model file. In a team all call it, and the first writes.

    Raises:
        UserError: if they cannot be written; each that could not is as it was.
    """
    folder = run_dir / "checkpoint"
    parts = {name: part.state_dict() for name, part in run.parts.items()}
    if not run.team.is_first:
        return folder / "model.pt"
    identity = {"puzzle": run.puzzle.name, "ids_digest": run.puzzle.ids_digest, "mlflow_run_id": mlflow_run_id}
    identity |= {"config": run.config.model_dump(mode="json")}
    save_training(folder, {**identity, **parts})
    return save_model(
        folder,
        run.learner.averaged_reasoner,
        run.config,
        run.learner.updates,
        run.puzzle.ids_digest,
        run.halting.policy,
    )


def refuse_divergence(run: Run) -> None:
    """Look whether the run can still become something, before it is saved over what was good. Waits for the device.

    Raises:
        UserError: if a gradient or weight is not finite.
    """
    halting = [] if run.halting.policy is None else [*run.halting.policy.parameters()]
    if run.learner.diverged or not _finite(halting):
        raise _diverged(run)


@contextmanager
def explained(run: Run) -> Iterator[None]:
    """Where a run breaks because its numbers have grown beyond all bounds, say so.

    Raises:
        UserError: in place of the error that this has led to.
    """
    try:
        yield
    except (ValueError, RuntimeError):
        if run.learner.updates and (run.learner.diverged or not _next_step_is_finite(run)):
            raise _diverged(run) from None
        raise


def _next_step_is_finite(run: Run) -> bool:
    episodes = run.collection.episodes
    with torch.no_grad(), run.ledger.phase("eval"):
        return _finite(run.reasoner.step(*(episodes[name] for name in run.reasoner.step_keys)))


def _finite(values: Iterable[Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in values)


def _diverged(run: Run) -> UserError:
    return UserError(
        f"training diverged: at update {run.learner.updates} gradients or weights are not finite; begin "
        f"again with smaller steps (optimizer.lr={run.config.optimizer.lr / 10:g}), or go on so from what was saved "
        "before, if anything was: --resume …"
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
        restore_random_states(state["random"])
        if run.team.world_size > 1 and run.device.type == "cuda" and state["random"]["cuda"]:
            # All of a team draw from one state, which the first process, on the first device, has saved.
            torch.cuda.set_rng_state(state["random"]["cuda"][0].cpu(), run.device)
    except Exception as error:
        # Whatever a part makes of a state that is not its own, or that another hand has changed.
        reason = textwrap.shorten(" ".join(str(error).split()) or type(error).__name__, 300, placeholder=" …")
        raise UserError(f"{run_dir} does not fit this configuration: {reason}") from None
    return state["mlflow_run_id"]
