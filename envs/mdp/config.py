"""What the decision process is told beside its puzzle: one value, which both faces take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from torch import Tensor

from latent_rl.envs.mdp.rewards import Reward, Standing


class NetworkShape(Protocol):
    """What a reasoner's configuration says that matters here."""

    width: int
    puzzle_positions: int
    passes_per_step: int


class Reasoner(Protocol):
    """A recursive reasoner as the decision process sees it: a shape, and where its latents start (float32 `[D]`)."""

    config: NetworkShape
    initial_y: Tensor
    initial_z: Tensor


@dataclass(frozen=True, eq=False)  # tensors have no single truth value to compare by
class MDPConfig:
    """The decision process, apart from its puzzle.

    Attributes:
        width: width `D` of the latents.
        positions: puzzle-embedding positions `P` in front of the cells; 0 if unused.
        max_steps: recursion steps after which an episode is truncated.
        passes_per_step: network passes that one recursion step costs, `cycles * (inner_updates + 1)`.
        reward: callable `(before, after, passes) -> float32 [B]`, see `Reward`.
        terminate_on_solved: share of episodes, in [0, 1], that end when their answer is solved; the episode's seed
            says which. The others go on to `max_steps`, so that a policy sees what its later steps do to a right
            answer: without them it unlearns to keep one. For training only: an evaluation that stops when the key
            says so would count every puzzle that was right at any step.
        initial_latents: `(y, z)` at the start, each float32 `[D]` or `[P + L, D]`; None for zeros.

    Raises:
        ValueError: if a number is out of range.
    """

    width: int = 64
    positions: int = 1
    max_steps: int = 6
    passes_per_step: int = 3
    reward: Callable[[Standing, Standing, int], Tensor] = Reward()
    terminate_on_solved: float = 0.0
    initial_latents: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        for name, minimum in {"width": 1, "positions": 0, "max_steps": 1, "passes_per_step": 1}.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {getattr(self, name)}")
        if not 0.0 <= self.terminate_on_solved <= 1.0:
            raise ValueError(f"terminate_on_solved is a share of episodes, in [0, 1]; got {self.terminate_on_solved}")

    @classmethod
    def of_reasoner(cls, reasoner: Reasoner, **others: Any) -> MDPConfig:
        """The decision process that a reasoner acts in: its width, positions, passes and initial latents."""
        shape = reasoner.config
        return cls(
            width=shape.width,
            positions=shape.puzzle_positions,
            passes_per_step=shape.passes_per_step,
            initial_latents=(reasoner.initial_y, reasoner.initial_z),
            **others,
        )


def split_options(config: MDPConfig | None, options: dict[str, Any]) -> tuple[MDPConfig, dict[str, Any]]:
    """Tell a face's keywords apart: `config` with those that are its fields, and the rest, which are the puzzle's.

    Raises:
        ValueError: if a number is out of range.
    """
    own = {field.name: options[field.name] for field in fields(MDPConfig) if field.name in options}
    return replace(config or MDPConfig(), **own), {name: options[name] for name in options if name not in own}


def shows_fields(init: Callable[..., None]) -> Callable[..., None]:
    """Write the fields of `MDPConfig` into the signature of a face that takes them among its `**options`.

    So `help` and editors show them with their defaults, which stand in `MDPConfig` alone.
    """
    signature = inspect.signature(init)
    *before, options = signature.parameters.values()
    shown = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields(MDPConfig)
    ]
    init.__signature__ = signature.replace(parameters=[*before, *shown, options])
    return init
