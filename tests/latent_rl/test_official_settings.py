"""Settings of official checkpoints from the `all_config.yaml` beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from official_puzzle import GOLDEN, STEPS, arguments, arrays
from programs import Program

from latent_rl import evaluate
from latent_rl.agents import recurse
from latent_rl.storage import load_model


def beside(folder: Path, file: str, *changes: tuple[str, str]) -> Path:
    """A golden checkpoint as the official scripts leave it, with its settings, some of which are replaced."""
    shutil.copy(GOLDEN / f"{file}.pt", folder / "step_5000")
    text = (GOLDEN / "all_config" / f"{file}.yaml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (folder / "all_config.yaml").write_text(text)
    return folder / "step_5000"


def settings(file: str, *more: str) -> list[str]:
    """The arguments of `arguments` without what the settings file tells."""
    return [one for one in arguments(file, *more)[1:] if one != "network.heads=4"]


@pytest.mark.parametrize("file", STEPS)
def test_nothing_needs_to_be_typed(tmp_path, file) -> None:
    golden = arrays(file)
    trained = load_model(beside(tmp_path, file), preset="sudoku-4x4", overrides=settings(file)[4:])
    assert trained.config.env.max_steps == STEPS[file]
    steps = list(recurse(trained.reasoner, golden["inputs"], golden["puzzle_identifiers"], STEPS[file]))
    torch.testing.assert_close(torch.stack([one.logits for one in steps]), golden["logits"], rtol=0, atol=1e-5)


def test_programs_read_them_too(tmp_path, capsys) -> None:
    evaluate.main([str(beside(tmp_path, "dis_att")), *settings("dis_att", "--json", "-")])
    found, golden = json.loads(capsys.readouterr().out), arrays("dis_att")
    right = golden["logits"].argmax(-1) == golden["logits"][2].argmax(-1)
    assert found["accuracy_by_step"] == right.all(-1).double().mean(-1).tolist()


def test_cycles_steps_heads_and_positions_are_read(tmp_path) -> None:
    values = [
        ("H_cycles: 3", "H_cycles: 2"),
        ("L_cycles: 6", "L_cycles: 4"),
        ("halt_max_steps: 16", "halt_max_steps: 8"),
    ]
    values += [("num_heads: 4", "num_heads: 2"), ("pos_encodings: rope", "pos_encodings: none")]
    values += [("puzzle_emb_len: 16", "puzzle_emb_len: 0")]
    checkpoint = beside(tmp_path, "trm_att", *values)
    trained = load_model(checkpoint, preset="sudoku-4x4", overrides=settings("trm_att")[4:])
    shape = trained.reasoner.config
    assert (shape.cycles, shape.inner_updates, shape.heads, shape.positions) == (2, 4, 2, "none")
    # 0 is as many positions as the embedding needs.
    assert (shape.puzzle_positions, trained.config.env.max_steps) == (1, 8)
    # What is typed wins.
    overrides = settings("trm_att", "network.cycles=1", "env.max_steps=3")[4:]
    trained = load_model(checkpoint, preset="sudoku-4x4", overrides=overrides)
    assert (trained.reasoner.config.cycles, trained.config.env.max_steps) == (1, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("hidden_size: 64", "hidden_size: 512"),
            "is of another model: it says hidden_size=512, the weights in step_5000 64",
        ),
        (("mlp_t: false", "mlp_t: true"), "it says mlp_t=True, the weights in step_5000 False"),
        (("num_heads: 4", "num_heads: [4]"), "arch.num_heads: expected a number, got [4]"),
        (("H_cycles: 3", "H_cycles: 99999"), "all_config.yaml: network.cycles: "),
        (("arch:", "architecture:"), "has no section 'arch'"),
        (("arch:", "arch: {"), "is not valid YAML"),
    ],
)
def test_wrong_settings_are_told_with_their_file(tmp_path, capsys, change, message) -> None:
    checkpoint = beside(tmp_path, "trm_att", change)
    error = Program(evaluate.main).mistake(capsys, checkpoint, *settings("trm_att"))
    assert message in error and "all_config.yaml" in error
