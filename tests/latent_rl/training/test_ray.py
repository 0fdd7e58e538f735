"""Collecting in processes that Ray starts: as those of `MultiSyncCollector`, and quietly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from programs import Program
from small_runs import SMALL, same_weights, weights

from latent_rl.config import load_config
from latent_rl.errors import UserError
from latent_rl.train import main
from latent_rl.training import assemble

ROOT = Path(__file__).parents[3]
PUZZLE = "env.id=toy_registered:toys/Elsewhere-v0"
SETTINGS = [
    *(setting for setting in SMALL if not setting.startswith(("env.id", "collector"))),
    PUZZLE,
    "collector={mode: replay, num_envs: 8, steps_per_batch: 3, minibatch_size: 12, workers: 2}",
    "loss.terms.return={}",
    "threads=1",
    # Starting counts, and can take longer than the minute of the preset where others use the cores.
    "budget.seconds=6000",
]
RAY = [*SETTINGS, "collector.backend=ray"]


def test_settings_that_do_not_fit_are_refused(capsys) -> None:
    reason = Program(main).mistake(capsys, "collector={mode: replay, backend: ray}")
    assert "backend=ray starts workers: say how many" in reason


def test_without_the_package_it_is_said_how_to_install_it(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install -c constraints.txt -e '.[ray]'" in Program(main).mistake(
        capsys, *RAY, "name=never", "budget.updates=4"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def _ray(tmp_path, monkeypatch) -> None:
    """The package, for runs in a folder of their own, with this machine's actors finding the toy puzzle."""
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # Ray's processes have the environment of who starts them, not its path. The repository stands first: `tests` has a
    # folder of the package's name.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_what_processes_come_to_bit_by_bit(_ray, without_figures) -> None:
    main([*SETTINGS, "name=whole", "budget.updates=8"])
    main([*RAY, "name=parts", "budget.updates=4"])
    main(["--resume", "runs/parts", "budget.updates=8", PUZZLE])
    whole, parts = (json.loads(Path(f"runs/{name}/summary.json").read_text()) for name in ("whole", "parts"))
    for key in ("updates", "train_passes_total", "train_gradient_passes_total", "puzzles_seen", "exact_accuracy"):
        assert whole[key] == parts[key]
    assert same_weights(weights(Path("runs/whole")), weights(Path("runs/parts")))


@pytest.mark.slow
def test_actors_collect_with_the_weights_that_they_were_sent_until_one_is_gone(_ray) -> None:
    import ray

    run = assemble(load_config("sudoku-4x4", [*RAY, "budget.updates=10"]))
    try:
        for updates in (0, 7):
            with torch.no_grad():
                for parameter in run.reasoner.parameters():
                    parameter.add_(0.01)
            run.collection.send_weights(updates)
            batch = next(run.collection)
            assert batch.shape == (8, 3) and (batch["weights_of"] == updates).all()
            with run.ledger.phase("update"):
                again = run.policy.replay(batch.reshape(-1))
            assert torch.allclose(again["logits"], batch["logits"].flatten(0, 1), atol=1e-5)
        assert run.ledger.forward["collect"] == 2 * 8 * 3 * run.reasoner.config.passes_per_step
        # The rows of the first worker come first.
        last = batch[:4, -1]["next"]
        goes_on = ~last["done"][:, 0]
        assert torch.equal(run.collection.episodes["step"][goes_on], last["step"][goes_on])
        assert torch.equal(run.collection.episodes["inputs"][goes_on], last["inputs"][goes_on])
        ray.kill(run.collection._collector.remote_collectors[1])
        with pytest.raises(UserError, match="a worker is gone"):
            next(run.collection)
    finally:
        run.collection.close()
    assert not ray.is_initialized()


@pytest.mark.slow
def test_where_no_cluster_answers_it_is_said(_ray, monkeypatch, capsys) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert "no cluster at RAY_ADDRESS=127.0.0.1:1" in Program(main).mistake(capsys, *RAY, "budget.updates=4")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGTERM"])
def test_a_signal_of_the_terminal_stops_the_run_saved_and_ray_says_nothing(_ray, name) -> None:
    command = [sys.executable, "-m", "latent_rl.train", *RAY, "name=stopped", "budget.updates=1000000"]
    with open("out", "w") as out, open("err", "w") as err:
        program = subprocess.Popen(
            [*command, "checkpoint_every_seconds=0.01"], stdout=out, stderr=err, start_new_session=True
        )
    limit = time.monotonic() + 300
    while not Path("runs/stopped/checkpoint/training.pt").exists():
        assert program.poll() is None and time.monotonic() < limit, Path("err").read_text()
        time.sleep(0.2)
    if name == "SIGTERM":  # which a terminal does not send to all
        program.send_signal(signal.SIGTERM)
    else:
        os.killpg(program.pid, getattr(signal, name))
    assert program.wait(300) == 130
    said = Path("out").read_text() + Path("err").read_text()
    assert "stopped and saved" in said
    # A hang-up ends Python's own tracker of shared memory, with any workers, and what that says is not Ray's.
    assert name == "SIGHUP" or not any(word in said for word in (" ray", "Ray", "actor", "Traceback"))
