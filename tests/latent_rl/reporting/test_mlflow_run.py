"""What arrives in MLflow, on a real sqlite store."""

from __future__ import annotations

import logging
import math
import socket
import sqlite3
import time
from pathlib import Path

import mlflow
import pytest
import torch
from filelock import FileLock, Timeout
from mlflow import MlflowClient

from latent_rl.config.schema import Config
from latent_rl.envs.sudoku import Sudoku
from latent_rl.errors import UserError
from latent_rl.reporting.mlflow_run import LONGEST_PARAMETER, NullTracker, Tracker, _alone, start_tracking


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store that all tests share: making its tables takes a second."""
    return tmp_path_factory.mktemp("tracking")


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    yield
    assert mlflow.active_run() is None
    mlflow.set_tracking_uri(None)


def config(**values) -> Config:
    return Config(name="a-run", tracking={"uri": "sqlite:///mlflow.db"}, **values)


def client() -> MlflowClient:
    return MlflowClient("sqlite:///mlflow.db")


def history(run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client().get_metric_history(run_id, name)]


def test_nothing_is_said_on_the_screen(capfd) -> None:
    with Tracker.start(config()) as tracker:
        tracker.metrics({"train/loss": 1.0}, 1)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_no_point_is_lost(monkeypatch) -> None:
    monkeypatch.setattr("latent_rl.reporting.mlflow_run.SEND_EVERY_SECONDS", 0.01)
    with Tracker.start(config()) as tracker:
        for step in range(700):
            tracker.metrics({"train/loss": torch.tensor(step / 2), "eval/exact_accuracy": math.nan}, step)
    assert history(tracker.run_id, "train/loss") == [(step, step / 2) for step in range(700)]
    assert len(history(tracker.run_id, "eval/exact_accuracy")) == 700
    assert client().get_run(tracker.run_id).info.status == "FINISHED"


def test_the_resolved_configuration_is_there() -> None:
    options = {f"option_{k}": k for k in range(150)} | {"long": "x" * 10_000}
    with Tracker.start(config(seed=7, env={"options": options})) as tracker:
        pass
    run = client().get_run(tracker.run_id)
    assert run.info.run_name == "a-run"
    assert client().get_experiment(run.info.experiment_id).name == "latent_rl"
    assert run.data.params["seed"] == "7"
    assert run.data.params["optimizer.betas"] == "[0.9, 0.95]"
    assert run.data.params["env.options.option_149"] == "149"
    assert len(run.data.params["env.options.long"]) == LONGEST_PARAMETER
    assert "x" * 10_000 in mlflow.artifacts.load_text(f"{run.info.artifact_uri}/config.yaml")


def test_files(tmp_path) -> None:
    file = tmp_path / "summary.json"
    file.write_text("{}")
    with Tracker.start(config()) as tracker:
        tracker.artifact(file)
        tracker.artifact(file, "copies")
    listings = [client().list_artifacts(tracker.run_id, folder) for folder in ("", "copies")]
    names = {entry.path for listing in listings for entry in listing}
    assert {"summary.json", "copies/summary.json", "config.yaml"} <= names


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_how_a_run_ended(error: type[BaseException], status: str) -> None:
    with pytest.raises(error), Tracker.start(config()) as tracker:
        tracker.metrics({"train/loss": 3.0}, 5)
        raise error
    assert client().get_run(tracker.run_id).info.status == status
    assert history(tracker.run_id, "train/loss") == [(5, 3.0)]


def test_a_resumed_run_goes_on_in_the_same_run_and_notes_what_changed() -> None:
    with pytest.raises(KeyboardInterrupt), Tracker.start(config(budget={"updates": 10})) as first:
        first.metrics({"train/loss": 3.0}, 5)
        raise KeyboardInterrupt
    with start_tracking(config(budget={"updates": 20}), first.run_id) as second:
        second.metrics({"train/loss": 2.0}, 15)
    assert second.run_id == first.run_id
    run = client().get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["budget.updates"] == "10"
    assert {key: value for key, value in run.data.tags.items() if key.startswith("resumed.")} == {
        "resumed.budget.updates": "20"
    }
    assert history(first.run_id, "train/loss") == [(5, 3.0), (15, 2.0)]


def test_losing_the_store_for_a_while_costs_a_warning_and_no_point(monkeypatch, caplog) -> None:
    monkeypatch.setattr("latent_rl.reporting.mlflow_run.SEND_EVERY_SECONDS", 0.0)
    with Tracker.start(config()) as tracker:
        working = tracker._client.log_batch
        tracker._client.log_batch = lambda *_, **__: (_ for _ in ()).throw(OSError("disk is full\nand more"))
        with caplog.at_level(logging.WARNING):
            tracker.metrics({"train/loss": 1.0}, 1)
            tracker._sender.submit(lambda: None).result()
            tracker.metrics({"train/loss": 2.0}, 2)
        tracker._client.log_batch = working
    assert history(tracker.run_id, "train/loss") == [(1, 1.0), (2, 2.0)]
    assert "points wait" in caplog.text and "disk is full" in caplog.text and "and more" not in caplog.text


def test_losing_the_store_for_good_does_not_cost_the_run(caplog, tmp_path) -> None:
    with Tracker.start(config()) as tracker:
        tracker._client.log_batch = lambda *_, **__: (_ for _ in ()).throw(OSError("gone"))
        tracker.metrics({"train/loss": 1.0, "train/reward": 2.0}, 1)
        tracker.artifact(tmp_path / "missing.json")
    assert caplog.text.count("\n") == 1
    assert "2 points, missing.json could not be stored" in caplog.text


def test_a_store_that_hangs_is_asked_once_at_the_end_and_one_line_says_what_it_lacks(caplog, monkeypatch) -> None:
    monkeypatch.setattr("latent_rl.reporting.mlflow_run.HANGING_SECONDS", 0.1)
    asked = []

    def hang(*_, **__) -> None:
        asked.append(time.sleep(0.2))
        raise OSError("timed out")

    with Tracker.start(config()) as tracker:
        tracker._client.log_batch = tracker._client.log_artifact = hang
        tracker.metrics({"train/loss": 1.0}, 1)
        for name in ("summary.json", "a.png", "b.png"):
            tracker.artifact(Path(name))
        tracker.model(Path("model.pt"), puzzle=None)
    assert len(asked) == 1
    assert caplog.text.count("\n") == 1
    lost = "1 point, summary.json, a.png, b.png, the model could not be stored"
    assert lost in caplog.text and "timed out" in caplog.text


def test_an_outage_is_told_once(caplog, monkeypatch) -> None:
    monkeypatch.setattr("latent_rl.reporting.mlflow_run.SEND_EVERY_SECONDS", 0.0)
    with Tracker.start(config()) as tracker:
        working = tracker._client.log_batch
        tracker._client.log_batch = lambda *_, **__: (_ for _ in ()).throw(OSError("gone"))
        for step in range(5):
            tracker.metrics({"train/loss": 1.0}, step)
            tracker._sender.submit(lambda: None).result()
        tracker._client.log_batch = working
    assert caplog.text.count("points wait") == 1
    assert len(history(tracker.run_id, "train/loss")) == 5


def test_a_server_that_never_answers_is_refused_soon(monkeypatch, capfd) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the connection is made, and nobody reads it
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(UserError, match="MLflow cannot use .* timed out"):
            Tracker.start(Config(tracking={"uri": uri}))
    assert time.monotonic() - began < 30
    assert capfd.readouterr().err == ""


def test_a_database_that_another_program_holds_is_waited_for_only_seconds(tmp_path, monkeypatch, caplog, capfd) -> None:
    monkeypatch.setattr("latent_rl.reporting.mlflow_run.ANSWER_SECONDS", 1)
    # By its whole path: MLflow keeps what it has opened under a name, whatever the folder was then.
    own = Config(tracking={"uri": f"sqlite:///{tmp_path}/held.db"})
    with Tracker.start(own) as tracker:
        tracker.metrics({"train/loss": 1.0}, 1)
        holder = sqlite3.connect(tmp_path / "held.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        monkeypatch.setattr("latent_rl.reporting.mlflow_run.HANGING_SECONDS", 0.5)
    assert time.monotonic() - began < 30
    with pytest.raises(UserError, match="locked"):
        Tracker.start(own)
    holder.close()
    assert "1 point, the run's status could not be stored" in caplog.text and "locked" in caplog.text
    assert caplog.text.count("\n") == 1 and capfd.readouterr().err == ""


def test_a_database_that_was_deleted_costs_one_line(tmp_path, caplog, capfd) -> None:
    with Tracker.start(Config(tracking={"uri": f"sqlite:///{tmp_path}/mlflow.db"})) as tracker:
        tracker.metrics({"train/loss": 1.0}, 1)
        (tmp_path / "mlflow.db").unlink()
    assert caplog.text.count("\n") == 1 and "1 point" in caplog.text
    assert capfd.readouterr().err == ""


def test_a_run_inside_another_goes_on_without_a_lost_store(caplog, monkeypatch) -> None:
    with start_tracking(config()) as parent:
        lost = Config(tracking={"uri": "sqlite:////dev/null/x.db"})
        with start_tracking(lost) as child:
            assert type(child) is NullTracker
        assert mlflow.active_run().info.run_id == parent.run_id
    assert "this run is not tracked: MLflow cannot use" in caplog.text


def test_a_broken_store_is_told_in_one_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "file").write_text("no database")
    for uri in (
        "nonsense://x",
        f"sqlite:///{tmp_path}/file",
        f"sqlite:///{tmp_path}/file/below.db",
        "http://127.0.0.1:9",
    ):
        with pytest.raises(UserError, match="MLflow cannot use tracking.uri=.*tracking.enabled=false") as caught:
            Tracker.start(Config(tracking={"uri": uri}))
        assert uri in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="MLflow cannot use"):
        Tracker.start(config(), resume_run_id="0" * 32)


def test_the_null_tracker_takes_everything(tmp_path) -> None:
    with start_tracking(Config(tracking={"enabled": False, "uri": "nonsense://x"})) as tracker:
        tracker.metrics({"train/loss": 1.0}, 1)
        tracker.artifact(tmp_path / "missing")
    assert type(tracker) is NullTracker
    assert tracker.run_id is None


def test_a_run_waits_while_another_program_makes_the_database() -> None:
    with FileLock("mlflow.db.lock"), pytest.raises(Timeout):
        _alone("sqlite:///mlflow.db").acquire(timeout=0.1)
    with _alone("sqlite:///mlflow.db"), _alone("http://somewhere"):
        pass


def test_a_run_is_found_by_its_tags_and_says_what_it_is_and_on_which_puzzles(tmp_path) -> None:
    puzzle = Sudoku(4, train=20, test=5, validation=3, cache_dir=tmp_path)
    with Tracker.start(config(scheme="somewhere/own.yaml", device="cpu", env={"id": "latent_rl/Sudoku-v0"})) as tracker:
        tracker.describe("**solved**")
        tracker.data(puzzle)
    run = client().get_run(tracker.run_id)
    names = ("puzzle", "kind", "scheme", "device", "mlflow.note.content")
    assert [run.data.tags[name] for name in names] == ["sudoku-4x4", "training", "own", "cpu", "**solved**"]
    sets = {one.dataset.name: one for one in run.inputs.dataset_inputs}
    assert set(sets) == {"sudoku-4x4-train", "sudoku-4x4-validation", "sudoku-4x4-test"}
    assert len({one.dataset.digest for one in sets.values()}) == 3
    assert [tag.value for tag in sets["sudoku-4x4-test"].tags] == ["testing"]
    query = "tags.scheme = 'own' and tags.puzzle = 'sudoku-4x4'"
    assert len(client().search_runs([run.info.experiment_id], query)) == 1
