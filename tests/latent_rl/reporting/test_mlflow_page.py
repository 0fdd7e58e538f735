"""What an experiment's page in MLflow opens with."""

from __future__ import annotations

import json

import mlflow
from mlflow import MlflowClient

from latent_rl.config.schema import Config
from latent_rl.reporting.metrics import evaluation_metrics
from latent_rl.reporting.mlflow_page import VIEW_TAG
from latent_rl.reporting.mlflow_run import Tracker
from latent_rl.storage import Evaluation, Spent


def test_the_page_shows_the_saving_first_and_keeps_what_people_wrote_there(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config(name="a-run", device="cpu", tracking={"uri": "sqlite:///mlflow.db"})
    client = MlflowClient("sqlite:///mlflow.db")
    with Tracker.start(config) as tracker:
        pass
    experiment = client.get_experiment(tracker.experiment_id)
    assert experiment.tags["mlflow.note.content"].startswith("**How many passes were saved, at which accuracy:**")
    assert len(experiment.tags[VIEW_TAG]) < 5000  # the limit of older stores
    view = json.loads(experiment.tags[VIEW_TAG])
    state = json.loads(view["state"])
    assert view["createdAt"] == experiment.creation_time
    shown = [chart["metricKey"] for chart in state["compareRunCharts"]]
    assert shown[:2] == ["savings/vs_trm", "test/solved_rate"]
    # Columns and charts ask for metrics and tags by name: a misspelt one would be empty.
    found, spent = Evaluation(9, [0.5], [0.6], [0.8], 6.0, 1.0), Spent(1, 1.0, 9, 9, 3)
    known = {*evaluation_metrics(found, spent, 336)} | {"test/solved_rate", "test/passes_per_puzzle"}
    columns = [column.partition(".`") for column in state["selectedColumns"]]
    assert {name.strip("`") for kind, _, name in columns if kind == "metrics"} <= known
    assert {name.strip("`") for kind, _, name in columns if kind == "tags"} == {"puzzle", "scheme", "device"}

    client.set_experiment_tag(tracker.experiment_id, "mlflow.note.content", "ours")
    client.set_experiment_tag(tracker.experiment_id, VIEW_TAG, "of an older version")
    with Tracker.start(config):
        pass
    tags = client.get_experiment(tracker.experiment_id).tags
    assert (tags["mlflow.note.content"], tags[VIEW_TAG]) == ("ours", experiment.tags[VIEW_TAG])
    mlflow.set_tracking_uri(None)
