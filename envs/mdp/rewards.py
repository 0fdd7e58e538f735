"""What a recursion step is worth.

The environment takes any callable with the signature of `Reward.__call__`: a new reward is a small class of its own,
passed in as an object, not one more switch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Standing(NamedTuple):
    """How far the answers of a batch are: `quality` float32 `[B]` in [0, 1] and `solved` bool `[B]`."""

    quality: Tensor
    solved: Tensor


@dataclass(frozen=True)
class Reward:
    """Gain of a potential, less the price of the compute that was spent on it.

    With the potential `Phi = quality + solve_bonus * [solved]`, a step earns
    `Phi(after) - Phi(before) - pass_cost * passes`. Every gain is a difference of potentials, so the gains of an
    episode sum to `Phi(last answer) - Phi(inputs)`: staying solved does not collect the bonus again, and breaking and
    repairing an answer earns nothing.

    Attributes:
        pass_cost: price of one network pass. At the default a full TRM run of 336 passes costs a third of a bonus.
        solve_bonus: what a solved answer is worth beside its quality.
    """

    pass_cost: float = 0.001
    solve_bonus: float = 1.0

    def __call__(self, before: Standing, after: Standing, passes: int) -> Tensor:
        """Reward, float32 `[B]`, of a step of `passes` network passes that led from `before` to `after`."""
        return self._potential(after) - self._potential(before) - self.pass_cost * passes

    def _potential(self, standing: Standing) -> Tensor:
        return standing.quality + self.solve_bonus * standing.solved.float()
