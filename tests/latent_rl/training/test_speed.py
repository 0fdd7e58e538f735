"""Precision and compilation: settled by measuring, once a machine, and never on the clock of training."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from programs import Program
from small_runs import SMALL, same_weights, small_run, weights
from tiny_models import save_untrained, tiny_config

from latent_rl import evaluate
from latent_rl.config import Config, load_config
from latent_rl.envs import puzzle_from_id, register_puzzle, registered_ids
from latent_rl.errors import UserError
from latent_rl.train import main
from latent_rl.training import accelerate, assemble, speed

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_figures: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENT_RL_CACHE", str(tmp_path / "cache"))
    if "tests/Backwards-v0" not in registered_ids():
        register_puzzle("tests/Backwards-v0", "toy_puzzle:Backwards")


@pytest.fixture
def took(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, bool], float | Exception]:
    """What measuring finds, in place of a measurement; asked for what is not here, it fails."""
    found: dict[tuple[str, bool], float | Exception] = {("float32", False): 10.0}

    def milliseconds(config: Config, puzzle: object, device: object, precision: str, compiled: bool) -> float:
        if isinstance(answer := found[precision, compiled], Exception):
            raise answer
        return answer

    monkeypatch.setattr(speed, "_milliseconds", milliseconds)
    return found


def settled(*settings: str) -> tuple[tuple[str, bool], list[str]]:
    config = load_config("sudoku-4x4", [*SMALL, *settings])
    found, lines = speed.settle(config, puzzle_from_id(config.env.id, **config.env.options), CPU)
    return (found.precision, found.compile), lines


LONG = "budget.seconds=1000"


def test_what_is_said_is_done_without_measuring(took: dict) -> None:
    took.clear()
    assert settled("precision=bfloat16", "compile=true") == (("bfloat16", True), [])


def test_the_fastest_is_taken_and_said_in_one_line(took: dict) -> None:
    took |= {("bfloat16", False): 8.0, ("float32", True): 7.0, ("bfloat16", True): 5.0}
    choice, lines = settled("precision=auto", "compile=auto", LONG)
    assert choice == ("bfloat16", True)
    assert lines == [
        "precision=auto compile=auto: bfloat16 compiled (a step and its gradient: float32 10.0 ms, "
        "float32 compiled 7.0 ms, bfloat16 8.0 ms, bfloat16 compiled 5.0 ms)"
    ]


def test_noise_is_no_reason_to_leave_float32(took: dict) -> None:
    took["bfloat16", False] = 9.5
    assert settled("precision=auto")[0] == ("float32", False)


def test_what_is_fixed_stays(took: dict) -> None:
    took |= {("bfloat16", False): 30.0, ("bfloat16", True): 20.0}
    assert settled("precision=bfloat16", "compile=auto", LONG)[0] == ("bfloat16", True)


def test_a_short_training_is_not_compiled(took: dict) -> None:
    # Asked for a compiled network, `took` would fail.
    assert settled("compile=auto", "budget.seconds=60")[0] == ("float32", False)
    assert settled("compile=auto", "budget.updates=100")[0] == ("float32", False)


def test_passes_of_a_budget_are_those_of_all_processes() -> None:
    config = load_config("sudoku-4x4", [*SMALL, "budget.seconds=null", "budget.passes=100_000"])
    a_step = config.collector.num_envs * config.network.cycles * (config.network.inner_updates + 1)
    milliseconds = 1e3 * speed.LONG_SECONDS / (100_000 / a_step)
    assert speed._is_long(config, 1.01 * milliseconds, processes=1)
    assert not speed._is_long(config, 1.01 * milliseconds, processes=2)
    assert speed._is_long(config, 2.02 * milliseconds, processes=2)


@pytest.mark.parametrize("asked", ["compile=auto", "precision=auto"])
def test_what_does_not_run_here_is_done_without_in_one_line(took: dict, asked: str) -> None:
    took |= {("bfloat16", False): RuntimeError("no bfloat16"), ("float32", True): RuntimeError("no C++ compiler")}
    choice, lines = settled(asked, LONG)
    other = "float32 compiled" if asked == "compile=auto" else "bfloat16"
    assert choice == ("float32", False)
    assert lines[0] == f"{other} does not run on this machine: done without" and len(lines) == 2


def test_a_machine_is_asked_once(took: dict, tmp_path: Path) -> None:
    took["bfloat16", False] = 5.0
    settled("precision=auto")
    took.clear()
    assert settled("precision=auto")[0] == ("bfloat16", False)
    (file,) = (tmp_path / "cache").glob("speed-*.json")
    file.write_text("{")
    took |= {("float32", False): 10.0, ("bfloat16", False): 50.0}
    assert settled("precision=auto")[0] == ("float32", False)
    assert json.loads(file.read_text()) == {"float32": 10.0, "bfloat16": 50.0}


def test_a_run_records_what_was_settled_and_resumes_with_it(took: dict, capsys: pytest.CaptureFixture[str]) -> None:
    took["bfloat16", False] = 5.0
    auto = small_run("auto", "precision=auto", updates=4)
    assert "precision=auto: bfloat16 (" in capsys.readouterr().err
    assert yaml.safe_load((auto / "config.yaml").read_text())["precision"] == "bfloat16"
    said = small_run("said", "precision=bfloat16", updates=4)
    assert same_weights(weights(auto), weights(said))
    took.clear()  # and whoever measures again fails
    for run_dir in (auto, said):
        main(["--resume", str(run_dir), "budget.updates=6"])
    assert same_weights(weights(auto), weights(said))


def test_a_compiler_works_before_the_clock_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(function: Callable[..., object]) -> Callable[..., object]:
        compiled = []

        def call(*arguments: object) -> object:
            if not compiled:
                time.sleep(3)
                compiled.append(True)
            return function(*arguments)

        return call

    monkeypatch.setattr(torch, "compile", slowly)
    run_dir = small_run("compiled", "compile=true", updates=2)
    assert json.loads((run_dir / "summary.json").read_text())["train_seconds"] < 3


def test_measuring_and_warming_up_touch_nothing_that_training_sees() -> None:
    settings = [*SMALL, "network.puzzle_embedding_width=8"]
    plain = assemble(load_config("sudoku-4x4", settings))
    drawn = torch.rand(3)
    measured = assemble(load_config("sudoku-4x4", [*settings, "precision=auto"]))
    assert torch.equal(torch.rand(3), drawn)
    assert measured.notes and not plain.notes
    before = {name: value.clone() for name, value in measured.reasoner.state_dict().items()}
    passes = measured.ledger.state_dict()
    other = assemble(load_config("sudoku-4x4", settings))
    speed.warm_up(reasoner := other.reasoner.__class__(other.reasoner.config), other.config)
    assert all(weight.grad is None for weight in reasoner.parameters())
    assert reasoner.embed_puzzle.take_gradient() is None
    assert passes == {"forward": {}, "backward": {}} and measured.clock.seconds == 0.0
    assert all(torch.equal(value, plain.reasoner.state_dict()[name]) for name, value in before.items())


def no_compiler(function: object) -> object:
    def fail(*arguments: object) -> None:
        raise RuntimeError("No working C++ compiler found\nand much more")

    return fail


def test_without_a_compiler_a_compiled_training_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(
        UserError, match=r"^compile=true: the network cannot be compiled here \(No working C\+\+ [^\n]*$"
    ):
        assemble(load_config("sudoku-4x4", [*SMALL, "compile=true"]))


def test_a_trained_model_goes_on_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that was compiled where it was trained is measured where there is none."""
    save_untrained(tmp_path / "run", tiny_config(tmp_path / "cache", "compile=true"))
    monkeypatch.setattr(torch, "compile", no_compiler)
    measure = Program(evaluate.main)
    for named in ((), ("compile=true",)):
        measure(tmp_path / "run", "--device", "cpu", *named)
    reason = "the network cannot be compiled here (No working C++ compiler found): goes on without"
    assert caplog.text.count(reason) == 2


def test_a_trained_model_is_told_which(took: dict) -> None:
    config = load_config("sudoku-4x4", [*SMALL, "precision=auto"])
    with pytest.raises(UserError, match="precision=auto is settled when a training starts"):
        accelerate(assemble(load_config("sudoku-4x4", SMALL)).reasoner, config)


def test_a_reasoner_over_candidates_is_measured_and_warmed_up_too() -> None:
    settings = [*SMALL, "scheme=deduce", "network.inner_updates=2"]
    made = assemble(load_config("sudoku-4x4", [*settings, "precision=auto"]))
    assert len(made.notes) == 1 and "precision=auto" in made.notes[0]
    reasoner = made.reasoner.__class__(made.reasoner.config)
    speed.warm_up(reasoner, made.config)
    assert all(weight.grad is None for weight in reasoner.parameters())
