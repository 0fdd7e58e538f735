"""Deduction, by a policy under the dynamics of its environment: measured on many puzzles, told step by step of one.

No key is read where a puzzle has a rule: an episode ends when the rule confirms the answer, or at the limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor

from latent_rl.agents import (
    ALONE,
    CandidateReasoner,
    Deduction,
    DeductionPolicy,
    FailedTries,
    MemoizedReasoner,
    Team,
)
from latent_rl.envs import (
    IGNORE,
    PAD,
    CandidateConfig,
    CandidateState,
    Instances,
    Puzzle,
    make_candidate_dynamics,
)
from latent_rl.measuring.batches import batches, share_of
from latent_rl.measuring.ledger import Ledger
from latent_rl.measuring.scores import is_known, score
from latent_rl.storage import Evaluation

SEED = 0
"""Of the symbols that branches try: but for rounding, a puzzle is solved in the same way in whatever company."""


class Deduced(NamedTuple):
    """One deduction step of the `A` rows that were still at work, of a batch of `B`.

    Attributes:
        rows: int64 `[A]`, which rows of the batch took the step, ascending.
        before: where they were.
        action: what they did, by the keys of the action.
        after: where that led.
        ended: bool `[A]`, rows for which this was the last step.
        asked: bool `[A]`, on the CPU: rows whose state was new to the puzzle, so that the step took network passes.
    """

    rows: Tensor
    before: CandidateState
    action: dict[str, Tensor]
    after: CandidateState
    ended: Tensor
    asked: Tensor


@torch.no_grad()
def deduce(
    reasoner: CandidateReasoner, puzzle: Puzzle, instances: Instances, deduction: Deduction, max_steps: int
) -> Iterator[Deduced]:
    """Yield the deduction steps of a batch, up to `max_steps`; a row whose puzzle is solved leaves the batch.

    What failed tries of a puzzle branched on is less likely to be tried again (`FailedTries`), and a state in which the
    puzzle has been before costs a step but no pass (`MemoizedReasoner`).

    Args:
        reasoner: takes the steps, on the device of the instances.
        puzzle: holds the rule.
        instances: a batch, of one at least.
        deduction: thresholds.
        max_steps: most steps to take, over all restarts of a puzzle.
    """
    tries, memoized = FailedTries(len(instances)), MemoizedReasoner(reasoner, len(instances))
    policy = DeductionPolicy(memoized, deduction, seed=SEED, tries=tries)
    config = CandidateConfig.of_reasoner(reasoner, max_steps=max_steps)
    dynamics = make_candidate_dynamics(puzzle, config, instances.inputs.device)
    rows = torch.arange(len(instances), device=instances.inputs.device)
    state = dynamics.start(instances, torch.zeros_like(rows))
    for _ in range(max_steps):
        acted = policy(TensorDict(state.observation, rows.shape))
        action = {key.name: acted[key.name] for key in dynamics.keys_of("action")}
        transition = dynamics.step(state, **action)
        yield Deduced(rows, state, action, transition.state, transition.terminated, memoized.asked)
        going = ~transition.terminated
        if not going.any():
            return
        tries.of_rows(going)
        memoized.of_rows(going)
        rows, state = rows[going], transition.state.of_rows(going)


def evaluate_deduction(
    reasoner: CandidateReasoner,
    puzzle: Puzzle,
    instances: Instances,
    deduction: Deduction,
    *,
    max_steps: int,
    batch_size: int,
    ledger: Ledger,
    on_progress: Callable[[int], object] | None = None,
    on_scores: Callable[[Tensor], object] | None = None,
    team: Team = ALONE,
) -> Evaluation:
    """Let the reasoner deduce on every instance, to the solution or the limit, and score what is decided by each step.

    A cell that is not decided counts as wrong. Passes are those of all steps, over all restarts, in states that were
    new to their puzzle.

    Args:
        reasoner: takes the steps, on its own device.
        puzzle: holds the rule.
        instances: at least one; need not be the puzzle's own. Those whose solution is `IGNORE` in every cell are
            answered but count neither as right nor as wrong.
        deduction: thresholds.
        max_steps: most deduction steps on an instance, over all restarts.
        batch_size: instances in work at the same time.
        ledger: watches the reasoner's network.
        on_progress: called after each batch with its number of puzzles.
        on_scores: as in `evaluate`.
        team: as in `evaluate`.
    """
    total, instances = len(instances), share_of(instances, team)
    # One row a step, sums over puzzles: exactly right, solved, cell accuracy.
    standing = torch.zeros(max_steps, 3, dtype=torch.float64)
    active, passes = torch.zeros(2, max_steps, dtype=torch.float64)
    counted = 0
    started = time.perf_counter()
    for batch in batches(instances, batch_size, reasoner, ledger, on_progress):
        known = is_known(batch.solution)
        counted += int(known.sum())
        scores = torch.zeros(3, len(batch), device=known.device)
        steps = deduce(reasoner, puzzle, batch, deduction, max_steps)
        for step in range(max_steps):
            before = ledger.forward["eval"]
            taken = next(steps, None)
            if taken is not None:
                exact, cells = score(_decided(taken.after), taken.after.solution)
                scores[:, taken.rows] = torch.stack([exact.float(), taken.after.solved.float(), cells])
                active[step] += len(taken.rows)
            passes[step] += ledger.forward["eval"] - before
            standing[step] += scores[:, known].sum(1).cpu().double()
        if on_scores is not None:
            on_scores(scores.cpu())
    counted = int(team.sum(torch.tensor(counted)))
    standing, active, passes = map(team.sum, (standing, active, passes))
    shares = (standing / max(counted, 1)).T.tolist()
    passes_by_step = (passes.cumsum(0) / total).tolist()
    return Evaluation(
        puzzles=counted,
        accuracy_by_step=shares[0],
        solved_by_step=shares[1],
        cells_by_step=shares[2],
        passes_per_puzzle=passes_by_step[-1],
        seconds=time.perf_counter() - started,
        active_by_step=(active / total).tolist(),
        passes_by_step=passes_by_step,
    )


def _decided(state: CandidateState) -> Tensor:
    """The symbols of cells that are decided, int64 `[B, L]`; of others padding, which is never right.

    What was given for an undecided cell may happen to be its answer: a piece of floor, an empty square.
    """
    return state.answer.masked_fill(state.candidates.sum(-1) != 1, PAD)


@dataclass(frozen=True)
class DeductionStep:
    """What one deduction step did to a puzzle.

    Attributes:
        answer: int64 `[L]`, the cells that are decided after it, and of the others what was given for them.
        candidates: int, how many are left over all cells.
        removed: int, how many the step removed because it was sure.
        branch: the cell and the symbol that it tried after that; None if it saw a conflict or left nothing undecided.
        conflict: whether that was a conflict, after which the puzzle was begun anew.
        passes: network passes spent up to and with the step, as the ledger counted them.
    """

    answer: Tensor
    candidates: int
    removed: int
    branch: tuple[int, int] | None
    conflict: bool
    passes: int


@dataclass(frozen=True)
class DeductionTrace:
    """How a puzzle was solved, or was not.

    Attributes:
        steps: what each did.
        full: whether the board is full in the end, which a puzzle with a rule only is if the rule confirms it.
        solved: whether the puzzle's own rule confirms the answer.
    """

    steps: list[DeductionStep]
    full: bool
    solved: bool

    @property
    def answer(self) -> Tensor:
        """What is decided in the end: int64 `[L]`."""
        return self.steps[-1].answer

    @property
    def passes(self) -> int:
        """Network passes spent, on all restarts."""
        return self.steps[-1].passes

    @property
    def restarts(self) -> int:
        """How often the puzzle was begun anew."""
        return sum(step.conflict for step in self.steps)


def trace_deduction(
    reasoner: CandidateReasoner, puzzle: Puzzle, inputs: Tensor, deduction: Deduction, max_steps: int
) -> DeductionTrace:
    """Deduce on one puzzle, int64 `[L]`, whose answer nobody needs to know, and tell what every step did."""
    inputs = inputs.unsqueeze(0).to(reasoner.initial_y.device)
    # Nobody knows the answer; where only a key could tell whether it is right, nothing is called solved.
    instances = Instances(inputs, torch.full_like(inputs, IGNORE), puzzle.ids_of(inputs))
    ledger = Ledger()
    watch = ledger.watch(reasoner.network)
    steps, taken = [], None
    try:
        with ledger.phase("eval"):
            for taken in deduce(reasoner, puzzle, instances, deduction, max_steps):
                steps.append(_told(taken, puzzle, ledger.forward["eval"]))
    finally:
        watch.remove()
    return DeductionTrace(steps, bool(taken.ended[0]), bool(taken.after.solved[0]))


def _told(taken: Deduced, puzzle: Puzzle, passes: int) -> DeductionStep:
    cell, symbol = int(taken.action["branch_cell"][0]), int(taken.action["branch_symbol"][0])
    conflict = bool(taken.after.restarts[0] > taken.before.restarts[0])
    kept = taken.before.candidates & (taken.action["keep"] | taken.before.given.unsqueeze(-1))
    return DeductionStep(
        answer=taken.after.answer[0].cpu(),
        candidates=int(taken.after.candidates.sum()),
        removed=int(taken.before.candidates.sum() - kept.sum()),
        branch=None if cell == puzzle.seq_len else (cell, symbol),
        conflict=conflict,
        passes=passes,
    )
