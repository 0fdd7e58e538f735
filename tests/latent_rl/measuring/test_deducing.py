"""Deduction measured: every pass of every step, branch and restart is booked, and nobody else's draws change."""

from __future__ import annotations

import pytest
import torch
from toy_puzzle import Backwards

from latent_rl.agents import (
    CandidateReasoner,
    Deduction,
    DeductionOutput,
    FailedTries,
    MemoizedReasoner,
    ReasonerConfig,
    Team,
)
from latent_rl.envs import IGNORE, Instances, possible_symbols
from latent_rl.measuring import Ledger, answer_by_deduction, evaluate_deduction, trace_deduction

UPDATES, CELLS = 2, 4


class Scripted(CandidateReasoner):
    """Is sure of the last letter only, and where it branches thinks the right symbol the likeliest, but not by much."""

    def step(self, inputs, puzzle_id, candidates):
        output = super().step(inputs, puzzle_id, candidates)  # for the passes
        keep = torch.full_like(output.keep_logits, 5.0)
        right = torch.nn.functional.one_hot(inputs[:, 0], 6).bool()
        keep[:, :, -1] = torch.where(right, 5.0, -5.0).unsqueeze(1)
        symbols = 2.0 * torch.nn.functional.one_hot(inputs.flip(-1), 6)
        # The fewer are left, the surer: so it matters which state was read.
        symbols = symbols / candidates.sum((-2, -1)).view(-1, 1, 1) * 12
        return DeductionOutput(
            keep, symbols.unsqueeze(1).expand_as(keep), torch.full_like(output.conflict_logits, -5.0)
        )


class Apart(Team):
    """A process that tells what it has seen itself, as if the others had seen nothing."""

    def sum(self, value):
        return value


@pytest.fixture
def puzzle() -> Backwards:
    return Backwards(train=200)


@pytest.fixture
def reasoner(puzzle) -> Scripted:
    torch.manual_seed(0)
    shape = {"vocab_size": 6, "seq_len": CELLS, "width": 8, "layers": 1, "heads": 2, "multiple_of": 8}
    made = Scripted(ReasonerConfig(**shape, cycles=1, inner_updates=UPDATES, state="candidates"))
    made.possible.copy_(possible_symbols(puzzle))
    return made


def measured(reasoner, puzzle, **changes):
    ledger = Ledger()
    watch = ledger.watch(reasoner.network)
    how = {"max_steps": 40, "batch_size": 4, "ledger": ledger, **changes}
    found = evaluate_deduction(reasoner, puzzle, puzzle.instances("test"), Deduction(), **how)
    watch.remove()
    return found, ledger


def test_every_pass_is_booked(reasoner, puzzle):
    found, ledger = measured(reasoner, puzzle)
    assert ledger.forward["eval"] == pytest.approx(found.passes_per_puzzle * 10)
    # A state in which a puzzle has been before costs none.
    taken = UPDATES * sum(found.active_by_step)
    assert 0.3 * taken < found.passes_per_puzzle < 0.9 * taken
    assert found.passes_by_step[2] == pytest.approx(UPDATES * sum(found.active_by_step[:3])), "no try is over yet"
    assert found.active_by_step[0] == 1.0
    assert len(found.solved_by_step) == len(found.passes_by_step) == 40
    assert found.passes_by_step[-1] == found.passes_per_puzzle
    # A deduction and three guesses take three steps at least; some puzzle was begun anew.
    assert found.solved_by_step[1] == 0.0 < found.solved_by_step[2]
    assert found.active_by_step[3] > 0.5
    assert sorted(found.solved_by_step) == found.solved_by_step


def test_the_same_puzzles_are_solved_in_the_same_way_and_nobody_elses_draws_change(reasoner, puzzle):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    one, _ = measured(reasoner, puzzle)
    assert torch.equal(torch.rand(3), wanted)
    torch.rand(7)
    other, _ = measured(reasoner, puzzle)
    assert one.solved_by_step == other.solved_by_step and one.passes_by_step == other.passes_by_step


def test_a_puzzle_is_solved_in_the_same_way_in_whatever_company(reasoner, puzzle):
    """So that processes can share them."""
    together, _ = measured(reasoner, puzzle, batch_size=10)
    few, _ = measured(reasoner, puzzle, batch_size=3)
    assert together.solved_by_step == few.solved_by_step
    assert together.passes_by_step == pytest.approx(few.passes_by_step)
    shares, ledgers = zip(*(measured(reasoner, puzzle, team=Apart(rank, 3)) for rank in range(3)), strict=True)
    assert [found.puzzles for found in shares] == [3, 3, 4]
    assert sum(ledger.forward["eval"] for ledger in ledgers) == pytest.approx(10 * together.passes_per_puzzle)
    solved = sum(found.puzzles * torch.tensor(found.solved_by_step) for found in shares)
    assert torch.allclose(solved, 10 * torch.tensor(together.solved_by_step))


class Mistaken(CandidateReasoner):
    """Knows all letters but the first, of which it is sure of a wrong one."""

    def step(self, inputs, puzzle_id, candidates):
        output = super().step(inputs, puzzle_id, candidates)  # for the passes
        right = torch.nn.functional.one_hot(inputs.flip(-1), 6)
        keep = torch.where(right.bool(), 5.0, -5.0)
        keep[:, 0] = 5.0
        wrong = torch.nn.functional.one_hot(inputs.flip(-1) % 5 + 1, 6)  # 148 times as likely as the right one
        conflict = torch.full_like(output.conflict_logits, -5.0)
        return DeductionOutput(
            *(one.unsqueeze(1).expand_as(output.keep_logits) for one in (keep, 5.0 * wrong)), conflict
        )


def test_who_is_sure_of_what_is_wrong_comes_to_try_something_else(reasoner, puzzle, monkeypatch):
    mistaken = Mistaken(reasoner.config)
    mistaken.possible.copy_(reasoner.possible)
    remembered, _ = measured(mistaken, puzzle)
    monkeypatch.setattr(FailedTries, "discounted", lambda self, odds, cell: odds)
    forgotten, _ = measured(mistaken, puzzle)
    assert forgotten.solved_by_step[-1] <= 0.6
    assert remembered.solved_by_step[-1] >= 0.9


def test_what_is_known_of_a_state_changes_nothing_but_the_passes(reasoner, puzzle, monkeypatch):
    once, _ = measured(reasoner, puzzle)
    monkeypatch.setattr(MemoizedReasoner, "step", lambda self, *state: self.reasoner.step(*state))
    again, _ = measured(reasoner, puzzle)
    assert once.solved_by_step == again.solved_by_step and once.active_by_step == again.active_by_step
    assert again.passes_per_puzzle == pytest.approx(UPDATES * sum(again.active_by_step))
    assert once.passes_per_puzzle < 0.9 * again.passes_per_puzzle


def test_each_puzzle_has_its_own_passes_in_whatever_company(reasoner, puzzle):
    inputs = puzzle.instances("test").inputs
    found = answer_by_deduction(reasoner, puzzle, inputs, Deduction(), 12, batch_size=4)
    alone = [trace_deduction(reasoner, puzzle, board, Deduction(), 12) for board in inputs]
    assert found.passes.tolist() == [trace.passes for trace in alone]
    assert any(trace.passes < UPDATES * len(trace.steps) for trace in alone)


def test_what_nobody_knows_scores_nothing_but_costs_passes(reasoner, puzzle):
    test = puzzle.instances("test")
    solution = test.solution.clone()
    solution[3:] = IGNORE
    puzzle.instances = lambda split: Instances.of(test.inputs, solution)
    found, ledger = measured(reasoner, puzzle)
    assert found.puzzles == 3 and found.passes_per_puzzle == pytest.approx(ledger.forward["eval"] / 10)


def test_a_trace_tells_every_step(reasoner, puzzle):
    board = puzzle.instances("test").inputs[0]
    trace = trace_deduction(reasoner, puzzle, board, Deduction(), 200)
    assert trace.solved and trace.full
    assert bool(puzzle.is_solved(board[None], trace.answer[None]))
    begun, states, spent = frozenset(), set(), []
    for step in trace.steps:
        states.add(begun)
        spent.append(UPDATES * len(states))
        begun = frozenset() if step.conflict else begun | {step.branch}
    assert [step.passes for step in trace.steps] == spent and len(states) < len(trace.steps)
    first, second = trace.steps[:2]
    assert first.removed == 4 and first.branch is not None and first.candidates == 12
    assert second.removed == 0 and second.branch is not None and second.candidates == 8
    assert trace.restarts == sum(step.conflict for step in trace.steps)
    assert all(step.candidates == 20 for step in trace.steps if step.conflict)
    again = trace_deduction(reasoner, puzzle, board, Deduction(), 200)
    assert [step.branch for step in again.steps] == [step.branch for step in trace.steps]
    short = trace_deduction(reasoner, puzzle, board, Deduction(), 2)
    assert not short.full and not short.solved and short.passes == 2 * UPDATES


def test_what_was_given_for_an_open_cell_is_no_answer(reasoner, puzzle):
    """Of a puzzle whose answer is what was given, nothing is right before it is decided."""
    same = puzzle.instances("test")
    same = Instances.of(same.inputs, same.inputs)
    how = {"max_steps": 1, "batch_size": 4, "ledger": Ledger()}
    how["ledger"].watch(reasoner.network)
    found = evaluate_deduction(reasoner, puzzle, same, Deduction(keep_threshold=0.0), **how)
    assert found.accuracy_by_step == [0.0] and found.cells_by_step[0] <= 0.25, "a branch decides one cell of four"
