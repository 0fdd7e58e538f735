"""How an answer is read from logits: the likeliest token of each cell, or, to learn from reward, a sample.

Sampling costs no network pass, and a sampled answer changes nothing about the latents that follow. So many answers of
one step, a *group*, are as many rollouts of the same puzzle for the price of one (docs/rl.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.utils import ExplorationType, exploration_type

from latent_rl.agents.memory import AnswerMemory
from latent_rl.agents.stablemax import Kind, stablemax_logits
from latent_rl.agents.team import current_team, draw_rows

PAD = 0
"""The token of padding, which no answer holds."""

FreeCells = Callable[[Tensor], Tensor]
"""Which cells of an answer are free: inputs int64 `[B, L]` to bool `[B, L]`."""


@dataclass(frozen=True)
class AnswerPolicy:
    """A distribution over answers: every free cell a token of its own, all other cells as they are given.

    Attributes:
        free_cells: which cells are free.
        group: answers that are drawn in a step, at least 1.
        temperature: of the tokens' probabilities, above 0.
        cross_entropy: what turns logits into probabilities, as in `PolicyImprovementLoss`.
        act: the action: `"sampled"`, the first of the group, or `"likeliest"`.
    """

    free_cells: FreeCells
    group: int = 32
    temperature: float = 1.0
    cross_entropy: Kind = "softmax"
    act: Literal["sampled", "likeliest"] = "sampled"

    def __post_init__(self) -> None:
        if self.group < 1:
            raise ValueError(f"group must be at least 1, got {self.group}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")

    def log_probs(self, logits: Tensor) -> Tensor:
        """Log-probabilities of tokens, float32 of the shape of `logits`, `[*B, L, V]`; of padding minus infinity."""
        scores = stablemax_logits(logits).float() if self.cross_entropy == "stablemax" else logits
        return _without_padding(scores / self.temperature).log_softmax(-1)

    def greedy(self, logits: Tensor, inputs: Tensor) -> Tensor:
        """The likeliest answer, int64 `[*B, L]`, of logits `[*B, L, V]`, with givens as in `inputs`, `[*B, L]`."""
        return torch.where(self.free_cells(inputs), _without_padding(logits).argmax(-1), inputs)

    @torch.no_grad()
    def draw(self, logits: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """A group of answers to inputs int64 `[B, L]`, from logits `[B, L, V]`.

        Returns:
            `group`, int64 `[B, K, L]`; `group_log_prob`, float32 `[B, K, L]`, of each cell, 0 where it is not free;
            `answer`, int64 `[B, L]`, the first of the group, or the likeliest if that is to act, as always under
            deterministic exploration;
            `answer_log_prob`, float32 `[B]`.
        """
        log_probs, free = self.log_probs(logits), self.free_cells(inputs)
        cells = torch.distributions.Categorical(logits=log_probs, validate_args=False)
        group = draw_rows(self._draw_group, log_probs).transpose(0, 1)
        cell_log_prob = torch.where(free, cells.log_prob(group), 0.0)
        group = torch.where(free, group, inputs)
        answer, likely = group[0], cell_log_prob[0]
        if self.act == "likeliest" or exploration_type() == ExplorationType.DETERMINISTIC:
            answer = self.greedy(logits, inputs)
            likely = log_probs.gather(-1, answer.unsqueeze(-1)).squeeze(-1).masked_fill(~free, 0.0)
        return {
            "group": group.transpose(0, 1),
            "group_log_prob": cell_log_prob.transpose(0, 1),
            "answer": answer,
            "answer_log_prob": likely.sum(-1),
        }

    def _draw_group(self, log_probs: Tensor) -> Tensor:
        cells = torch.distributions.Categorical(logits=log_probs, validate_args=False)
        return cells.sample((self.group,)).transpose(0, 1)


def _without_padding(scores: Tensor) -> Tensor:
    """Scores `[*B, L, V]` with minus infinity for padding."""
    padding = torch.arange(scores.shape[-1], device=scores.device) == PAD
    return scores.masked_fill(padding, -torch.inf)


class GroupJudge:
    """Says what the answers of a group are worth by the puzzle's rule, and what the policy's own answer is.

    Args:
        violations: of answers, `(inputs [B, L], answers [B, L]) -> float32 [B]`, see `Puzzle.violations`.
        worth: of violations, see `Reward.worth`.
        policy: the distribution that the group was drawn from.
        memory: of the best answers of earlier steps; None to forget them.
    """

    def __init__(
        self,
        violations: Callable[[Tensor, Tensor], Tensor],
        worth: Callable[[Tensor], Tensor],
        policy: AnswerPolicy,
        memory: AnswerMemory | None = None,
    ) -> None:
        self.violations, self.worth, self.policy, self.memory = violations, worth, policy, memory

    @torch.no_grad()
    def __call__(self, steps: TensorDictBase) -> TensorDictBase:
        """Write what the losses read into steps `[B]` that hold `inputs`, `logits` and `group`.

        `free`, bool `[B, L]`; `group_worth`, float32 `[B, K]`, and `group_solved`, bool `[B, K]`; of the likeliest
        answer by the logits as they are now `greedy`, int64 `[B, L]`, `greedy_worth`, float32 `[B]`, and
        `greedy_solved`, bool `[B]`; and of the best of all these, or of an earlier step's if it is remembered,
        `best`, int64 `[B, L]`, and `best_worth`, float32 `[B]`.
        """
        inputs, group = steps["inputs"], steps["group"]
        greedy = self.policy.greedy(steps["logits"], inputs)
        everything = torch.cat((group, greedy.unsqueeze(1)), dim=1)
        asked = inputs.unsqueeze(1).expand_as(everything)
        violations = self.violations(asked.flatten(0, 1), everything.flatten(0, 1)).view(everything.shape[:2])
        worth = self.worth(violations)
        best_worth, place = worth.max(-1)
        best = everything[torch.arange(len(place), device=place.device), place]
        if self.memory is not None:
            known, known_worth = self.memory.recall(inputs)
            # Those of a whole team, in the order of their rows: every process remembers the same.
            self.memory.remember(*map(current_team().gather, (inputs, best, best_worth)))
            better = known_worth > best_worth
            best = torch.where(better.unsqueeze(-1), known, best)
            best_worth = torch.where(better, known_worth, best_worth)
        return steps.update(
            {
                "free": self.policy.free_cells(inputs),
                "group_worth": worth[:, :-1],
                "group_solved": violations[:, :-1] == 0,
                "greedy": greedy,
                "greedy_worth": worth[:, -1],
                "greedy_solved": violations[:, -1] == 0,
                "best": best,
                "best_worth": best_worth,
            }
        )
