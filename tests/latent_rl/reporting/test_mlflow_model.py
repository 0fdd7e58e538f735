"""The model in MLflow: logged by a run, loaded by a fresh process, solving puzzles."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from mlflow import MlflowException
from tensordict import TensorDict
from tiny_models import oracle, save_untrained, tiny_config
from torch import Tensor

from latent_rl.agents import HaltingPolicy, RecursiveReasoner, think
from latent_rl.agents.halting.policy import HaltingFeatures
from latent_rl.measuring import solve, stopping_rule
from latent_rl.reporting.boards import as_line
from latent_rl.reporting.mlflow_model import PuzzleSolver
from latent_rl.reporting.mlflow_run import Tracker
from latent_rl.storage.checkpoint import load_model, save_model
from latent_rl.training.parts import build_puzzle, build_reasoner

FRESH_PROCESS = """\
import json, sys, mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
puzzles = json.loads(sys.argv[3])
frame = model.predict(pandas.DataFrame({"puzzle": puzzles}))
short = model.predict([{"puzzle": puzzles[0]}], params={"steps": 1})
print(json.dumps([frame.to_dict("list"), short.to_dict("list"), model.metadata.signature.to_dict()]))
"""


def test_a_fresh_process_loads_the_logged_model_and_solves(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    config = tiny_config(tmp_path / "cache", f"tracking.uri={uri}")
    file = save_untrained(tmp_path / "run", config)
    puzzle = build_puzzle(config)
    with Tracker.start(config) as tracker:
        tracker.model(file, puzzle)
    mlflow.set_tracking_uri(None)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")

    inputs = puzzle.instances("test").inputs
    lines = [as_line(puzzle, board) for board in inputs]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    finished = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, uri, f"runs:/{tracker.run_id}/model", json.dumps(lines)],
        capture_output=True,
        text=True,
        cwd=elsewhere,
    )
    assert finished.returncode == 0, finished.stderr
    frame, short, signature = json.loads(finished.stdout)

    expected = solve(load_model(file).reasoner, puzzle, inputs, steps=3)
    assert frame["answer"] == [as_line(puzzle, answer) for answer in expected.answers[-1]]
    assert frame["solved"] == expected.solved[-1].tolist()
    assert frame["confidence"] == pytest.approx(expected.confidence[-1].tolist())
    assert frame["passes"] == [9] * len(lines)
    assert short["answer"] == [as_line(puzzle, expected.answers[0, 0])]
    assert short["passes"] == [3]
    assert [column["name"] for column in json.loads(signature["inputs"])] == ["puzzle"]
    assert [column["name"] for column in json.loads(signature["outputs"])] == list(frame)

    files = {path.name for path in (tmp_path / "mlruns").rglob("*") if path.is_file()}
    assert {"model.pt", "MLmodel", "requirements.txt", "input_example.json"} <= files
    assert not [name for name in files if name.endswith(".pkl")]


@pytest.fixture
def solver(tmp_path, monkeypatch) -> PuzzleSolver:
    known = oracle(tiny_config(tmp_path))
    monkeypatch.setattr("latent_rl.reporting.mlflow_model.load_model", lambda path, device: known)
    monkeypatch.setattr("latent_rl.reporting.mlflow_model.BATCH_SIZE", 4)
    solver = PuzzleSolver()
    solver.load_context(type("Context", (), {"artifacts": {"checkpoint": "anything"}}))
    return solver


def test_right_answers_keep_order_and_index_over_several_batches(solver, tmp_path) -> None:
    puzzle = build_puzzle(tiny_config(tmp_path))
    test = puzzle.instances("test")
    texts = [puzzle.render(board) for board in test.inputs]  # drawn boards are understood as well
    index = [f"p{row}" for row in range(len(texts))]
    frame = solver.predict(None, pd.DataFrame({"note": texts, "puzzle": texts}, index=index))
    assert frame["answer"].tolist() == [as_line(puzzle, board) for board in test.solution]
    assert frame["solved"].all()
    assert frame.index.tolist() == index
    assert solver.predict(None, pd.DataFrame({"puzzle": []})).empty


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("." * 15, None, "row 1: sudoku-4x4 has 16 cells"),
        ("11" + "." * 14, None, "row 1: sudoku-4x4: row 1 has two 1s"),
        (("." * 16 + "\n") * 2, None, "row 1: expected one puzzle a row, got 2"),
        ("." * 16, {"steps": -1}, "steps must be at least 1"),
    ],
)
def test_a_bad_row_is_named(solver, text: str, params: dict[str, int] | None, message: str) -> None:
    with pytest.raises(MlflowException, match=message):
        solver.predict(None, pd.DataFrame({"puzzle": ["321...32.12.23.1", text]}), params)


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    """A folder with a logged, twice registered model that stops by a halting policy, and its model file."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        uri = f"sqlite:///{folder}/mlflow.db"
        config = tiny_config(folder / "cache", f"tracking.uri={uri}", "tracking.register_as=sudoku")
        puzzle = build_puzzle(config)
        torch.manual_seed(0)
        reasoner = build_reasoner(config, puzzle, torch.device("cpu"))
        policy = undecided(reasoner, puzzle.instances("test").inputs)
        file = save_model(folder / "run" / "checkpoint", reasoner, config, updates=0, halting=policy)
        for about in ("**first**", "**second**"):
            with Tracker.start(config) as tracker:
                tracker.model(file, puzzle, about)
        yield file, f"runs:/{tracker.run_id}/model"
        mlflow.set_tracking_uri(None)


def undecided(reasoner: RecursiveReasoner, inputs: Tensor) -> HaltingPolicy:
    """A halting policy that stops about half of some puzzles after the first step."""
    policy = HaltingPolicy(reasoner.config.width)
    taken = next(think(reasoner, inputs, torch.zeros(len(inputs), dtype=torch.long), 1))
    seen = {"next_y": taken.output.y, "logits": taken.output.logits, "q": taken.output.q, "answer": taken.answer}
    seen |= {"previous": inputs, "step": torch.zeros(len(inputs), dtype=torch.long)}
    features = HaltingFeatures()(TensorDict(seen, [len(inputs)]))["features"]
    with torch.no_grad():
        torch.nn.init.normal_(policy.actor[-1].weight, std=100.0)
        policy.actor[-1].bias -= policy.actor(features).median()
    return policy


@contextmanager
def server(uri: str) -> Iterator[str]:
    """What `mlflow models serve` runs, on the loopback interface; its address."""
    import uvicorn
    from mlflow.pyfunc import scoring_server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = scoring_server.init(mlflow.pyfunc.load_model(uri))
    serving = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=lambda: asyncio.run(serving.serve()), daemon=True)
    thread.start()
    while not serving.started:
        thread.join(0.05)
        assert thread.is_alive()
    yield f"http://127.0.0.1:{port}/invocations"
    serving.should_exit = True
    thread.join()


def ask(address: str, body: object) -> list[dict[str, object]]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["predictions"]


def test_a_served_model_answers_many_puzzles_in_one_request_each_stopped_for_itself(logged) -> None:
    file, uri = logged
    trained = load_model(file)
    puzzle = build_puzzle(trained.config)
    boards = puzzle.instances("test").inputs
    rows = [{"puzzle": as_line(puzzle, board)} for board in boards]
    rule = stopping_rule("learned", trained, puzzle)
    alone = [solve(trained.reasoner, puzzle, board[None], 3, halting=rule) for board in boards]
    with server(uri) as address:
        answers = ask(address, {"dataframe_records": rows})
        short = ask(address, {"dataframe_records": rows[:1], "params": {"steps": 1}})
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(address, {"dataframe_records": [{"puzzle": "12"}]})
    assert [row["answer"] for row in answers] == [as_line(puzzle, one.answers[-1, 0]) for one in alone]
    assert [row["passes"] for row in answers] == [one.passes[-1] for one in alone]
    assert [row["solved"] for row in answers] == [bool(one.solved[-1, 0]) for one in alone]
    assert [row["confidence"] for row in answers] == pytest.approx([float(one.confidence[-1, 0]) for one in alone])
    assert len({row["passes"] for row in answers}) > 1
    assert short[0]["passes"] == 3
    assert refused.value.code == 400
    assert "row 0: sudoku-4x4 has 16 cells" in json.load(refused.value)["message"]


def test_a_registered_model_is_found_by_its_alias_and_newer_versions_do_not_take_it(logged) -> None:
    client = mlflow.MlflowClient()
    assert [client.get_model_version("sudoku", version).description for version in (1, 2)] == [
        "**first**",
        "**second**",
    ]
    assert int(client.get_model_version_by_alias("sudoku", "champion").version) == 1
    answer = mlflow.pyfunc.load_model("models:/sudoku@champion").predict([{"puzzle": "321...32.12.23.1"}])
    assert len(answer["answer"][0]) == 16
