"""Checkpoints of the official code in evaluate, solve, analyze and as a start for training."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from official_puzzle import GOLDEN, ID, STEPS, arguments, arrays
from programs import Program

from latent_rl import analyze, evaluate, solve, train
from latent_rl.agents import recurse
from latent_rl.agents.official import our_name
from latent_rl.storage.checkpoint import load_model

ROW = 1  # the golden puzzle with the id 0 and without padding, so that it can be typed


def mistake(capsys, program, *parameters: object) -> str:
    return Program(program.main).mistake(capsys, *parameters)


@pytest.fixture
def opened(monkeypatch) -> list:
    """The models that programs load, copied before the ledger of the program watches them."""
    models: list = []

    def load(*arguments, **settings):
        model = load_model(*arguments, **settings)
        models.append(replace(model, reasoner=copy.deepcopy(model.reasoner)))
        return model

    monkeypatch.setattr("latent_rl.storage.load_model", load)
    return models


@pytest.mark.parametrize("file", STEPS)
def test_evaluate_takes_the_official_steps(capsys, opened, file) -> None:
    evaluate.main(arguments(file, "--json", "-"))
    found = json.loads(capsys.readouterr().out)
    golden, (trained,) = arrays(file), opened
    answers = golden["logits"].argmax(-1)
    right = answers == answers[2]
    assert found["accuracy_by_step"] == right.all(-1).double().mean(-1).tolist()
    assert found["cells_by_step"] == pytest.approx(right.double().mean((1, 2)).tolist())
    assert found["eval_passes_per_puzzle"] == (6 * 3 if file == "dis_att" else 336)

    # The same model, loaded by the program, gives the official logits at every step.
    outputs = list(
        recurse(trained.reasoner, golden["inputs"], golden["puzzle_identifiers"], trained.config.env.max_steps)
    )
    assert len(outputs) == STEPS[file]
    torch.testing.assert_close(torch.stack([one.logits for one in outputs]), golden["logits"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("file", STEPS)
def test_solve_shows_the_official_answers(capsys, file) -> None:
    golden = arrays(file)

    def line(tokens):
        return "".join("_.123456789"[token] for token in tokens.tolist())

    solve.main(arguments(file, "--json", "-", line(golden["inputs"][ROW])))
    captured = capsys.readouterr()
    (result,) = json.loads(captured.out)["results"]
    assert [step["answer"] for step in result["steps"]] == [line(one) for one in golden["logits"][:, ROW].argmax(-1)]
    # The official DIS code never trains the head that says how sure the model is.
    assert ("value head was not trained" in captured.err) == (file == "dis_att")


def test_analyze_an_official_checkpoint(capsys, tmp_path) -> None:
    analyze.main(arguments("dis_att", "--out", str(tmp_path / "out"), "--json", "-"))
    found = json.loads(capsys.readouterr().out)
    assert found["passes_by_step"] == [3, 6, 9, 12, 15, 18]
    assert found["accuracy_by_step"][2] == 1.0
    assert (tmp_path / "out" / "report.md").is_file()


def test_settings_by_name(opened, capsys) -> None:
    evaluate.main(arguments("trm_mlp", "network.cycles=1", "network.inner_updates=2", "env.max_steps=2", "--json", "-"))
    assert json.loads(capsys.readouterr().out)["eval_passes_per_puzzle"] == 2 * 3
    shape, config = opened[0].reasoner.config, opened[0].config
    assert (shape.cycles, shape.inner_updates, shape.heads, shape.puzzle_positions) == (1, 2, 4, 16)
    assert (config.network.width, config.network.mixer, config.network.multiple_of) == (64, "mlp", 256)
    assert config.scheme == "trm" and opened[0].official
    assert (
        load_model(Path(arguments("dis_att")[0]), preset="sudoku-4x4", overrides=arguments("dis_att")[5:]).config.scheme
        == "dis"
    )


def test_the_puzzle_is_guessed_from_what_the_file_tells(tmp_path) -> None:
    state = torch.load(GOLDEN / "trm_att.pt", weights_only=True)
    # Attention does not tell the number of cells: 11 symbols are those of the official Sudoku.
    guessed = load_model(GOLDEN / "trm_att.pt", overrides=["network.heads=4"])
    assert (guessed.config.env.options["size"], guessed.reasoner.config.seq_len) == (9, 81)
    maze = {name: one[:6] if one.shape == (11, 64) else one for name, one in state.items()}
    torch.save(maze, tmp_path / "maze")
    guessed = load_model(tmp_path / "maze", overrides=["network.heads=4"])
    assert (guessed.config.env.id, guessed.reasoner.config.seq_len) == ("latent_rl/Maze-v0", 900)


def test_what_does_not_fit_is_told_in_one_line(capsys, tmp_path) -> None:
    mlp, att = GOLDEN / "trm_mlp.pt", GOLDEN / "trm_att.pt"
    assert "for 16 cells and 11 symbols: say which puzzle it solves with --config" in mistake(capsys, evaluate, mlp)
    wrong = mistake(capsys, evaluate, mlp, "--config", "sudoku-6x6")
    assert "16 cells (and 16 positions in front) and 11 symbols, which is not sudoku-6x6 (36 cells, 8 symbols)" in wrong
    assert "11 symbols, which is not maze-30x30" in mistake(capsys, analyze, att, "--config", "maze-hard")
    assert "cannot be split into 5 heads" in mistake(capsys, evaluate, *arguments("trm_att", "network.heads=5"))
    assert "network.width is settled by training" in mistake(capsys, solve, *arguments("trm_att", "network.width=3"))
    assert "did you mean 'network.heads'" in mistake(capsys, solve, *arguments("trm_att", "network.haeds=3"))
    state = torch.load(att, weights_only=True)
    state["_orig_mod.model.inner.lm_head.weight"] = torch.zeros(11, 32)
    torch.save(state, tmp_path / "broken.pt")
    assert "'_orig_mod.model.inner.H_init' has shape (64,), the configuration wants (32,)" in mistake(
        capsys, evaluate, tmp_path / "broken.pt", *arguments("trm_att")[1:]
    )


NETWORK = [
    "network={width: 64, layers: 2, heads: 4, multiple_of: 256, mixer: attention, positions: rope}",
    "network.puzzle_positions=16",
    "network.puzzle_embedding_width=64",
]


def training(*more: str) -> list[str]:
    small = ["tracking.enabled=false", "device=cpu", "collector.num_envs=2", "env.max_steps=2", "budget.updates=1"]
    return ["--config", "sudoku-4x4", f"env.id={ID}", *NETWORK, *small, *more]


def test_training_starts_from_official_weights(without_figures, tmp_path, monkeypatch) -> None:
    arguments("trm_att")
    monkeypatch.chdir(tmp_path)
    # A learning rate of nothing: what is saved is what it started from.
    still = ["optimizer.lr=1e-30", "optimizer.puzzle_lr=1e-30"]
    train.main(training("--init", str(GOLDEN / "trm_att.pt"), *still, "name=first"))
    state = {our_name(name): one for name, one in torch.load(GOLDEN / "trm_att.pt", weights_only=True).items()}
    weights = load_model(Path("runs/first")).reasoner.state_dict()
    assert weights.keys() == state.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=1e-6, msg=name)

    # And from our own, which it saved.
    train.main(training("--init", "runs/first", *still, "name=second", "seed=1"))
    for name, tensor in load_model(Path("runs/second")).reasoner.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=1e-6, msg=name)


def test_weights_that_do_not_fit_are_named_with_both_shapes(capsys, tmp_path, monkeypatch) -> None:
    arguments("trm_att")
    monkeypatch.chdir(tmp_path)
    start = ["--init", GOLDEN / "trm_att.pt"]
    error = mistake(capsys, train, *training("network.width=32"), *start)
    assert "tensor 'initial_y' is of shape (64,) there and of shape (32,) here" in error
    error = mistake(capsys, train, *training("network.puzzle_embedding_width=0"), *start)
    assert "tensor 'embed_puzzle.weight' is of shape (5, 64) there and missing here" in error
    error = mistake(capsys, train, *training("network.step_embedding=true"), *start)
    assert "tensor 'embed_step.weight' is missing there and of shape (4, 64) here" in error
    assert "does not exist" in mistake(capsys, train, *training("--init", "nowhere.pt"))
    assert "leave out --init" in mistake(capsys, train, "--resume", "runs/first", *start)


def test_a_preset_that_settles_its_precision_in_training_opens_official_checkpoints(opened, capsys) -> None:
    evaluate.main(arguments("trm_mlp", "precision=auto", "compile=auto", "--json", "-"))
    assert json.loads(capsys.readouterr().out)["eval_passes_per_puzzle"] == 336
    assert opened[0].reasoner.compute_dtype is None
