"""The report of a comparison: `compare.json`, `compare.md`, the figures, and what MLflow's parent run shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latent_rl.config import flatten
from latent_rl.errors import UserError
from latent_rl.measuring import Comparison, Plan, Question, Run, differing_settings
from latent_rl.reporting.comparison_figures import CAPTIONS, figures
from latent_rl.reporting.comparison_tables import grids, markdown, notes
from latent_rl.reporting.curves import save

REPORT_FILE, TABLE_FILE = "compare.json", "compare.md"


def report(question: Question, plans: Sequence[Plan], mlflow_run_id: str | None) -> Comparison:
    """Write `compare.json`, `compare.md` and the figures from the runs that are finished."""

    runs = [Run.read(plan.scheme, plan.seed, plan.run_dir) for plan in plans if Run.finished(plan.run_dir)]
    schemes = list(dict.fromkeys(plan.scheme for plan in plans))
    comparison = Comparison.of(runs, schemes, question.metric, question.target)
    try:
        (question.out / "figures").mkdir(parents=True, exist_ok=True)
        write(
            question.out / REPORT_FILE,
            json.dumps(as_dict(question, plans, comparison, mlflow_run_id), indent=1) + "\n",
        )
        if runs:
            for name, figure in figures(comparison, schemes).items():
                save(figure, question.out / "figures" / f"{name}.png")
            title = f"{runs[0].summary.puzzle}: {', '.join(schemes)} ({len(runs)} of {len(plans)} runs finished)"
            links = {caption: Path("figures") / f"{name}.png" for name, caption in CAPTIONS.items()}
            lines = [*notes(comparison), f"Made by `{question.command}`."]
            write(
                question.out / TABLE_FILE,
                markdown(title, grids(comparison, settings_table(question, plans)), lines, links),
            )
    except OSError as error:
        raise UserError(f"folder {question.out} cannot be written: {error.strerror}") from None
    return comparison


def as_dict(
    question: Question, plans: Sequence[Plan], comparison: Comparison, mlflow_run_id: str | None
) -> dict[str, Any]:
    """The content of `compare.json`."""
    return {
        "preset": question.preset,
        "command": question.command,
        "schemes": list(dict.fromkeys(plan.scheme for plan in plans)),
        "seeds": list(range(question.seeds)),
        "complete": len(comparison.runs) == len(plans),
        "mlflow_run_id": mlflow_run_id,
        "own_settings": question.own,
        "differing_settings": differing_settings(plans),
        **comparison.as_dict(),
    }


def settings_table(question: Question, plans: Sequence[Plan]) -> dict[str, dict[str, str]]:
    """`differing_settings` as text, with a mark on what the command line gave to one scheme alone."""
    own = {scheme: {override.partition("=")[0] for override in given} for scheme, given in question.own.items()}
    return {
        key: {
            scheme: f"{'-' if value is None else value}{' (given)' if key in own[scheme] else ''}"
            for scheme, value in values.items()
        }
        for key, values in differing_settings(plans).items()
    }


def parent_parameters(question: Question, plans: Sequence[Plan]) -> dict[str, Any]:
    """What MLflow's parent run shows as its parameters: the question, and the settings that all runs share."""
    differing = differing_settings(plans)
    shared = {key: value for key, value in flatten(plans[0].config).items() if key not in differing}
    for key in ("scheme", "seed", "name"):
        shared.pop(key)
    asked = {"preset": question.preset, "schemes": question.schemes, "seeds": question.seeds}
    asked |= {"metric": question.metric, "target_accuracy": question.target}
    return {**{f"compare.{key}": value for key, value in asked.items()}, **shared}


def parent_metrics(comparison: Comparison) -> dict[str, float]:
    """What MLflow's parent run shows as its metrics."""
    values = {}
    for result in comparison.results:
        values[f"{result.scheme}/accuracy"] = result.accuracy.mean
        values[f"{result.scheme}/eval_passes_per_puzzle"] = result.eval_passes_per_puzzle.mean
        values[f"{result.scheme}/train_passes_total"] = result.train_passes.mean
        if result.train_passes_to_target.estimate is not None:
            values[f"{result.scheme}/train_passes_to_target"] = result.train_passes_to_target.estimate.mean
    return values


def known_parent_run(out: Path) -> str | None:
    """MLflow's parent run of an earlier start of this comparison."""
    try:
        return json.loads((out / REPORT_FILE).read_text())["mlflow_run_id"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{out / REPORT_FILE} is no report of a comparison ({error}): remove it to go on") from None


def write(path: Path, text: str) -> None:
    """Write a file; a reader never sees half of it."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)
