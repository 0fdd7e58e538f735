"""The numbers that a run reports. Their names are an interface: charts and scripts ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensordict import TensorDictBase

from latent_rl.agents import ALONE, Team
from latent_rl.measuring import Election
from latent_rl.reporting.evaluation import shown_steps
from latent_rl.storage import Evaluation, Spent, Summary, compute


def training_metrics(
    batch: TensorDictBase, metrics: Mapping[str, Any], spent: Spent, team: Team = ALONE
) -> dict[str, Any]:
    """`train/…` and `passes/…` after an update; of several processes all call this together.

    `train/reward` and `train/violations` are means over the collected recursion steps, `train/solved` is the share of
    solved puzzles among the episodes that ended in the batch (left out if none did), `train/episode_steps` their mean
    length. `train/weights_age` is, of what workers have collected, how many updates ago their weights were those that
    learn, once the batch is learned from. What losses tell, `metrics`, is the mean over the processes.
    """
    values = {f"train/{name}": value for name, value in team.average(metrics).items()}
    after = team.gather_steps(batch["next"].select("reward", "violations", "done", "solved", "step"))
    values["train/reward"] = after["reward"].mean()
    values["train/violations"] = after["violations"].mean()
    ended = after["done"].squeeze(-1)
    if ended.any():
        values["train/solved"] = after["solved"][ended].float().mean()
        values["train/episode_steps"] = after["step"][ended].float().mean()
    if "weights_of" in batch.keys():
        values["train/weights_age"] = spent.updates - batch["weights_of"].float().mean()
    values["train/seconds"] = spent.seconds
    values["train/puzzles_seen"] = spent.puzzles
    return {**values, **_passes(spent)}


def evaluation_metrics(found: Evaluation, spent: Spent, baseline: int) -> dict[str, Any]:
    """`eval/…`, `passes/…`, `savings/…` and, for every recursion step, `steps/…` after an evaluation on validation.

    Args:
        found: the evaluation.
        spent: what training had cost by then.
        baseline: network passes a puzzle of the schedule compared with.
    """
    return {
        **_accuracies("eval", found),
        **_passes(spent),
        "passes/eval_per_puzzle": found.passes_per_puzzle,
        "savings/vs_trm": baseline / found.passes_per_puzzle,
        # A group of their own: the charts of `eval` stay few.
        **{f"steps/exact_accuracy_{step:02d}": found.accuracy_by_step[step - 1] for step in shown_steps(found)},
        **_dead_share(found),
    }


def _dead_share(found: Evaluation) -> dict[str, float]:
    """The share of all recursion steps that were dead compute: step by step, the figures have it."""
    if not found.dead_share_by_step:
        return {}
    dead = sum(share * active for share, active in zip(found.dead_share_by_step, found.active_by_step, strict=True))
    return {"passes/dead_share": dead / sum(found.active_by_step)}


def test_metrics(summary: Summary, found: Evaluation, election: Election | None = None) -> dict[str, Any]:
    """`test/…` and `savings/…`, once, at the end of a run.

    Args:
        summary: what the run has come to.
        found: the evaluation on all test puzzles.
        election: the vote on the test inputs, if there was one.
    """
    stop, fair = summary.own_stop, summary.savings_vs_stopped_trm
    pass_at = {} if election is None else election.pass_at
    return {
        **_accuracies("test", found),
        **{f"test/{name.replace('@', '_at_')}": share for name, share in pass_at.items()},
        "test/passes_per_puzzle": found.passes_per_puzzle,
        "savings/vs_trm": summary.savings_vs_trm,
        # Beside the accuracy of the other side: a ratio alone says nothing.
        **(
            {}
            if fair is None
            else {"savings/vs_stopped_trm": fair, "savings/stopped_trm_solved_rate": summary.baseline_stop.solved_rate}
        ),
        **(
            {}
            if stop is None
            else {"test/own_stop_passes": stop.passes_per_puzzle, "test/own_stop_solved_rate": stop.solved_rate}
        ),
    }


def _accuracies(group: str, found: Evaluation) -> dict[str, float]:
    """Without the number of puzzles, whose chart is a flat line."""
    return {f"{group}/{name}": value for name, value in found.accuracies.items() if name != "puzzles"}


def _passes(spent: Spent) -> dict[str, float]:
    return {
        "passes/train_total": spent.passes,
        "passes/train_per_puzzle": spent.passes / spent.puzzles,
        "passes/train_with_gradient": spent.gradient_passes,
        "passes/train_compute": compute(spent.passes, spent.gradient_passes),
    }
