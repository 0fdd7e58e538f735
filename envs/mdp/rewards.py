"""What a recursion step is worth.

The environment takes any callable with the signature of `Reward.__call__`: a new reward is a small class of its own,
passed in as an object, not one more switch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Standing(NamedTuple):
    """How far the answers of a batch are.

    Attributes:
        quality: float32 `[B]` in [0, 1], compared with the answer key.
        solved: bool `[B]`, whether they obey the puzzle's rule.
        violations: float32 `[B]`, how much of it they break; 0 where solved.
    """

    quality: Tensor
    solved: Tensor
    violations: Tensor


@dataclass(frozen=True)
class Reward:
    """Gain of a potential, less the price of the compute that was spent on it.

    With the potential `Phi = quality_weight * quality - violation_cost * violations + solve_bonus * [solved]`, a step
    earns `Phi(after) - Phi(before) - pass_cost * passes`. Every gain is a difference of potentials, so the gains of an
    episode sum to `Phi(last answer) - Phi(inputs)`: staying solved does not collect the bonus again, and breaking and
    repairing an answer earns nothing.

    Attributes:
        pass_cost: price of one network pass. At the default a full TRM run of 336 passes costs a third of a bonus.
        solve_bonus: what a solved answer is worth beside its quality.
        quality_weight: what being like the answer key is worth; with 0 no key is read where a puzzle has a rule.
        violation_cost: price of a violation of the rule.
    """

    pass_cost: float = 0.001
    solve_bonus: float = 1.0
    quality_weight: float = 1.0
    violation_cost: float = 0.0

    def __call__(self, before: Standing, after: Standing, passes: int) -> Tensor:
        """Reward, float32 `[B]`, of a step of `passes` network passes that led from `before` to `after`."""
        return self._potential(after) - self._potential(before) - self.pass_cost * passes

    def worth(self, violations: Tensor) -> Tensor:
        """The potential of answers by the rule alone, float32 like `violations`, which are 0 where solved."""
        return self.solve_bonus * (violations == 0).float() - self.violation_cost * violations

    def _potential(self, standing: Standing) -> Tensor:
        # A weight of 0 leaves the key out, whatever stands in it.
        by_key = self.quality_weight * standing.quality if self.quality_weight else 0.0
        by_rule = self.violation_cost * standing.violations if self.violation_cost else 0.0
        return by_key + self.solve_bonus * standing.solved.float() - by_rule
