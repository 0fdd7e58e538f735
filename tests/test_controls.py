"""The controls of docs/experiments.md: each trains, and their targets and losses are what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from latent_rl.config import load_config
from latent_rl.envs import puzzle_from_id
from latent_rl.training import assemble

CONTROLS = Path(__file__).parents[1] / "benchmarks" / "controls"


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CONTROLS))
    monkeypatch.delitem(sys.modules, "supervision", raising=False)


@pytest.mark.parametrize("file", sorted(CONTROLS.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_takes_an_update(file: Path) -> None:
    from loop import learn

    small = ["env.options={size: 4, train: 50, test: 10}", "network.width=16", "collector.num_envs=8"]
    run = assemble(load_config("sudoku-4x4", [f"scheme={file}", *small, "budget.updates=9", "budget.seconds=null"]))
    learn(run, 3)
    assert run.learner.updates == 3 and not run.learner.diverged


@pytest.mark.parametrize(("size", "blanks"), [(4, (4, 8)), (6, (10, 16)), (9, (20, 40))])
def test_a_solver_edits_the_easy_cells_first_and_is_done_in_the_end(size: int, blanks: tuple[int, int]) -> None:
    from supervision import EditTargets, sudoku_rounds

    puzzle = puzzle_from_id("latent_rl/Sudoku-v0", size=size, train=40, test=4, blanks=list(blanks))
    batch = puzzle.instances("train")
    rounds = sudoku_rounds(batch.inputs)
    assert torch.equal(rounds == 0, batch.inputs != 1) and (rounds == 1).any()
    make, shown = EditTargets(max_steps=4), batch.inputs
    for step in range(4):
        values = {"inputs": batch.inputs, "solution": batch.solution, "step": torch.full((len(batch),), step)}
        target = make(values)
        new, still = (target != shown), (target == 1)
        assert ((target == batch.solution) | (target == batch.inputs)).all()
        hardest_shown = torch.where(new, rounds, -1).amax(-1)
        assert (hardest_shown <= torch.where(still, rounds, 100).amin(-1)).all()
        shown = target
    assert torch.equal(shown, batch.solution)


def test_rows_with_few_free_squares_come_first_on_a_board_of_queens() -> None:
    from supervision import queen_freedom

    board = torch.ones(1, 16, dtype=torch.int64)
    board[0, 1] = 2  # a queen in the first row, second column: the last column of the second row is free, and so on
    assert queen_freedom(board).view(4, 4)[:, 0].tolist() == [0, 1, 2, 3]


def test_the_anchor_moves_the_readout_alone_and_looks_one_target_back() -> None:
    from supervision import AnchorLoss

    from latent_rl.agents import ReasonerConfig, RecursiveReasoner

    reasoner = RecursiveReasoner(ReasonerConfig(vocab_size=6, seq_len=36, width=16, heads=2, layers=1))
    batch = puzzle_from_id("latent_rl/Sudoku-v0", size=6, train=8, test=4).instances("train")
    from tensordict import TensorDict

    values = TensorDict({"inputs": batch.inputs.clamp(max=5), "solution": batch.solution.clamp(max=5)}, [8])
    values.update({"y": torch.randn(8, 37, 16), "episode_seed": torch.arange(8), "step": torch.zeros(8).long()})
    loss = AnchorLoss(reasoner, max_steps=6)
    assert loss(values)["loss_anchor"] == 0
    values["step"] += 1
    loss(values)["loss_anchor"].backward()
    touched = {name for name, weight in reasoner.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert touched and all("network" not in name for name in touched)
    first = loss.targets(values.copy().set("step", values["step"] - 1))
    assert (first != values["inputs"]).sum() < (loss.targets(values) != values["inputs"]).sum()
