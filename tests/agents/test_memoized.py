"""A reasoner is asked about a state of a puzzle once, and what it said is told again."""

from __future__ import annotations

import pytest
import torch

from latent_rl.agents import CandidateReasoner, MemoizedReasoner, ReasonerConfig

CELLS, SYMBOLS = 4, 6


class Asked(CandidateReasoner):
    """Notes of how many rows it was asked."""

    def step(self, inputs, puzzle_id, candidates):
        self.rows = [*getattr(self, "rows", []), len(inputs)]
        return super().step(inputs, puzzle_id, candidates)


@pytest.fixture
def reasoner() -> Asked:
    torch.manual_seed(0)
    shape = {"vocab_size": SYMBOLS, "seq_len": CELLS, "width": 8, "layers": 1, "heads": 2, "multiple_of": 8}
    return Asked(ReasonerConfig(**shape, cycles=1, inner_updates=2, state="candidates"))


def states(*seeds: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Puzzles 0, 1, ... with candidates drawn from a seed each."""
    inputs = torch.arange(len(seeds) * CELLS).view(-1, CELLS) % SYMBOLS
    candidates = [torch.rand(CELLS, SYMBOLS, generator=torch.Generator().manual_seed(seed)) < 0.5 for seed in seeds]
    return inputs, torch.zeros(len(seeds), dtype=torch.int64), torch.stack(candidates)


def test_it_says_what_the_reasoner_says_and_asks_of_new_states_alone(reasoner):
    memoized = MemoizedReasoner(reasoner, 3)
    for seeds in ((1, 2, 3), (1, 4, 3), (1, 2, 3), (5, 4, 6)):
        found = memoized.step(*states(*seeds))
        asked, wanted = list(reasoner.rows), reasoner.step(*states(*seeds))
        reasoner.rows = asked
        for part, whole in zip(found, wanted, strict=True):
            assert part.dtype == whole.dtype and part.shape[:2] == (3, 1)
            torch.testing.assert_close(part[:, 0], whole[:, -1])
    assert reasoner.rows == [3, 1, 2]


def test_when_there_is_no_more_room_states_are_read_again(reasoner, monkeypatch):
    monkeypatch.setattr("latent_rl.agents.memoized.MOST_BYTES", 3 * 8 * CELLS * SYMBOLS)
    memoized = MemoizedReasoner(reasoner, 2)
    for seeds in ((1, 2), (3, 4), (1, 2), (3, 4)):
        memoized.step(*states(*seeds))
    assert reasoner.rows == [2, 2, 1]
    assert memoized.asked.tolist() == [False, True]
    memoized.of_rows(torch.tensor([True, False]))  # whoever leaves makes room
    left = [part[:1] for part in states(5, 5)]
    memoized.step(*left)
    memoized.step(*left)
    assert reasoner.rows == [2, 2, 1, 1]


def test_puzzles_are_told_apart_also_when_others_leave(reasoner):
    memoized = MemoizedReasoner(reasoner, 2)
    memoized.step(*states(1, 2))
    memoized.step(*states(2, 1))  # the states of each other are new to both
    assert reasoner.rows == [2, 2]
    memoized.of_rows(torch.tensor([False, True]))
    inputs, puzzle_id, candidates = states(0, 1)
    found = memoized.step(inputs[1:], puzzle_id[1:], candidates[1:])
    assert reasoner.rows == [2, 2]
    torch.testing.assert_close(found.keep_logits[:, 0], reasoner.step(*states(0, 1)).keep_logits[1:, -1])
