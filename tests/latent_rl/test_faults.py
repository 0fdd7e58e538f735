"""Training that diverges, a disk that is full, signals at bad moments, two runs at once: nothing good is lost."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from programs import Program
from small_runs import SMALL, same_weights, small_run, weights
from tiny_models import save_untrained, tiny_config

from latent_rl import train
from latent_rl.errors import UserError
from latent_rl.storage import load_model, load_training
from latent_rl.train import main
from latent_rl.training import Interruption, assemble
from latent_rl.training.learner import Learner

mistake = Program(main).mistake


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_figures: None) -> None:
    monkeypatch.chdir(tmp_path)


def last_line(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a program says that ends with code 2 after some work."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        Program(main)(*arguments)
    assert exit.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    return lines[-1]


@pytest.mark.parametrize("halting", [[], ["halting={rule: learned, ppo: {steps: 3, hidden: 8}}"]])
def test_divergence_stops_the_run_and_keeps_what_was_good(halting, capsys) -> None:
    run_dir = small_run("a", *halting)
    files = [run_dir / "checkpoint" / name for name in ("model.pt", "training.pt")]
    before = [file.read_bytes() for file in files]
    settings = ["budget.updates=60", "optimizer.lr=1e6", "checkpoint_every_seconds=0.01"]
    line = last_line(capsys, "--resume", run_dir, *settings)
    assert "training diverged" in line and "optimizer.lr" in line
    for file, content in zip(files, before, strict=True):
        # Some updates may pass before anything is infinite: what was saved is finite.
        assert file.read_bytes() == content or all(value.isfinite().all() for value in weights(run_dir).values())
    assert all(weight.isfinite().all() for weight in load_model(run_dir).reasoner.parameters())


def test_looking_for_divergence_does_not_wait_for_the_device_in_every_update(monkeypatch) -> None:
    looked = []
    monkeypatch.setattr(Learner, "diverged", property(lambda learner: looked.append(learner.updates) or False))
    small_run("a", "tracking.every_updates=4", updates=10)
    assert looked == [4, 8, 10]


def full_disk(monkeypatch: pytest.MonkeyPatch, which: Callable[[int], bool]) -> None:
    """Saving fails where `which` says so of its number, from 0, after half of the file."""
    save, calls = torch.save, []

    def failing(content: object, file: object) -> None:
        calls.append(content)
        if which(len(calls) - 1):
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(content, file)

    monkeypatch.setattr("latent_rl.storage.torch_files.torch.save", failing)


def test_a_checkpoint_that_does_not_fit_in_the_middle_is_a_warning(monkeypatch, capsys) -> None:
    straight = weights(small_run("straight", updates=8))
    full_disk(monkeypatch, lambda number: number < 3)
    run_dir = small_run("full", "checkpoint_every_seconds=1e-6", updates=8)
    said = capsys.readouterr().err
    warning = "warning: cannot write the checkpoint runs/full/checkpoint/training.pt: No space left on device"
    assert said.count(warning) == 1
    assert same_weights(weights(run_dir), straight)
    assert not list(run_dir.rglob("*.new"))


def test_a_last_checkpoint_that_does_not_fit_costs_no_result(monkeypatch, capsys) -> None:
    straight = weights(small_run("straight", updates=8))
    run_dir = small_run("full", updates=4)
    with monkeypatch.context() as patch:
        full_disk(patch, lambda number: True)
        line = last_line(capsys, "--resume", run_dir, "budget.updates=8", "--json", "result.json")
    assert "trained and measured, but cannot write the checkpoint" in line and "No space left" in line
    assert json.loads(Path("result.json").read_text())["updates"] == 8
    assert json.loads((run_dir / "summary.json").read_text())["updates"] == 8
    assert load_training(run_dir / "checkpoint", "cpu")["learner"]["updates"] == 4
    main(["--resume", str(run_dir)])
    assert same_weights(weights(run_dir), straight)


def test_results_that_do_not_fit_are_one_line(monkeypatch, capsys) -> None:
    run_dir = small_run("a")

    def full(figures: object, run_dir: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(run_dir / "figures"))

    monkeypatch.setattr("latent_rl.reporting.run_results.save_figures", full)
    line = last_line(capsys, "--resume", run_dir, "budget.updates=6")
    assert "cannot write runs/a/figures: No space left on device" in line
    assert json.loads((run_dir / "summary.json").read_text())["updates"] == 6


def test_a_folder_that_another_training_took_meanwhile_is_left_to_it(monkeypatch) -> None:
    def meanwhile(*arguments: object) -> object:
        Path("runs/a").mkdir(parents=True)
        Path("runs/a/config.yaml").write_text("theirs")
        return assemble(*arguments)

    monkeypatch.setattr("latent_rl.training.assemble", meanwhile)
    small_run("a")
    assert [path.name for path in Path("runs/a").iterdir()] == ["config.yaml"]
    assert Path("runs/a/config.yaml").read_text() == "theirs"
    assert Path("runs/a-2/summary.json").exists()


def test_a_refused_start_leaves_nothing_behind(monkeypatch, capsys) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    small_run("first")
    monkeypatch.setattr("os.fsync", refuse)
    assert "runs/a/config.yaml" in mistake(capsys, *SMALL, "budget.updates=2", "name=a")
    assert not Path("runs/a").exists()


def test_a_store_that_is_refused_leaves_nothing_behind(capsys) -> None:
    tracking = ["tracking={enabled: true, uri: 'sqlite:////proc/no/mlflow.db'}"]
    assert "MLflow cannot use" in mistake(capsys, *SMALL, *tracking, "budget.updates=2", "name=a")
    assert not Path("runs").exists()


def test_a_disk_that_is_full_is_called_so(tmp_path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write the checkpoint .*model\.pt: File too large"):
            save_untrained(tmp_path, tiny_config(tmp_path, "network.width=64"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"]


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_while_all_is_measured_ends_the_program_and_loses_nothing(name, monkeypatch, capsys) -> None:
    straight = weights(small_run("straight"))
    measure = train.measure

    def struck(run: object, split: str, puzzles: int | None = None) -> object:
        if puzzles is None:
            os.kill(os.getpid(), getattr(signal, name))
        return measure(run, split, puzzles)

    with monkeypatch.context() as patch:
        patch.setattr(train, "measure", struck)
        with pytest.raises(SystemExit) as exit:
            Program(lambda _: small_run("stopped"))()
    assert exit.value.code == 130
    assert "--resume runs/stopped" in capsys.readouterr().err
    assert not Path("runs/stopped/summary.json").exists()
    main(["--resume", "runs/stopped"])
    assert Path("runs/stopped/summary.json").exists()
    assert same_weights(weights(Path("runs/stopped")), straight)


@pytest.mark.parametrize("name", SIGNALS)
def test_every_signal_that_ends_a_program_asks_for_a_stop(name) -> None:
    before = signal.getsignal(getattr(signal, name))
    with Interruption() as interruption:
        os.kill(os.getpid(), getattr(signal, name))
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            interruption.stop_at_once()
    assert signal.getsignal(getattr(signal, name)) == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interruption.requested
    finally:
        signal.signal(signal.SIGHUP, before)
