"""What may change when a run goes on takes effect; all else is refused by name, and so is a second program at work."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from programs import Program
from small_runs import small_run

from latent_rl.config import OptimizerConfig, flatten, load_resolved
from latent_rl.errors import UserError
from latent_rl.storage import hold, load_training
from latent_rl.train import main
from latent_rl.training import Run, assemble, check_settings, restore
from latent_rl.training.learner import learning_rate_factor

mistake = Program(main).mistake

KINDS = {
    "adamw": [],
    "muon": ["optimizer.name=muon"],
    "halting": ["halting={rule: learned, ppo: {steps: 3, hidden: 8}}"],
    "embeddings": [
        "env.id=latent_rl/Arc-v0",
        "env.options={test: mini, train: [], side: 8, augmentations: 50}",
        "network={puzzle_positions: 2, puzzle_embedding_width: 20, cycles: 1, inner_updates: 1}",
        "env.max_steps=2",
    ],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def begun(request, made, tmp_path, monkeypatch, without_figures) -> Path:
    """A run of 2 updates, of the kind that the test asks for."""
    kind = getattr(request, "param", "adamw")
    if not (made / "runs" / kind).exists():
        monkeypatch.chdir(made)
        small_run(kind, *KINDS[kind], updates=2)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made / "runs" / kind, "runs/a")
    return Path("runs/a")


@pytest.mark.parametrize("kind", [*KINDS, "replay"])
def test_nothing_draws_from_generators_that_a_checkpoint_does_not_keep(kind, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = random.getstate(), np.random.get_state()
    small_run(kind, *KINDS.get(kind, ["collector={mode: replay, steps_per_batch: 2}"]), updates=2)
    assert random.getstate() == before[0]
    assert all(np.array_equal(now, then) for now, then in zip(np.random.get_state(), before[1], strict=True))


def resumed(run_dir: Path, *overrides: str) -> Run:
    """As `train` goes on with it."""
    config = load_resolved(run_dir / "config.yaml", overrides)
    check_settings(run_dir, config)
    run = assemble(config)
    restore(run, run_dir)
    return run


def test_the_optimizers_settings_take_effect(begun) -> None:
    run = resumed(begun, "optimizer={lr: 0.3, weight_decay: 0.2, betas: [0.5, 0.6], clip_norm: 7, ema_decay: 0.25}")
    (group,) = run.learner.optimizers[0].param_groups
    # Two of three updates of warm-up are over: the third is at full rate.
    assert (group["lr"], group["initial_lr"]) == (0.3, 0.3)
    assert (group["weight_decay"], tuple(group["betas"]), run.learner.clip_norm) == (0.2, (0.5, 0.6), 7)
    slower = resumed(begun, "optimizer={lr: 0.3, warmup_updates: 6}")
    assert slower.learner.optimizers[0].param_groups[0]["lr"] == 0.3 * (3 / 6)
    halfway = resumed(begun, "optimizer={lr: 0.3, decay_updates: 4}")
    assert halfway.learner.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.3 * 0.55)


def test_learning_rates_come_down_by_a_cosine_and_stay_there() -> None:
    factor = learning_rate_factor(OptimizerConfig(warmup_updates=10, decay_updates=100))
    assert [factor(update) for update in (0, 50, 100, 1000)] == pytest.approx([0.1, 0.55, 0.1, 0.1])
    assert all(factor(update) > factor(update + 1) for update in range(9, 100))
    constant = learning_rate_factor(OptimizerConfig(warmup_updates=0))
    assert constant(0) == constant(10**9) == 1.0


@pytest.mark.parametrize("begun", ["muon"], indirect=True)
def test_muons_rate_takes_effect(begun) -> None:
    muon, adamw = resumed(begun, "optimizer={muon_lr: 0.5, lr: 0.25}").learner.optimizers
    assert (muon.param_groups[0]["lr"], adamw.param_groups[0]["lr"]) == (0.5, 0.25)


@pytest.mark.parametrize("begun", ["embeddings"], indirect=True)
def test_the_rate_of_puzzle_embeddings_takes_effect(begun) -> None:
    run = resumed(begun, "optimizer={puzzle_lr: 0.5, puzzle_weight_decay: 0.125}")
    group = run.learner.optimizers[-1].param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.125)


@pytest.mark.parametrize("begun", ["halting"], indirect=True)
def test_the_halting_learners_settings_take_effect(begun) -> None:
    learner = resumed(begun, "halting.ppo={lr: 0.5, epochs: 9, clip: 0.3}").halting.learner
    assert learner.optimizer.param_groups[0]["lr"] == 0.5
    assert (learner.epochs, float(learner.loss.clip_epsilon)) == (9, pytest.approx(0.3))


def test_weights_of_losses_take_effect(begun) -> None:
    assert resumed(begun, "loss.terms.solved.weight=3").loss_weights["solved"] == 3


def test_a_run_goes_on_for_more_seconds_as_the_readme_says(begun) -> None:
    seconds = json.loads((begun / "summary.json").read_text())["train_seconds"] + 0.3
    changes = ["budget.updates=null", f"budget.seconds={seconds}", "optimizer.lr=3e-4", "threads=1"]
    main(["--resume", str(begun), *changes])
    summary = json.loads((begun / "summary.json").read_text())
    assert summary["updates"] > 2 and summary["train_seconds"] >= seconds
    kept = yaml.safe_load((begun / "config.yaml").read_text())
    assert kept == load_training(begun / "checkpoint", "cpu")["config"]
    assert (kept["optimizer"]["lr"], kept["budget"]["seconds"]) == (3e-4, seconds)


@pytest.mark.parametrize(
    "setting",
    [
        "scheme=trm", "seed=5", "name=other", "network.width=32", "network.layers=2", "network.cycles=2",
        "network.feed=answer", "env.options.test=40", "env.options.seed=5", "env.options.train=200", "env.max_steps=5",
        "env.reward.pass_cost=0.5", "env.terminate_on_solved=0.1", "collector.num_envs=16", "optimizer.name=muon",
        "halting.rule=confident", "halting.ppo.hidden=9", "loss.terms.solved=null",
        "loss.terms.policy.targets=diffusion",
    ],
)  # fmt: skip
def test_what_a_run_was_begun_with_is_refused_by_name(begun, setting, capsys) -> None:
    before = {path: path.read_bytes() for path in begun.rglob("*") if path.is_file() and path.name != ".lock"}
    message = mistake(capsys, "--resume", begun, "budget.updates=3", setting)
    assert setting.partition("=")[0] in message and "does not fit runs/a" in message
    assert {path: path.read_bytes() for path in begun.rglob("*") if path.is_file() and path.name != ".lock"} == before


def test_a_configuration_that_was_cut_off_or_changed_is_refused(begun) -> None:
    file = begun / "config.yaml"
    text, refused = file.read_text(), 0
    whole = flatten(load_resolved(file))
    for cut in (*range(0, len(text), 23), len(text) - 2, len(text) - 1):
        file.write_text(text[:cut])
        try:
            config = load_resolved(file)
            check_settings(begun, config)
        except UserError:
            refused += 1
        else:
            assert flatten(config) == whole, f"cut off after {cut} characters"
    assert refused > 50
    file.write_text(text.replace("seed: 0", "seed: 5"))
    with pytest.raises(UserError, match=r"config.yaml: seed=5 does not fit runs/a, which was begun with 0"):
        check_settings(begun, load_resolved(file))


def test_a_configuration_that_cannot_be_written_stays_as_it_was(begun, monkeypatch, capsys) -> None:
    before = (begun / "config.yaml").read_text()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "cannot write runs/a/config.yaml: No space left" in mistake(capsys, "--resume", begun, "budget.updates=3")
    assert (begun / "config.yaml").read_text() == before


def _hold(folder: Path, held) -> None:
    with hold(folder):
        held.set()
        time.sleep(60)


def test_the_second_of_two_resumes_is_refused(begun, capsys) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    holder = context.Process(target=_hold, args=(begun, held))
    holder.start()
    assert held.wait(30)
    assert "runs/a is in use by another program" in mistake(capsys, "--resume", begun, "budget.updates=3")
    holder.kill()
    holder.join(30)
    main(["--resume", str(begun), "budget.updates=3"])
    assert json.loads((begun / "summary.json").read_text())["updates"] == 3
