"""How busy the machine is: read now and then, numbered on, and nothing that a run can be lost by."""

from __future__ import annotations

import threading
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from latent_rl.config import load_config
from latent_rl.reporting import mlflow_run, system


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(system, "EVERY_SECONDS", 0.0)
    # Who asks for MLflow's own thread gets these readings, and not both.
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")


CONFIG = load_config("sudoku-4x4", ["tracking.uri=sqlite:///store.db"])


def test_readings_are_sent_with_the_charts_and_go_on_when_a_run_does() -> None:
    with mlflow_run.start_tracking(CONFIG) as tracker:
        assert not [thread for thread in threading.enumerate() if "SystemMetrics" in thread.name]
        for step in (50, 100):
            tracker.metrics({"train/loss": 1.0}, step)
    with mlflow_run.start_tracking(CONFIG, tracker.run_id) as again:
        again.metrics({"train/loss": 1.0}, 150)
    mlflow.set_tracking_uri(None)
    client = MlflowClient("sqlite:///store.db")
    names = {name for name in client.get_run(tracker.run_id).data.metrics if name.startswith("system/")}
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_percentage"} <= names
    for name in names:
        assert [point.step for point in client.get_metric_history(tracker.run_id, name)] == [0, 1, 2]


def test_a_machine_that_cannot_be_read_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden() -> None:
        raise OSError("hidden")

    with mlflow_run.start_tracking(CONFIG) as tracker:
        with monkeypatch.context() as patch:
            patch.setattr("psutil.cpu_percent", hidden)
            tracker.metrics({"train/loss": 1.0}, 50)
        tracker.metrics({"train/loss": 1.0}, 100)
    monkeypatch.setattr("psutil.cpu_percent", hidden)
    with mlflow_run.start_tracking(CONFIG) as tracker:
        tracker.metrics({"train/loss": 1.0}, 50)
    mlflow.set_tracking_uri(None)
    assert set(MlflowClient("sqlite:///store.db").get_run(tracker.run_id).data.metrics) == {"train/loss"}


def test_readings_are_ten_seconds_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "EVERY_SECONDS", 10.0)
    clock = [100.0]
    monkeypatch.setattr(system.time, "monotonic", lambda: clock[-1])
    readings = system.SystemMetrics("0" * 32, "sqlite:///store.db", first=3)
    found = []
    for now in (105.0, 111.0, 115.0, 122.0):
        clock.append(now)
        found.append(readings.read())
    assert [bool(values) for values, _ in found] == [False, True, False, True]
    assert [number for values, number in found if values] == [3, 4]
