"""Rules that say when a row has thought enough; none costs a network pass or sees an answer key.

A new rule is one file: a subclass of `HaltingRule`, which a configuration names as `module:Class`, or, entered in
`RULES`, by a name of its own.
"""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.envs.utils import ExplorationType, exploration_type

from latent_rl.agents.team import draw_rows

if TYPE_CHECKING:
    from latent_rl.agents.halting.policy import HaltingPolicy


@dataclass(frozen=True)
class RuleContext:
    """What a rule may be built from.

    Attributes:
        max_steps: recursion steps of an episode.
        puzzle: its name, for messages.
        is_solved: the puzzle's own rule, `(inputs, answers) -> bool [B]`, both int64 `[B, L]`; None if it has none.
        policy: the model's halting policy; None if it has none.
        knows_when_right: whether the first output of the q head was trained.
    """

    max_steps: int
    puzzle: str = "this puzzle"
    is_solved: Callable[[Tensor, Tensor], Tensor] | None = None
    policy: HaltingPolicy | None = None
    knows_when_right: bool = True


class HaltingRule(TensorDictModuleBase):
    """Decides which rows end their episode after the recursion step just taken.

    A rule reads these keys of a step, rows flattened to `[B]`, no gradient, and names those it needs in `in_keys`:

    | key | shape | dtype | |
    | --- | --- | --- | --- |
    | `inputs` | `[B, L]` | int64 | the puzzle |
    | `previous` | `[B, L]` | int64 | the answer before the step; before the first step, the puzzle itself |
    | `answer` | `[B, L]` | int64 | the answer after it |
    | `logits` | `[B, L, V]` | float32 | that `answer` was read from |
    | `q` | `[B, 2]` | float32 | logits (halt, continue) after the step |
    | `next_y` | `[B, P + L, D]` | float32 | the answer latent after the step |
    | `step` | `[B]` | int64 | steps of the episode before this one |

    and writes `halt`, int64 `[B]`: 1 to halt, 0 to go on.

    Attributes:
        when: says to a person when the rule stops.
    """

    when: ClassVar[str]
    in_keys: ClassVar[list[str]] = []
    out_keys: ClassVar[list[str]] = ["halt"]

    @classmethod
    def build(cls, context: RuleContext, **options: Any) -> HaltingRule:
        """A rule from its surroundings and its options.

        Raises:
            ValueError: the surroundings lack what the rule reads; the message says what.
        """
        asked = inspect.signature(cls.__init__).parameters
        return cls(**({"max_steps": context.max_steps} if "max_steps" in asked else {}), **options)

    @abstractmethod
    def decide(self, step: TensorDictBase) -> Tensor:
        """The choice for every row, int64 or bool `[B]`."""

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write `halt`, int64 `[B]`, into the step."""
        return tensordict.set("halt", self.decide(tensordict).long())


class NeverHalt(HaltingRule):
    """Episodes of fixed length: the environment truncates them (DIS, and every official evaluation)."""

    when = "every step is taken"
    in_keys = ["step"]

    def decide(self, step: TensorDictBase) -> Tensor:
        """0 for every row, int64 `[B]`."""
        return torch.zeros_like(step["step"])


class AgreeHalt(HaltingRule):
    """Halt once a step leaves the answer as it was: two successive answers agree in every cell."""

    when = "two successive answers agree"
    in_keys = ["answer", "previous"]

    def decide(self, step: TensorDictBase) -> Tensor:
        """Whether no cell of a row changed, bool `[B]`."""
        return (step["answer"] == step["previous"]).all(-1)


class CheckedHalt(HaltingRule):
    """Halt once the puzzle's own rule confirms the answer. Not for puzzles whose rule cannot be checked from inside.

    Args:
        is_solved: `(inputs, answers) -> bool [B]`, both int64 `[B, L]`; may not know the answer key.
    """

    when = "the puzzle's own rule confirms the answer"
    in_keys = ["inputs", "answer"]

    def __init__(self, is_solved: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.is_solved = is_solved

    @classmethod
    def build(cls, context: RuleContext, **options: Any) -> CheckedHalt:
        """The rule of the puzzle in the context; `ValueError` if only its key tells."""
        if context.is_solved is None:
            raise ValueError(f"only its key tells whether an answer of {context.puzzle} is right")
        return cls(context.is_solved, **options)

    def decide(self, step: TensorDictBase) -> Tensor:
        """Whether the puzzle's rule confirms the answer of a row, bool `[B]`."""
        return self.is_solved(step["inputs"], step["answer"])


class ConfidentHalt(HaltingRule):
    """Halt once the network believes that its answer is right (TRM's training rule, `q_halt > 0`).

    With probability `exploration` a row may not halt before a number of steps drawn uniformly from `2 .. max_steps`;
    both are drawn anew at every step, as in the official code. There is no exploration under TorchRL's deterministic
    exploration types, so that an evaluation need not swap the rule.

    Args:
        max_steps: longest episode, at least 2.
        exploration: probability of a minimum, in [0, 1].
        threshold: halt above this probability of being right, in (0, 1); 0.5 is `q_halt > 0`.
    """

    when = "the value head gives the answer a probability above the threshold"
    in_keys = ["q", "step"]

    def __init__(self, *, max_steps: int, exploration: float = 0.1, threshold: float = 0.5) -> None:
        super().__init__()
        if max_steps < 2:
            raise ValueError(f"max_steps must be at least 2 for a learned stop, got {max_steps}")
        if not 0.0 <= exploration <= 1.0:
            raise ValueError(f"exploration must lie in [0, 1], got {exploration}")
        if not 0.0 < threshold < 1.0:
            raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
        self.max_steps = max_steps
        self.exploration = exploration
        self.least = math.log(threshold / (1 - threshold))

    @classmethod
    def build(cls, context: RuleContext, **options: Any) -> ConfidentHalt:
        """A rule for the episodes of the context; `ValueError` if the value head was not trained."""
        if not context.knows_when_right:
            raise ValueError("it reads the value head, which was not trained")
        return super().build(context, **options)

    def decide(self, step: TensorDictBase) -> Tensor:
        """Whether the value head is sure of a row and exploration lets it stop, bool `[B]`."""
        halt = step["q"][:, 0] > self.least
        if self.exploration and exploration_type() in (None, ExplorationType.RANDOM):
            steps_taken = step["step"] + 1
            minimum = draw_rows(lambda rows: torch.randint_like(rows, 2, self.max_steps + 1), steps_taken)
            chance = draw_rows(lambda rows: torch.rand(rows.shape, device=rows.device), steps_taken)
            explores = chance < self.exploration
            halt = halt & (~explores | (steps_taken >= minimum))
        return halt
