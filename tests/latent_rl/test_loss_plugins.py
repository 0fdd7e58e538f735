"""A loss and targets from a module of somebody else's, through the training program."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch
import yaml
from toy_losses import RightShareLoss

from latent_rl.agents import LOSSES
from latent_rl.config import load_config
from latent_rl.envs import register_puzzle, registered_ids
from latent_rl.errors import UserError
from latent_rl.storage import load_model, load_training
from latent_rl.train import main
from latent_rl.training import assemble

TINY = [
    "env.id=tests/Backwards-v0",
    "env.options={train: 300, test: 50}",
    "network={width: 16, layers: 1, heads: 2, multiple_of: 8}",
    "collector.num_envs=8",
    "evaluation={every_updates: 5, puzzles: 20}",
    "tracking.enabled=false",
]

SCHEME = """
loss:
  terms:
    policy: {targets: {name: "toy_losses:LateTargets", first: 2}}
    "toy_losses:RightShareLoss": {weight: 0.1, hidden: 3}
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_figures: None) -> None:
    monkeypatch.chdir(tmp_path)
    if "tests/Backwards-v0" not in registered_ids():
        register_puzzle("tests/Backwards-v0", "toy_puzzle:Backwards")
    Path("mine.yaml").write_text(SCHEME)


def head(run_dir: str) -> dict[str, torch.Tensor]:
    return load_training(Path(run_dir) / "checkpoint", "cpu")["learner"]["heads"]


@pytest.mark.parametrize("mode", ["fused", "replay"])
def test_a_run_with_both_is_trained_saved_and_resumed(mode: str) -> None:
    arguments = [*TINY, "scheme=mine.yaml", f"collector.mode={mode}"]
    main([*arguments, "name=straight", "budget.updates=6"])
    main([*arguments, "name=halves", "budget.updates=3"])
    kept = yaml.safe_load(Path("runs/halves/config.yaml").read_text())["loss"]["terms"]
    assert kept["policy"]["targets"] == {"name": "toy_losses:LateTargets", "first": 2}
    assert kept["toy_losses:RightShareLoss"] == {"weight": 0.1, "hidden": 3}
    before = head("runs/halves")
    assert before["0.0.weight"].shape == (3, 16)
    resume = ["--resume", "runs/halves", "budget.updates=6"]
    with pytest.raises(UserError, match="imported only if you name it too: add ") as refused:
        main(resume)
    main([*resume, *shlex.split(str(refused.value).partition("add ")[2])])
    straight, halves = head("runs/straight"), head("runs/halves")
    assert straight.keys() == halves.keys()
    assert all(torch.equal(straight[name], halves[name]) for name in straight)
    assert any(not torch.equal(before[name], halves[name]) for name in before), "the optimizer has found the head"
    assert load_model(Path("runs/halves")).config.loss.weight("toy_losses:RightShareLoss") == 0.1


def test_two_losses_that_report_the_same_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "share", RightShareLoss)
    terms = "loss.terms={share: {}, 'toy_losses:RightShareLoss': {}}"
    with pytest.raises(UserError, match="share and toy_losses:RightShareLoss both report 'loss_share'"):
        assemble(load_config("sudoku-4x4", [*TINY, terms]))


def test_terms_are_summed_in_one_order_whichever_file_named_them() -> None:
    def order(*overrides: str) -> list[str]:
        run = assemble(load_config("sudoku-4x4", [*TINY, *overrides]))
        return [type(loss).__name__ for loss in run.losses.values()]

    replay = "collector.mode=replay"
    plugin = "loss.terms={'toy_losses:RightShareLoss': {}, return: {weight: 0.5}}"
    everything = ["PolicyImprovementLoss", "SolvedValueLoss", "ReturnValueLoss", "ContinueValueLoss", "RightShareLoss"]
    assert order(replay, plugin) == everything
    without = [name for name in everything if name != "SolvedValueLoss"]
    assert order(replay, plugin, "loss.terms.solved=null") == without
    assert order("scheme=trm") == everything[:2]
