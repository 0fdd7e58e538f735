"""Honest accounting: every number of passes that is reported, against a count made inside the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from loop import learn
from torch.nn.modules.module import register_module_forward_pre_hook

from latent_rl import analyze, evaluate, halt, solve, train
from latent_rl.agents.network.blocks import Block
from latent_rl.config.loading import load_config
from latent_rl.envs import register_puzzle, registered_ids
from latent_rl.train import measure
from latent_rl.training import assemble, restore, save

TINY = [
    "env.id=tests/Backwards-v0",
    "env.options={train: 300, test: 50}",
    # One layer, so that every call of a block is one call of the shared network.
    "network={width: 16, layers: 1, heads: 2, multiple_of: 8}",
    "collector.num_envs=8",
    "evaluation={every_updates: 5, puzzles: 20}",
    "tracking.enabled=false",
]

MODES = {
    "fused": [],
    "trm": ["scheme=trm", "network.cycles=2", "network.inner_updates=1", "env.max_steps=3"],
    "dis": ["scheme=dis"],
    "captured": ["collector.mode=captured"],
    "replay": ["collector.mode=replay", "collector.steps_per_batch=3", "collector.minibatch_size=12"],
    "replay-return": [
        "collector={mode: replay, steps_per_batch: 4, minibatch_size: 10, epochs: 2}",
        "loss.terms={solved: null, return: {weight: 0.5}}",
    ],
    "muon": ["optimizer.name=muon"],
    "exit": ["scheme=exit", "answers.memory=50"],
    "grpo": ["scheme=grpo"],
    # The averaged network takes every step once more.
    "grpo-kl": ["scheme=grpo", "loss.terms.answer.kl=0.1"],
    "grpo-kl-replay": ["scheme=grpo", "loss.terms.answer.kl=0.1", "collector={mode: replay, steps_per_batch: 3}"],
    # Seldom enough that some phases of learning to stop fall into the run.
    "pi-halt": ["scheme=pi-halt", "halting.ppo={steps: 4, minibatch: 16, hidden: 8}"],
}


class Rows:
    """Rows that any block of any network was called with."""

    def __init__(self) -> None:
        self.counted = 0

    def __call__(self, module: torch.nn.Module, arguments: tuple[object, ...]) -> None:
        if isinstance(module, Block):
            self.counted += arguments[0].shape[0]


@pytest.fixture
def rows() -> Iterator[Rows]:
    rows = Rows()
    handle = register_module_forward_pre_hook(rows)
    yield rows
    handle.remove()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "tests/Backwards-v0" not in registered_ids():
        register_puzzle("tests/Backwards-v0", "toy_puzzle:Backwards")


@pytest.mark.parametrize("mode", MODES)
def test_training_and_evaluation(rows: Rows, mode: str) -> None:
    run = assemble(load_config("sudoku-4x4", [*TINY, *MODES[mode], "budget.updates=12"]))
    learn(run)
    assert run.ledger.train_passes == rows.counted
    found = measure(run, "test", 20)
    assert run.ledger.forward["eval"] == found.puzzles * found.passes_per_puzzle
    assert run.ledger.train_passes + run.ledger.forward["eval"] == rows.counted


def test_rows_that_stop_early(rows: Rows) -> None:
    overrides = [*TINY, *MODES["trm"], "halting.options.exploration=0.0", "budget.updates=4"]
    run = assemble(load_config("sudoku-4x4", overrides))
    torch.nn.init.constant_(run.reasoner.q_head.bias, 5.0)  # sure from the first step on
    learn(run, batches=1)
    assert run.spent.puzzles == 8 + 8, "every row has stopped, and was replaced"
    assert run.ledger.train_passes == rows.counted == 8 * 2 * 2
    # Measured it takes all its steps, as the official code does.
    torch.nn.init.constant_(run.learner.averaged_reasoner.q_head.bias, 5.0)
    assert measure(run, "test", 20).passes_per_puzzle == 3 * 2 * 2


@pytest.mark.parametrize("mode", ["fused", "trm", "replay-return", "pi-halt", "exit", "grpo-kl"])
def test_a_run_that_is_saved_and_restored(rows: Rows, mode: str) -> None:
    run_dir = Path("runs/run")
    for updates in (6, 14):
        run = assemble(load_config("sudoku-4x4", [*TINY, *MODES[mode], f"budget.updates={updates}"]))
        if updates == 14:
            restore(run, run_dir)
        learn(run)
        run_dir.mkdir(parents=True, exist_ok=True)
        save(run, run_dir, None)
    assert run.ledger.train_passes == rows.counted


def test_the_programs_that_use_a_model(rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    train.main([*TINY, "name=run", "budget.updates=1"])
    summary = json.loads(Path("runs/run/summary.json").read_text())
    # All 15 validation and 50 test puzzles, and the one whose trajectory is drawn.
    assert rows.counted == summary["train_passes_total"] + (15 + 50 + 1) * summary["eval_passes_per_puzzle"]

    def spent(program, *arguments: str) -> tuple[int, dict]:
        before = rows.counted
        program.main(["runs/run", "--steps", "4", "--json", "result.json", *arguments])
        return rows.counted - before, json.loads(Path("result.json").read_text())

    counted, result = spent(evaluate, "--puzzles", "30", "evaluation.batch_size=8")
    assert counted == 30 * result["eval_passes_per_puzzle"] == 30 * 4 * 3
    counted, result = spent(analyze, "--puzzles", "30", "evaluation.batch_size=8")
    assert counted == 30 * result["passes_by_step"][-1] == 30 * 4 * 3
    counted, result = spent(evaluate, "--trajectories", "3", "--halt", "agree")
    assert counted == round(50 * result["eval_passes_per_puzzle"]) == round(50 * 3 * result["steps_per_puzzle"])
    counted, result = spent(evaluate, "--budget-passes", "36", "--choose", "rule")
    assert counted == round(50 * result["eval_passes_per_puzzle"]) <= 50 * 36
    counted, result = spent(halt, "--out", "runs/taught", "halting.ppo={puzzles: 20, iterations: 2}")
    # Fixed lengths and the q head's stops are read off a single run of all steps.
    measured = [point for point in result["points"] if point["rule"] not in ("never", "confident")]
    measured.append(result["points"][4])
    assert result["points"][4]["rule"] == "never" and result["points"][4]["steps"] == 4
    passes = sum(point["passes_per_puzzle"] for point in measured)
    there = [result["validation_points"][result["points"].index(point)] for point in measured]
    chosen = sum(point["passes_per_puzzle"] for point in there)
    assert counted == result["train_passes_total"] + round(50 * passes) + round(15 * chosen)
    counted, result = spent(solve, "abca")
    assert counted == result["results"][0]["passes"] == 4 * 3
