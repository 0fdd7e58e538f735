"""Going through puzzles batch by batch: nothing is left out, and the ledger knows what the passes were for."""

from __future__ import annotations

import torch
from tiny_models import tiny_config

from latent_rl.envs import IGNORE, Instances
from latent_rl.measuring.batches import batches
from latent_rl.measuring.ledger import Ledger
from latent_rl.measuring.scores import is_known, score
from latent_rl.training.parts import build_puzzle, build_reasoner


def test_every_row_comes_once_and_passes_are_booked_as_evaluation(tmp_path) -> None:
    config = tiny_config(tmp_path)
    puzzle, ledger, reported = build_puzzle(config), Ledger(), []
    reasoner = build_reasoner(config, puzzle, torch.device("cpu"))
    ledger.watch(reasoner.network)
    test = puzzle.instances("test")
    seen = []
    for batch in batches(test, 4, reasoner, ledger, reported.append):
        y, z = reasoner.initial_latents(len(batch))
        reasoner.step(batch.inputs, batch.puzzle_id, y, z, torch.zeros(len(batch), dtype=torch.int64))
        seen.append(batch.inputs)
    assert torch.equal(torch.cat(seen), test.inputs)
    assert reported == [4, 2]
    assert ledger.forward == {"eval": len(test) * config.network.cycles * (config.network.inner_updates + 1)}
    numbers = list(batches(torch.arange(5), 2, reasoner, ledger))
    assert [part.tolist() for part in numbers] == [[0, 1], [2, 3], [4]]


def test_cells_without_a_key_count_neither_as_right_nor_as_wrong() -> None:
    keys = Instances.of(torch.ones(3, 4), torch.tensor([[2, 3, IGNORE, 3], [2, 3, 4, 5], [IGNORE] * 4])).solution
    found = score(torch.tensor([[2, 3, 9, 3], [2, 3, 4, 9], [2, 2, 2, 2]]), keys)
    assert found.exact.tolist() == [True, False, True] and found.cells.tolist() == [1.0, 0.75, 0.0]
    assert is_known(keys).tolist() == [True, True, False]
