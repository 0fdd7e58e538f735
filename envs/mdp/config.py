"""What a decision process is told beside its puzzle: one value, which both of its faces take."""

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


def _check_minima(config: object, minima: dict[str, int]) -> None:
    for name, minimum in minima.items():
        if getattr(config, name) < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {getattr(config, name)}")


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
        _check_minima(self, {"width": 1, "positions": 0, "max_steps": 1, "passes_per_step": 1})
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
            **cls.beginning(reasoner),
            **others,
        )

    @staticmethod
    def beginning(reasoner: Reasoner) -> dict[str, Any]:
        """The fields that say how episodes of a reasoner begin: its initial latents."""
        return {"initial_latents": (reasoner.initial_y, reasoner.initial_z)}


class Deducer(Protocol):
    """A reasoner over candidates as its decision process sees it; `possible` is bool `[V, V]`."""

    config: NetworkShape
    possible: Tensor


@dataclass(frozen=True, eq=False)
class CandidateConfig:
    """The decision process over candidates, apart from its puzzle.

    Attributes:
        max_steps: deduction steps after which an episode is truncated, those of all restarts together.
        lost_steps: steps after which an episode is truncated whose candidates have lost the answer of the key; None for
            never. For training only, so that rows that do not see that they are lost make room: a policy sees a lost
            state `lost_steps - 1` times.
        guided_branches: the share of branches that pin the symbol of the key, whatever the action says, as DAgger mixes
            the expert into what is collected (arXiv 1011.0686). For training only: what follows from several right
            branches in a row is seldom seen otherwise.
        passes_per_step: network passes that one deduction step costs.
        reward: callable `(before, after, passes) -> float32 [B]`, see `Reward`; the `quality` of a standing is here the
            share of the surplus candidates that are gone.
        possible: bool `[V, V]`, which symbols a cell can turn out to hold, by the token that was given for it; None
            for what the training puzzles say, see `possible_symbols`.

    Raises:
        ValueError: if a number is out of range.
    """

    max_steps: int = 64
    lost_steps: int | None = None
    guided_branches: float = 0.0
    passes_per_step: int = 8
    reward: Callable[[Standing, Standing, int], Tensor] = Reward()
    possible: Tensor | None = None

    def __post_init__(self) -> None:
        _check_minima(self, {"max_steps": 1, "passes_per_step": 1})
        if self.lost_steps is not None:
            _check_minima(self, {"lost_steps": 1})
        if not 0.0 <= self.guided_branches <= 1.0:
            raise ValueError(f"guided_branches is a share of branches, in [0, 1]; got {self.guided_branches}")

    @classmethod
    def of_reasoner(cls, reasoner: Deducer, **others: Any) -> CandidateConfig:
        """The decision process that a reasoner acts in: its passes, and the symbols that it takes for possible."""
        return cls(passes_per_step=reasoner.config.passes_per_step, **cls.beginning(reasoner), **others)

    @staticmethod
    def beginning(reasoner: Deducer) -> dict[str, Any]:
        """The fields that say how episodes of a reasoner begin: the symbols that it takes for possible."""
        return {"possible": reasoner.possible}


def split_options(config: Any, options: dict[str, Any], kind: type = MDPConfig) -> tuple[Any, dict[str, Any]]:
    """Tell a face's keywords apart: `config` with those that are its fields, and the rest, which are the puzzle's.

    Args:
        config: an `MDPConfig` or `CandidateConfig`; None for one of defaults.
        options: the keywords.
        kind: which of the two it is.

    Raises:
        ValueError: if a number is out of range.
    """
    own = {field.name: options[field.name] for field in fields(kind) if field.name in options}
    return replace(config or kind(), **own), {name: options[name] for name in options if name not in own}


def shows_fields(kind: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Write the fields of a configuration into the signature of a face that takes them among its `**options`.

    So `help` and editors show them with their defaults, which stand in the configuration alone.
    """

    def show(init: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(init)
        *before, options = signature.parameters.values()
        shown = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
            for field in fields(kind)
        ]
        init.__signature__ = signature.replace(parameters=[*before, *shown, options])
        return init

    return show
