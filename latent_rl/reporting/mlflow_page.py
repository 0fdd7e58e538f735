"""What an experiment's page in MLflow opens with: a description, and a saved view that puts the saving first.

MLflow keeps both as tags of the experiment. The view is what its own menu "Views" writes: columns of the table of runs,
and charts. It is found there by its name, and by a key in the page's address.
"""

from __future__ import annotations

import json

VIEW = "latent_rl"
"""Key of the saved view."""

VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"

DESCRIPTION_TAG = "mlflow.note.content"
"""Where MLflow keeps the description of a run or an experiment."""

DESCRIPTION = """\
**How many passes were saved, at which accuracy:** `savings/vs_trm`, and `test/solved_rate` beside it.

Tiny recursive reasoners, trained as reinforcement-learning agents with every network pass counted.

| metrics | what |
| --- | --- |
| `savings/…` | times fewer passes a puzzle than TRM's schedule, or than a TRM that stops by itself |
| `test/…` | on test puzzles, once, at the end |
| `eval/…` | on validation puzzles, during training |
| `passes/…` | network passes: of training so far, and a puzzle at evaluation |
| `steps/…` | accuracy after each recursion step |
| `throughput/…` | puzzles, steps and passes a second of training |
| `train/…` | losses and what was collected |
"""
"""Folded, MLflow shows its first line."""

COLUMNS = {
    "metrics.`savings/vs_trm`": 115,
    "metrics.`test/solved_rate`": 120,
    "metrics.`test/passes_per_puzzle`": 165,
    "tags.`puzzle`": 100,
    "tags.`scheme`": 75,
    "tags.`device`": 65,
    "attributes.`Dataset`": 270,
    "attributes.`Models`": 120,
    "metrics.`passes/train_total`": 140,
}
"""Columns of the table of runs, from the left, and their widths in pixels."""

FIRST, OTHERS = "Passes saved, at which accuracy", ("eval", "savings", "test", "passes", "steps", "throughput", "train")
OPEN = ("eval",)
"""Sections of charts: ours, MLflow's own (one for each group of metrics) in this order, and which of those are open."""


def experiment_tags(created: int) -> dict[str, str]:
    """Tags of an experiment whose page answers how many passes were saved, at which accuracy.

    Args:
        created: when the experiment was made, in milliseconds; the view says that it is as old.
    """
    state = json.dumps(_view(), separators=(",", ":"))
    return {
        # MLflow 3.17 goes by the address, see `page`; others go by this.
        "mlflow.experimentKind": "custom_model_development",
        VIEW_TAG: json.dumps({"name": FIRST, "createdAt": created, "updatedAt": created, "state": state}),
        DESCRIPTION_TAG: DESCRIPTION,
    }


def page(server: str, experiment_id: str) -> str:
    """The address of an experiment's page, seen as model training and with our columns and charts."""
    return f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


def _view() -> dict[str, object]:
    """The state of MLflow's page of runs (as of 3.17): unknown keys are ignored, missing ones have its defaults."""
    charts = [
        _chart("BAR", "savings/vs_trm"),
        _chart("BAR", "test/solved_rate"),
        {
            **_chart("SCATTER", "passes-solved"),
            "xaxis": {"key": "test/passes_per_puzzle", "type": "METRIC"},
            "yaxis": {"key": "test/solved_rate", "type": "METRIC"},
        },
    ]
    sections = [{"uuid": FIRST, "name": FIRST, "display": True, "isReordered": True}]
    sections += [{"uuid": name, "name": name, "display": name in OPEN, "isReordered": False} for name in OTHERS]
    return {
        "selectedColumns": list(COLUMNS),
        "columnOrder": list(COLUMNS),
        "columnWidths": COLUMNS,
        "compareRunCharts": charts,
        "compareRunSections": sections,
        # Otherwise MLflow sorts the sections by name.
        "isAccordionReordered": True,
    }


def _chart(kind: str, metric: str) -> dict[str, object]:
    return {
        "uuid": f"{VIEW}-{metric}",
        "type": kind,
        "metricSectionId": FIRST,
        "metricKey": metric,
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
    }
