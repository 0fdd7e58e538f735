"""Collecting in processes of their own: what they send back, what is counted, and going on bit by bit."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from programs import Program
from small_runs import SMALL, same_weights, weights
from tensordict import TensorDict
from toy_puzzle import Backwards

from latent_rl.config import load_config
from latent_rl.envs import LatentRecursionVectorEnv, MDPConfig
from latent_rl.errors import UserError
from latent_rl.reporting.metrics import training_metrics
from latent_rl.train import main
from latent_rl.training import assemble
from latent_rl.training.workers import _environment

SETTINGS = [
    *(setting for setting in SMALL if not setting.startswith(("env.id", "collector"))),
    "env.id=toy_registered:toys/Elsewhere-v0",
    "collector={mode: replay, num_envs: 8, steps_per_batch: 3, minibatch_size: 12, workers: 2}",
    "loss.terms.return={}",
]


def test_workers_collect_with_the_weights_that_they_were_sent() -> None:
    run = assemble(load_config("sudoku-4x4", [*SETTINGS, "budget={updates: 10}"]))
    try:
        for updates in (0, 7):
            with torch.no_grad():
                for parameter in run.reasoner.parameters():
                    parameter.add_(0.01)
            run.collection.send_weights(updates)
            batch = next(run.collection)
            assert batch.shape == (8, 3) and (batch["weights_of"] == updates).all()
            # Every step is what the weights here make of the state there.
            with run.ledger.phase("update"):
                again = run.policy.replay(batch.reshape(-1))
            assert torch.allclose(again["logits"], batch["logits"].flatten(0, 1), atol=1e-5)
            assert (batch["next", "step"] == batch["step"] + 1).all()
        assert run.ledger.forward["collect"] == 2 * 8 * 3 * run.reasoner.config.passes_per_step
        assert not torch.equal(batch["inputs"][:4, 0], batch["inputs"][4:, 0])
        spent = run.spent._replace(updates=9)
        age = training_metrics(batch, {"loss": torch.tensor(0.0)}, spent)["train/weights_age"]
        assert age == 2 and isinstance(batch, TensorDict)
    finally:
        run.collection.close()


def test_a_process_goes_on_with_its_generator_too() -> None:
    puzzle = Backwards()
    make = partial(LatentRecursionVectorEnv, puzzle, config=MDPConfig(width=4, max_steps=3))
    state = _environment(make, 4, 7).snapshot()
    drawn = torch.rand(3)
    _environment(make, 4, state)
    assert torch.equal(torch.rand(3), drawn)


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_by_bit(tmp_path, monkeypatch, without_figures) -> None:
    monkeypatch.chdir(tmp_path)
    main([*SETTINGS, "name=whole", "budget.updates=8"])
    main([*SETTINGS, "name=parts", "budget.updates=4"])
    main(["--resume", "runs/parts", "budget.updates=8", "env.id=toy_registered:toys/Elsewhere-v0"])
    whole, parts = (json.loads(Path(f"runs/{name}/summary.json").read_text()) for name in ("whole", "parts"))
    assert whole["updates"] == parts["updates"] == 8
    for key in ("train_passes_total", "train_gradient_passes_total", "puzzles_seen", "exact_accuracy"):
        assert whole[key] == parts[key]
    # 4 batches of 8 rows x 3 steps, collected once and learned from once.
    assert whole["train_passes_total"] == 2 * 4 * 24 * 3
    assert same_weights(weights(Path("runs/whole")), weights(Path("runs/parts")))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["collector={workers: 2}"], "workers collect for mode=replay"),
        (["collector={mode: replay, num_envs: 9, workers: 2}"], "num_envs=9 cannot be shared equally by 2 workers"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, reason, capsys) -> None:
    assert reason in Program(main).mistake(capsys, *settings)


def test_a_compiled_network_is_refused() -> None:
    with pytest.raises(UserError, match="a compiled network cannot be sent"):
        assemble(load_config("sudoku-4x4", [*SETTINGS, "budget={updates: 10}", "compile=true"]))
