"""Steps over candidates: what the reasoner computes, and how its logits become an action."""

from __future__ import annotations

import pytest
import torch
from small import CELLS, TOKENS, WIDTH
from tensordict import TensorDict

from latent_rl.agents import (
    CandidateReasoner,
    Deduction,
    DeductionOutput,
    DeductionPolicy,
    FailedTries,
    ReasonerConfig,
    RecursiveReasoner,
    StepGraph,
    choose,
    make_reasoner,
)
from latent_rl.agents.deduction import scattered

UPDATES = 3
SHAPE = {"vocab_size": TOKENS, "seq_len": CELLS, "width": WIDTH, "layers": 1, "heads": 2, "multiple_of": 8}
CANDIDATES = {**SHAPE, "cycles": 1, "inner_updates": UPDATES, "state": "candidates"}


def reasoner(**changes: object) -> CandidateReasoner:
    torch.manual_seed(0)
    return make_reasoner(ReasonerConfig(**{**CANDIDATES, **changes}))


def observation(rows: int = 4) -> TensorDict:
    generator = torch.Generator().manual_seed(1)
    candidates = torch.rand(rows, CELLS, TOKENS, generator=generator) < 0.6
    candidates[:, :, 1] = True
    candidates[:, 0] = torch.nn.functional.one_hot(torch.tensor(2), TOKENS).bool()
    return TensorDict(
        {
            "inputs": torch.randint(1, TOKENS, (rows, CELLS), generator=generator),
            "puzzle_id": torch.zeros(rows, dtype=torch.int64),
            "candidates": candidates,
            "given": torch.arange(CELLS).eq(0).expand(rows, -1),
            "step": torch.arange(rows),
            "restarts": torch.zeros(rows, dtype=torch.int64),
        },
        [rows],
    )


def output(keep: torch.Tensor, symbols: torch.Tensor, conflict: torch.Tensor) -> DeductionOutput:
    """Logits of two inner updates, the first of which nobody must act on."""
    return DeductionOutput(*(torch.stack((-100 * one, one), dim=1) for one in (keep, symbols, conflict)))


def untouched(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Nothing was given, and no puzzle was begun anew."""
    return torch.zeros(rows, CELLS, dtype=torch.bool), torch.zeros(rows, dtype=torch.int64)


def test_the_configuration_says_which_reasoner():
    assert type(make_reasoner(ReasonerConfig(**SHAPE))) is RecursiveReasoner
    assert type(reasoner()) is CandidateReasoner
    for changes in ({"cycles": 2}, {"feed": "answer"}, {"step_embedding_steps": 6}):
        (name,) = changes
        with pytest.raises(ValueError, match=f"a reasoner over candidates has {name}="):
            reasoner(**changes)


def test_a_step_is_as_many_passes_as_it_has_updates_and_reads_every_one():
    net, seen = reasoner(), []
    net.network.register_forward_hook(lambda *_: seen.append(1))
    found = net.step(*(observation()[key] for key in net.step_keys))
    assert len(seen) == net.config.passes_per_step == UPDATES
    assert found.keep_logits.shape == found.symbol_logits.shape == (4, UPDATES, CELLS, TOKENS)
    assert found.conflict_logits.shape == (4, UPDATES)
    assert found.readouts.keys() == {"keep_logits", "symbol_logits", "conflict_logits"}
    less = reasoner(inner_updates=UPDATES - 1)
    shorter = less.step(*(observation()[key] for key in net.step_keys))
    assert torch.equal(shorter.keep_logits, found.keep_logits[:, :-1])


def test_a_step_depends_on_the_candidates_and_on_nothing_that_was_before():
    net, seen = reasoner(), observation()
    first = net.step(seen["inputs"], seen["puzzle_id"], seen["candidates"])
    again = net.step(seen["inputs"], seen["puzzle_id"], seen["candidates"])
    fewer = seen["candidates"].clone()
    fewer[:, 3, 1] = False
    other = net.step(seen["inputs"], seen["puzzle_id"], fewer)
    assert torch.equal(first.keep_logits, again.keep_logits)
    assert not torch.equal(first.keep_logits, other.keep_logits)


def test_candidates_go_that_are_unlikelier_than_the_threshold():
    seen = observation(1)
    keep = torch.full((1, CELLS, TOKENS), 5.0)
    keep[0, 2, 1], keep[0, 3, 1] = -2.0, -2.5  # probabilities 0.12 and 0.08
    logits = output(keep, torch.zeros_like(keep), torch.tensor([-9.0]))
    found = choose(logits, seen["candidates"], seen["given"], seen["restarts"], Deduction())
    assert (~found["keep"]).nonzero().tolist() == [[0, 3, 1]]


def test_a_puzzle_that_was_begun_anew_takes_a_surer_step():
    seen = observation(3)
    keep = torch.full((3, CELLS, TOKENS), 5.0)
    keep[:, 3, 1] = -2.5  # probability 0.08: below 0.1, not below 0.05
    logits = output(keep, torch.zeros_like(keep), torch.full((3,), -9.0))
    restarts = torch.tensor([0, 1, 4])
    found = choose(logits, seen["candidates"], seen["given"], restarts, Deduction())
    assert found["keep"][:, 3, 1].tolist() == [False, True, True]
    reckless = choose(logits, seen["candidates"], seen["given"], restarts, Deduction(restart_decay=1.0))
    assert reckless["keep"][:, 3, 1].tolist() == [False, False, False]


def test_restarts_bring_the_threshold_to_its_floor_and_no_further():
    seen = observation(3)
    keep = torch.full((3, CELLS, TOKENS), 5.0)
    keep[:, 3, 1] = -4.0  # probability 0.018
    logits = output(keep, torch.zeros_like(keep), torch.full((3,), -9.0))
    restarts = torch.tensor([0, 2, 40])
    found = choose(logits, seen["candidates"], seen["given"], restarts, Deduction(restart_floor=0.02))
    assert found["keep"][:, 3, 1].tolist() == [False, False, False]
    lower = choose(logits, seen["candidates"], seen["given"], restarts, Deduction(restart_floor=0.0))
    assert lower["keep"][:, 3, 1].tolist() == [False, False, True]
    below = Deduction(keep_threshold=0.01, restart_floor=0.02)  # a floor raises nothing
    assert choose(logits, seen["candidates"], seen["given"], restarts, below)["keep"].all()


def test_a_sure_conflict_keeps_nothing():
    seen = observation(2)
    keep = torch.full((2, CELLS, TOKENS), 5.0)
    conflict = torch.tensor([4.0, 3.8])  # probabilities 0.982 and 0.978
    logits = output(keep, torch.zeros_like(keep), conflict)
    found = choose(logits, seen["candidates"], seen["given"], seen["restarts"], Deduction())
    assert not found["keep"][0].any() and found["keep"][1].all()
    assert found["branch_cell"][0] == CELLS and found["branch_cell"][1] < CELLS
    careful = choose(logits, seen["candidates"], seen["given"], seen["restarts"], Deduction(conflict_threshold=0.99))
    assert careful["keep"].all() and (careful["branch_cell"] < CELLS).all()


def test_a_step_branches_where_the_fewest_candidates_are():
    candidates = torch.zeros(2, CELLS, TOKENS, dtype=torch.bool)
    candidates[:, :, 1:4] = True
    candidates[:, 2, 3] = candidates[:, 4, 3] = False  # two candidates each: 1 and 2
    candidates[:, 0, 2:4] = False  # decided
    symbols = torch.zeros(2, CELLS, TOKENS)
    symbols[0, 2, 1], symbols[0, 4, 2], symbols[0, 5, 3] = 1.0, 40.0, 90.0
    symbols[1, 2, 2], symbols[1, 4, 4] = 40.0, 99.0  # 4 is no candidate
    keep, conflict = torch.full((2, CELLS, TOKENS), 5.0), torch.full((2,), -9.0)
    found = choose(output(keep, symbols, conflict), candidates, *untouched(2), Deduction())
    # Cells 2 and 4 are the tightest; the surer one is taken, and what it is sure of.
    assert found["branch_cell"].tolist() == [4, 2]
    assert found["branch_symbol"].tolist() == [2, 2]


def test_a_step_branches_in_what_it_leaves():
    candidates = torch.zeros(2, CELLS, TOKENS, dtype=torch.bool)
    candidates[:, :, 1] = True
    candidates[:, 3, 1:4] = candidates[:, 5, 1:3] = True
    keep = torch.full((2, CELLS, TOKENS), 5.0)
    keep[:, 5, 2] = -5.0  # decides cell 5, so that 3 is left
    keep[1, 3, 2:4] = -5.0  # decides that, too
    logits = output(keep, torch.zeros_like(keep), torch.full((2,), -9.0))
    found = choose(logits, candidates, *untouched(2), Deduction())
    assert found["branch_cell"].tolist() == [3, CELLS]
    keep[0, 1] = -5.0  # nothing is left for cell 1: a conflict, whatever else is undecided
    logits = output(keep, torch.zeros_like(keep), torch.full((2,), -9.0))
    assert choose(logits, candidates, *untouched(2), Deduction())["branch_cell"].tolist() == [CELLS, CELLS]


def test_what_a_failed_try_has_branched_on_is_drawn_less():
    candidates = torch.zeros(1, CELLS, TOKENS, dtype=torch.bool)
    candidates[:, :, 1:3] = True
    symbols = torch.zeros(1, CELLS, TOKENS)
    symbols[0, 4, 1] = 1.0  # 73% for symbol 1, in the surest cell
    logits = output(torch.full_like(symbols, 5.0), symbols, torch.full((1,), -9.0))
    given, tries = torch.zeros(1, CELLS, dtype=torch.bool), FailedTries(1)
    drawn = []
    for restarts in range(4):
        chance = torch.tensor([0.5], dtype=torch.float64)
        found = choose(logits, candidates, given, torch.tensor([restarts]), Deduction(), chance, tries)
        assert found["branch_cell"].tolist() == [4]
        drawn.append(int(found["branch_symbol"]))
    # Half of 73 : 27 is drawn as 1, of 37 : 27 too, of 24 : 27 not.
    assert drawn == [1, 1, 2, 1]


def test_symbols_are_drawn_from_what_is_left_by_their_probability_at_a_temperature():
    candidates = torch.ones(4000, CELLS, TOKENS, dtype=torch.bool)
    candidates[:, :, 0] = candidates[:, :, 4] = False
    symbols = torch.tensor([9.0, 0.0, 1.0, 2.0, 9.0]).expand(4000, CELLS, TOKENS)
    logits = output(torch.full_like(symbols, 5.0), symbols, torch.full((4000,), -9.0))
    for temperature in (1.0, 3.0):
        torch.manual_seed(0)
        drawn = choose(logits, candidates, *untouched(4000), Deduction(temperature=temperature))["branch_symbol"]
        shares = torch.bincount(drawn, minlength=TOKENS) / 4000
        wanted = (symbols[0, 0, 1:4] / temperature).softmax(-1)
        assert torch.allclose(shares[1:4], wanted, atol=0.03)


def test_with_a_seed_a_puzzle_and_its_step_decide_what_is_drawn():
    net, seen = reasoner(), observation(64)
    seen["candidates"][:, 1:, 2:] = True
    seeded = DeductionPolicy(net, seed=0)
    all_together = seeded(seen.clone())["branch_symbol"]
    torch.manual_seed(9)
    assert torch.equal(seeded(seen[20:30].clone())["branch_symbol"], all_together[20:30])
    for changed in (
        DeductionPolicy(net, seed=1)(seen.clone()),
        seeded(seen.clone().update({"step": seen["step"] + 1})),
    ):
        assert not torch.equal(changed["branch_symbol"], all_together)


def test_what_is_scattered_is_uniform_over_puzzles_steps_and_seeds():
    puzzle = torch.randint(0, 10, (500, CELLS), generator=torch.Generator().manual_seed(0))
    of_steps = [scattered(puzzle, torch.full((500,), step), seed) for step in range(20) for seed in range(3)]
    for numbers in (torch.stack(of_steps), torch.stack(of_steps)[:, 0].unsqueeze(0)):
        assert 0 <= numbers.min() and numbers.max() < 1
        assert torch.histc(numbers, 4, 0, 1).sub(numbers.numel() / 4).abs().max() < 4 * numbers.numel() ** 0.5


def test_a_full_board_and_an_empty_cell_do_not_branch():
    candidates = torch.nn.functional.one_hot(torch.ones(2, CELLS, dtype=torch.int64), TOKENS).bool()
    candidates[1, 3] = False
    keep = torch.full((2, CELLS, TOKENS), 5.0)
    found = choose(
        output(keep, torch.zeros_like(keep), torch.full((2,), -9.0)),
        candidates,
        *untouched(2),
        Deduction(),
    )
    assert found["branch_cell"].tolist() == [CELLS, CELLS]


def test_the_policy_writes_the_action_and_leaves_the_graph():
    net, graph = reasoner(), StepGraph()
    policy = DeductionPolicy(net, graph=graph)
    with torch.no_grad():
        written = policy(observation())
    assert set(policy.out_keys) <= set(written.keys())
    assert written["keep"].shape == (4, CELLS, TOKENS) and written["branch_cell"].shape == (4,)
    taken = graph.take()
    assert taken.keep_logits.requires_grad and not written["keep"].requires_grad
    plain = DeductionPolicy(net)(observation())
    assert torch.equal(plain["keep"], written["keep"])
    one = DeductionPolicy(net)(observation()[0])
    assert one["branch_cell"].shape == () and torch.equal(one["keep"], written["keep"][0])
