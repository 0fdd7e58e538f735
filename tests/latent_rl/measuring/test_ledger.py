"""The ledger against a network that counts its own calls."""

from __future__ import annotations

import pytest
import torch

from latent_rl.agents import CheckedHalt, ReasonerConfig, RecursiveReasoner, think
from latent_rl.measuring.ledger import Ledger


@pytest.fixture
def reasoner() -> RecursiveReasoner:
    torch.manual_seed(0)
    shape = {"vocab_size": 5, "seq_len": 4, "width": 16, "heads": 2, "layers": 1, "multiple_of": 8}
    return RecursiveReasoner(ReasonerConfig(**shape, cycles=3, inner_updates=2))


def take_step(reasoner: RecursiveReasoner, rows: int) -> torch.Tensor:
    zeros = torch.zeros(rows, dtype=torch.int64)
    inputs = torch.ones(rows, 4, dtype=torch.int64)
    return reasoner.step(inputs, zeros, *reasoner.initial_latents(rows), zeros).logits.sum()


def test_counts_rows_by_phase_and_only_gradients_that_ran(reasoner: RecursiveReasoner) -> None:
    ledger = Ledger()
    ledger.watch(reasoner.network)
    with ledger.phase("collect"):
        loss = take_step(reasoner, rows=5)
    assert ledger.forward == {"collect": 5 * 3 * 3}
    assert not ledger.backward
    with ledger.phase("update"):
        loss.backward()
        with torch.no_grad():
            take_step(reasoner, rows=2)
        with ledger.phase("eval"):
            take_step(reasoner, rows=1)
    assert ledger.forward == {"collect": 45, "update": 18, "eval": 9}
    # Only the last of the three cycles carries gradient.
    assert ledger.backward == {"update": 5 * 3}
    assert ledger.train_passes == 63


def test_counts_only_the_rows_that_are_still_at_work(reasoner: RecursiveReasoner) -> None:
    ledger = Ledger()
    ledger.watch(reasoner.network)
    zeros, inputs = torch.zeros(3, dtype=torch.int64), torch.tensor([[1], [2], [3]]).expand(3, 4)
    # Rows halt after as many steps as their cells say.
    rule = CheckedHalt(lambda given, answer: given[:, 0] <= len(spent))
    spent = [None]
    with ledger.phase("eval"):
        for _ in think(reasoner, inputs, zeros, 5, rule):
            spent.append(ledger.forward["eval"])
    assert spent[1:] == [27, 27 + 18, 27 + 18 + 9]


def test_a_pass_outside_of_every_phase_is_an_error(reasoner: RecursiveReasoner) -> None:
    ledger = Ledger()
    handle = ledger.watch(reasoner.network)
    with pytest.raises(RuntimeError, match="outside of every phase"):
        take_step(reasoner, rows=1)
    handle.remove()
    take_step(reasoner, rows=1)
    assert not ledger.forward


def test_state_survives_a_round_trip(reasoner: RecursiveReasoner) -> None:
    ledger = Ledger()
    ledger.watch(reasoner.network)
    with ledger.phase("update"):
        take_step(reasoner, rows=2).backward()
    copy = Ledger()
    copy.load_state_dict(ledger.state_dict())
    assert copy.forward == ledger.forward
    assert copy.backward == ledger.backward
