"""Checkpoints that were worn, changed by hand, or may not be read: each is told in one line, and none is taken in."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from programs import Program
from tiny_models import save_untrained, tiny_config

from latent_rl import evaluate, halt
from latent_rl.errors import UserError
from latent_rl.storage import load_model, load_training
from latent_rl.storage.training_state import random_states, restore_random_states
from latent_rl.train import main

OLD = Path(__file__).parents[2] / "data" / "run-0.1.0" / "checkpoint"

mistake = Program(main).mistake


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("model")
    return save_untrained(folder, tiny_config(folder)).read_bytes()


def tiny_overrides(*more: str) -> list[str]:
    """The settings of `tiny_config` for the command line."""
    return ["env.options={train: 20, test: 6}", "network.width=16", "network.heads=2", "device=cpu", *more]


def contents(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: contents(child) for key, child in value.items()}
    return (value.dtype, value.shape, value.numpy().tobytes()) if isinstance(value, torch.Tensor) else value


def test_a_flipped_bit_is_damage_or_means_nothing(model, tmp_path) -> None:
    sound = contents(torch.load(io.BytesIO(model), weights_only=True))
    file, refused = tmp_path / "model.pt", 0
    for seed in range(300):
        at = random.Random(seed).randrange(8 * len(model))
        worn = bytearray(model)
        worn[at // 8] ^= 1 << at % 8
        file.write_bytes(worn)
        try:
            load_model(file)
        except UserError as error:
            refused += 1
            assert str(file) in str(error) and "\n" not in str(error)
        else:
            assert contents(torch.load(file, weights_only=True)) == sound, f"bit {at}"
    assert refused > 200


def test_every_cut_is_refused(model, tmp_path) -> None:
    file = tmp_path / "model.pt"
    for percent in range(0, 100, 4):
        file.write_bytes(model[: len(model) * percent // 100])
        with pytest.raises(UserError, match="damaged, truncated or not a checkpoint"):
            load_model(file)


def test_other_kinds_of_files_are_refused_without_advice_to_run_them(tmp_path) -> None:
    import pickle

    file = tmp_path / "model.pt"
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**26))
    for content in (
        pickle.dumps({"weights": 1}),
        pickle.dumps(Path("x")),
        bomb.getvalue(),
        b"",
        b"PK\x03\x04",
        b"hello",
    ):
        file.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserError) as refused:
                load_model(file)
        assert str(refused.value).isprintable()
        assert "weights_only" not in str(refused.value)
        assert not str(refused.value).rpartition(" ")[2].isdigit()


def test_a_file_of_torchs_old_format_loads(model, tmp_path) -> None:
    content = torch.load(io.BytesIO(model), weights_only=True)
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    assert load_model(tmp_path / "model.pt").updates == 0


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = value

    return change


MODELS = {
    "another format": put("format", value=0),
    "a true format": put("format", value=True),
    "a format that is a tensor": put("format", value=torch.ones(3)),
    "heads beyond all bounds": lambda content: [
        put(*where, "heads", value=10**9)(content) for where in (["reasoner"], ["config", "network"])
    ],
    "heads that its configuration does not know": put("reasoner", "heads", value=7),
    "a number in words": put("reasoner", "width", value="16"),
    "a board without a kernel": put("reasoner", "grid_shape", value=(4, 4)),
    "a halting rule that there is not": put("config", "halting", "rule", value="x"),
    "endless cycles": put("reasoner", "cycles", value=10**9),
    "endless inner updates": put("reasoner", "inner_updates", value=10**30),
    "layers without weights": put("reasoner", "layers", value=10**9),
    "huge": put("reasoner", "width", value=10**9),
    "an expansion below 0": put("reasoner", "expansion", value=-1.0),
    "a kernel below 0": put("reasoner", "kernel", value=-3),
    "a width in words": put("reasoner", "width", value="wide"),
    "an unknown field": put("reasoner", "colour", value=1),
    "no weights": put("weights", value={}),
    "weights in words": put("weights", value="none"),
    "weights of integers": lambda content: content["weights"].update(initial_y=torch.zeros(16, dtype=torch.int64)),
    "infinite weights": lambda content: content["weights"].update(initial_y=torch.full((16,), torch.inf)),
    "updates in words": put("updates", value="many"),
    "true updates": put("updates", value=True),
    "updates below 0": put("updates", value=-1),
    "halting without weights": put("halting", value={"shape": {"width": 10**9, "hidden": 10**9}, "weights": {}}),
    "no configuration": put("config", value=None),
}


@pytest.mark.parametrize("change", MODELS)
def test_a_model_changed_by_hand_is_refused_in_one_line(model, tmp_path, change) -> None:
    content = torch.load(io.BytesIO(model), weights_only=True)
    MODELS[change](content)
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(UserError, match="model.pt") as refused:
        load_model(tmp_path / "model.pt")
    assert str(refused.value).isprintable() and len(str(refused.value)) < 400


def test_a_board_of_another_puzzle_is_refused_before_anything_runs(tmp_path, capsys) -> None:
    file = save_untrained(tmp_path, tiny_config(tmp_path, "network.kernel=3"))
    content = torch.load(file, weights_only=True)
    for shape, said in (((9, 9), "grid_shape=(9, 9)"), ((2, 8), "grid_shape=(2, 8), sudoku-4x4 (4, 4)")):
        content["reasoner"]["grid_shape"] = shape
        torch.save(content, file)
        assert said in Program(evaluate.main).mistake(capsys, tmp_path)


def test_more_puzzle_embeddings_than_the_puzzle_has(model, tmp_path, capsys) -> None:
    content = torch.load(io.BytesIO(model), weights_only=True)
    content["reasoner"]["num_puzzle_ids"] = 10**12
    torch.save(content, tmp_path / "model.pt")
    assert "num_puzzle_ids=1000000000000, sudoku-4x4 0" in Program(evaluate.main).mistake(capsys, tmp_path)


INFINITE = {
    "ours": lambda content: content["weights"].update(initial_y=torch.full((16,), torch.inf)),
    "a nonsense format": put("format", value="abc"),
    "nonsense updates": put("updates", value="abc"),
}


@pytest.mark.parametrize("change", INFINITE)
@pytest.mark.parametrize("program", [evaluate.main, halt.main, main])
def test_what_no_model_can_be_no_program_takes(program, change, model, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    content = torch.load(io.BytesIO(model), weights_only=True)
    INFINITE[change](content)
    torch.save(content, "model.pt")
    start = ["--init", "model.pt", *tiny_overrides()] if program is main else ["model.pt"]
    assert "model.pt" in Program(program).mistake(capsys, *start)
    assert not Path("runs").exists()


@pytest.mark.parametrize("program", [evaluate.main, halt.main, main])
def test_official_weights_that_are_infinite_are_refused(program, tmp_path, monkeypatch, capsys) -> None:
    state = torch.load(Path(__file__).parents[2] / "golden" / "trm_mlp.pt", weights_only=True)
    name = next(name for name, tensor in state.items() if tensor.is_floating_point())
    state[name] = torch.full_like(state[name], torch.inf)
    monkeypatch.chdir(tmp_path)
    torch.save(state, "model.pt")
    start = ["--init", "model.pt"] if program is main else ["model.pt", "--config", "sudoku-4x4"]
    assert "holds values that are not finite" in Program(program).mistake(capsys, *start)


def test_weights_of_another_width_are_refused_by_the_name_of_the_setting(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    save_untrained(tmp_path, tiny_config(tmp_path))
    settings = tiny_overrides("network.width=32")
    line = mistake(capsys, "--init", ".", *settings)
    assert "network.width is 16 there and 32 here" in line
    assert not Path("runs").exists()


def first_moment(value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: put("exp_avg", value=value)(content["optimizers"][0]["state"][0])


TRAININGS = {
    "no history": lambda content: content.pop("history"),
    "a history of words": put("history", value=["late"]),
    "no seconds": put("train_seconds", value=None),
    "seconds that are not a number": put("train_seconds", value=float("nan")),
    "puzzles in a dictionary": put("finished_puzzles", value={}),
    "updates that are not a number": put("learner", "updates", value=float("nan")),
    "huge updates": put("learner", "updates", value=10**30),
    "no random states": lambda content: content.pop("random"),
    "a list of random states": put("random", value=[1]),
    "random states without torch's": lambda content: content["random"].pop("torch"),
    "a random state of another kind": put("random", "torch", value=torch.zeros(3)),
    "random states of devices in words": put("random", "cuda", value="none"),
    "another format": put("format", value=torch.zeros(3)),
    "episodes in words": put("environment", "episodes", "inputs", value="none"),
    "a ledger in words": put("ledger", "forward", "collect", value="many"),
    "a ledger without its first entry": lambda content: content["ledger"].pop("forward"),
    "no optimizer": put("learner", "optimizers", value=[]),
    "a moment in words": lambda content: first_moment("none")(content["learner"]),
    "a moment of another shape": lambda content: first_moment(torch.zeros(7, 7))(content["learner"]),
    "another puzzle": put("puzzle", value="nqueens-8"),
    "a puzzle in numbers": put("puzzle", value=8),
    "a run id in numbers": put("mlflow_run_id", value=8),
}


@pytest.mark.parametrize("change", TRAININGS)
def test_a_training_changed_by_hand_is_refused_in_one_line(change, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD.parent, "run")
    file = Path("run/checkpoint/training.pt")
    content = torch.load(file, weights_only=True)
    TRAININGS[change](content)
    torch.save(content, file)
    before = file.read_bytes()
    assert "run" in mistake(capsys, "--resume", "run", "budget.updates=15")
    assert file.read_bytes() == before


def test_checkpoints_follow_the_umask(tmp_path) -> None:
    before = os.umask(0o022)
    try:
        file = save_untrained(tmp_path, tiny_config(tmp_path))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


@pytest.mark.parametrize("load", [lambda: load_model(OLD / "model.pt"), lambda: load_training(OLD, "cpu")])
def test_a_file_that_may_not_be_read_is_not_called_damaged(load, monkeypatch) -> None:
    def forbidden(path: Any, *arguments: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    # The super-user, who may read everything, runs tests too.
    monkeypatch.setattr("builtins.open", forbidden)
    with pytest.raises(UserError, match="cannot be read: Permission denied") as refused:
        load()
    assert "damaged" not in str(refused.value)


def test_a_name_that_no_file_can_have_is_one_line() -> None:
    with pytest.raises(UserError, match="File name too long"):
        load_model(Path("a" * 5000))


def test_random_states_of_more_devices_than_there_are(monkeypatch) -> None:
    set_here = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: set_here.append(device))
    restore_random_states({**random_states(), "cuda": [torch.zeros(16, dtype=torch.uint8)] * 4})
    assert set_here == [0]
