"""The decision process over candidates as pure functions on batches of tensors: what a step deduces becomes the state.

After the Lattice Deduction Transformer (arXiv 2605.08605): for every cell the state holds the symbols that are still
possible, a step removes some of them, and where that leads nowhere the puzzle is begun anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_rl.envs.mdp.config import CandidateConfig
from latent_rl.envs.mdp.contract import CANDIDATE_KEYS, Sizes
from latent_rl.envs.mdp.dynamics import Episodes, Rules, Transition
from latent_rl.envs.mdp.rewards import Standing
from latent_rl.envs.puzzle import IGNORE, PAD, Instances, Puzzle


@dataclass(frozen=True)
class CandidateState(Episodes):
    """Where the `B` episodes of a batch are: the observed and privileged keys of the contract.

    Every field is called as its key is in `contract.CANDIDATE_KEYS`, which says its dtype and its shape behind `[B]`.
    """

    table = CANDIDATE_KEYS

    inputs: Tensor
    solution: Tensor
    puzzle_id: Tensor
    candidates: Tensor
    given: Tensor
    step: Tensor
    restarts: Tensor
    quality: Tensor
    solved: Tensor
    violations: Tensor
    episode_seed: Tensor
    lost_for: Tensor

    @property
    def answer(self) -> Tensor:
        """The symbol of every cell that has one candidate, of the others what was given for them: int64 `[B, L]`."""
        return read_answer(self.inputs, self.candidates)


_ODD = 0x2545F4914F6CDD1D
"""Spreads neighbouring numbers over all 64 bits."""


def read_answer(inputs: Tensor, candidates: Tensor) -> Tensor:
    """The symbol of every cell that has one candidate, of the others the token of `inputs`: int64 `[B, L]`."""
    return torch.where(candidates.sum(-1) == 1, candidates.long().argmax(-1), inputs)


def _lost(candidates: Tensor, solution: Tensor) -> Tensor:
    """Which states have lost the key's answer, bool `[B]`: the symbol of a counted cell is no candidate any more."""
    return ((solution != IGNORE) & ~_right_possible(candidates, solution)).any(-1)


def _right_possible(candidates: Tensor, solution: Tensor) -> Tensor:
    """Which cells count and can still hold the symbol of the key, bool `[B, L]`."""
    counted = solution != IGNORE
    return counted & candidates.gather(-1, solution.where(counted, 0).unsqueeze(-1)).squeeze(-1)


def possible_symbols(puzzle: Puzzle) -> Tensor:
    """Which symbols a cell can turn out to hold, by the token that was given for it: bool `[V, V]`.

    Those that the answers of the training puzzles hold in such cells: all digits where a blank was given, the digit
    itself where a digit was, path or floor where floor was. A token that no training puzzle gives may turn out to be
    any but padding, and padding stays what it is.

    Raises:
        PuzzleError: if the training data are missing or malformed.
    """
    train = puzzle.instances("train")
    counted = train.solution != IGNORE
    possible = torch.zeros(puzzle.vocab_size, puzzle.vocab_size, dtype=torch.bool)
    possible[train.inputs[counted], train.solution[counted]] = True
    unseen = ~possible.any(-1)
    possible[unseen] = torch.arange(puzzle.vocab_size) != PAD
    if unseen[PAD]:
        possible[PAD] = F.one_hot(torch.tensor(PAD), puzzle.vocab_size).bool()
    return possible


@dataclass(frozen=True)
class CandidateDynamics(Rules):
    """The rules of the decision process over candidates for one puzzle.

    Attributes:
        puzzle: the rule that says what is solved.
        config: everything else that is told, see there.
        possible: bool `[V, V]`, which symbols a cell starts with, by its token.
    """

    state_type = CandidateState

    puzzle: Puzzle
    config: CandidateConfig
    possible: Tensor

    @property
    def device(self) -> torch.device:
        """Where everything is kept and computed."""
        return self.possible.device

    @cached_property
    def sizes(self) -> Sizes:
        """What the symbols of the contract stand for here."""
        return {
            "L": self.puzzle.seq_len,
            "L + 1": self.puzzle.seq_len + 1,
            "V": self.puzzle.vocab_size,
            "puzzle ids": max(1, self.puzzle.num_puzzle_ids),
            "max_steps + 1": self.config.max_steps + 1,
        }

    def start(self, instances: Instances, episode_seed: Tensor) -> CandidateState:
        """The first state of episodes on `instances` (`B` of them), with seeds int64 `[B]`."""
        inputs = instances.inputs
        candidates = self.possible[inputs]
        fresh = self._standing(inputs, instances.solution, candidates)
        return CandidateState(
            inputs=inputs,
            solution=instances.solution,
            puzzle_id=instances.puzzle_id,
            candidates=candidates,
            given=candidates.sum(-1) == 1,
            step=torch.zeros_like(instances.puzzle_id),
            restarts=torch.zeros_like(instances.puzzle_id),
            **fresh._asdict(),
            episode_seed=episode_seed,
            lost_for=torch.zeros_like(instances.puzzle_id),
        )

    def step(self, state: CandidateState, keep: Tensor, branch_cell: Tensor, branch_symbol: Tensor) -> Transition:
        """One deduction step of every episode: remove candidates, pin a cell, and begin anew where that was wrong.

        What is removed stays removed, but that a cell that was given is never touched. A conflict is a cell without a
        candidate, or a board that is full and that the puzzle's own rule refutes; it starts the puzzle anew. Without a
        rule a full board is the answer, right or wrong: only the key could refute it.

        Args:
            state: where the episodes are.
            keep: bool `[B, L, V]`, False for candidates that go. Who has seen a conflict keeps nothing.
            branch_cell: int64 `[B]`, the cell that is pinned to a symbol after that; `L` for none.
            branch_symbol: int64 `[B]`, the symbol.
        """
        candidates = state.candidates & (keep | state.given.unsqueeze(-1))
        if self.config.guided_branches:
            branch_symbol = self._guided(state, candidates, branch_cell, branch_symbol)
        pinned = F.one_hot(branch_cell, self.puzzle.seq_len + 1)[:, :-1].bool().unsqueeze(-1)
        symbol = F.one_hot(branch_symbol, self.puzzle.vocab_size).bool().unsqueeze(1)
        candidates = candidates & (symbol | ~pinned)

        reached = self._standing(state.inputs, state.solution, candidates)
        counts = candidates.sum(-1)
        full = (counts == 1).all(-1)
        conflict = (counts == 0).any(-1)
        if self.puzzle.has_rule:
            conflict = conflict | (full & ~reached.solved)
        candidates = torch.where(conflict.view(-1, 1, 1), self.possible[state.inputs], candidates)

        step = state.step + 1
        after = self._standing(state.inputs, state.solution, candidates)
        terminated = full & ~conflict
        lost_for = torch.where(_lost(candidates, state.solution), state.lost_for + 1, 0)
        next_state = replace(
            state,
            candidates=candidates,
            step=step,
            restarts=state.restarts + conflict,
            **after._asdict(),
            lost_for=lost_for,
        )
        truncated = step >= self.config.max_steps
        if self.config.lost_steps is not None:
            truncated = truncated | (lost_for >= self.config.lost_steps)
        before = Standing(state.quality, state.solved, state.violations)
        reward = self.config.reward(before, after, self.config.passes_per_step)
        return Transition(next_state, reward, terminated, truncated & ~terminated)

    def _guided(self, state: CandidateState, candidates: Tensor, cell: Tensor, symbol: Tensor) -> Tensor:
        """The symbols that branches pin, some of them those of the key where these are candidates still."""
        index = cell.clamp(max=self.puzzle.seq_len - 1).unsqueeze(-1)
        right = state.solution.gather(1, index).squeeze(-1)
        possible = _right_possible(candidates, state.solution).gather(1, index).squeeze(-1)
        # Decided by row and step alone, so that no number of rows or processes changes it.
        mixed = (state.episode_seed ^ (state.step * _ODD)) * _ODD
        chosen = ((mixed >> 31) & (2**30 - 1)) < self.config.guided_branches * 2**30
        return torch.where(chosen & possible, right, symbol)

    def _standing(self, inputs: Tensor, solution: Tensor, candidates: Tensor) -> Standing:
        """How far deduction has come: the share of surplus candidates that are gone, and whether a full board is right.

        Nothing here reads the key of a puzzle that has a rule.
        """
        first, now = (cells.sum((-2, -1)) - self.puzzle.seq_len for cells in (self.possible[inputs], candidates))
        gone = 1.0 - now.float() / first.clamp(min=1).float()
        full = (candidates.sum(-1) == 1).all(-1)
        solved = full & self.puzzle.judge(inputs, read_answer(inputs, candidates), solution)
        return Standing(gone, solved, (~solved).float())


def make_candidate_dynamics(puzzle: Puzzle, config: CandidateConfig, device: torch.device) -> CandidateDynamics:
    """The rules for a puzzle, on a device.

    Raises:
        PuzzleError: if the table of possible symbols has to be read off the training data, and there are none.
        ValueError: if the table that was given is not one of this puzzle.
    """
    possible = config.possible if config.possible is not None else possible_symbols(puzzle)
    expected = (puzzle.vocab_size, puzzle.vocab_size)
    if possible.dtype != torch.bool or tuple(possible.shape) != expected:
        raise ValueError(f"possible must be bool {list(expected)}, got {possible.dtype} {list(possible.shape)}")
    return CandidateDynamics(puzzle, config, possible.to(device))
