"""The training loop without what surrounds it: no measuring, no saving, no tracking."""

from __future__ import annotations

from latent_rl.training import Run, weighted_sum


def learn(run: Run, batches: int | None = None) -> None:
    """Collect and learn, `batches` times or until the budget is spent."""
    while batches != 0 and run.budget_share < 1.0:
        with run.team.at_work():
            _update(run)
        run.share_counts()
        batches = None if batches is None else batches - 1


def _update(run: Run) -> None:
    if run.captured is not None:
        run.captured()
        return
    batch = next(run.collection)
    with run.ledger.phase("update"):
        for steps in run.experience(batch):
            total, _ = weighted_sum({name: loss(steps) for name, loss in run.losses.items()}, run.loss_weights)
            run.learner.step(total)
    run.halting.learn(batch)
