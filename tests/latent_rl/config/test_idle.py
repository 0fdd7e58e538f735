"""Settings that change nothing are named, and those alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from programs import Program
from small_runs import same_weights, small_run, weights

from latent_rl.config import idle_settings, load_config
from latent_rl.train import main


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_figures: None) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        (["env.reward.pass_cost=0.5"], ["env.reward.pass_cost"]),
        (["env.reward={pass_cost: 0.5, solve_bonus: 2}"], ["env.reward.pass_cost", "env.reward.solve_bonus"]),
        (["scheme=pi-halt", "env.reward.pass_cost=0.5"], []),
        (["collector.mode=replay", "loss.terms.return.weight=1", "env.reward.pass_cost=0.5"], []),
        (["collector.mode=replay", "loss.terms.return.weight=0", "env.reward.pass_cost=0.5"], ["env.reward.pass_cost"]),
        (["collector.epochs=2", "collector.num_envs=8"], ["collector.epochs"]),
        (["collector.mode=replay", "collector.epochs=2"], []),
        (["halting.ppo.steps=4"], ["halting.ppo.steps"]),
        (["scheme=pi-halt", "halting.ppo.steps=4"], []),
        (["optimizer.muon_lr=0.1", "optimizer.puzzle_lr=1"], ["optimizer.muon_lr", "optimizer.puzzle_lr"]),
        (["optimizer.name=muon", "optimizer.muon_lr=0.1"], []),
        (["answers.memory=5", "answers.act=likeliest"], ["answers.memory", "answers.act"]),
        (["scheme=exit", "answers.memory=5", "answers.act=sampled"], []),
        (["scheme=exit", "env.reward.solve_bonus=5"], ["env.reward.solve_bonus"]),
        (["scheme=exit", "env.reward={solve_bonus: 5, violation_cost: 0}"], []),
        (["scheme=exit", "loss.terms.answer.weight=1", "env.reward.solve_bonus=5"], []),
        (["scheme=grpo", "env.reward.solve_bonus=5"], []),
        (["scheme=grpo", "answers.memory=5", "answers.act=likeliest"], ["answers.memory"]),
        (["deduction.temperature=2"], ["deduction.temperature"]),
        (["scheme=deduce", "deduction.temperature=2"], []),
        (["scheme=deduce", "env.terminate_on_solved=0.5"], ["env.terminate_on_solved"]),
        (["evaluation.points=5", "evaluation.every_updates=7"], ["evaluation.every_updates"]),
    ],
)  # fmt: skip
def test_what_changes_nothing_is_found(settings: list[str], idle: list[str]) -> None:
    assert list(idle_settings(load_config("sudoku-4x4", settings), settings)) == idle


@pytest.mark.parametrize("setting", ["env.reward.pass_cost=0.5", "collector.epochs=3", "optimizer.puzzle_lr=1"])
def test_it_does_change_nothing_and_is_said(setting: str, capsys: pytest.CaptureFixture) -> None:
    plain = weights(small_run("plain"))
    capsys.readouterr()
    changed = weights(small_run("changed", setting))
    assert same_weights(plain, changed)
    assert f"warning: {setting.partition('=')[0]} changes nothing in this training: " in capsys.readouterr().err


def test_a_reward_that_is_learned_from_changes_the_halting_policy(capsys: pytest.CaptureFixture) -> None:
    halt = ["scheme=pi-halt", "env.max_steps=4", "halting.ppo.steps=4", "env.terminate_on_solved=0"]
    plain = weights(small_run("plain", *halt, updates=20))
    changed = weights(small_run("changed", *halt, "env.reward.pass_cost=5", updates=20))
    assert not same_weights(plain, changed) and "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["scheme=pi-halt", "env.max_steps=1"], "halting.rule=learned: episodes of one step .* nothing to decide"),
        (["scheme=pi-halt", "env.terminate_on_solved=1"], "halting.rule=learned learns from episodes that"),
        (["env.terminate_on_solved=1"], "loss.terms.continue learns from episodes that go on"),
    ],
)  # fmt: skip
def test_nothing_to_learn_from_is_refused(settings: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    line = Program(main).mistake(capsys, *settings, "tracking.enabled=false")
    assert re.search(message, line) and not Path("runs").exists()
