"""What each recursion step is trained toward: the targets of deep (improvement) supervision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import AfterValidator, InstanceOf
from tensordict import TensorDictBase
from torch import Tensor

from latent_rl.agents.mixing import mix
from latent_rl.agents.options import OptionError, check_options, find

IGNORE = -100
"""Value in a solution or target of a cell that does not count."""


class TargetGenerator(ABC):
    """Makes `y†_s`, the target of step `s`, for every row of a batch.

    A new generator is a subclass, which a configuration names as `module:Class`, or, with one line in `TARGETS`, by a
    name of its own. It may read anything that a learner's batch holds, also privileged keys, also the policy's own
    `logits`, and names what it needs in `in_keys`. Further keyword-only parameters of its constructor are its options,
    which a configuration sets beside the name: `targets: {name: my_module:MyTargets, my_option: 2}`.

    Args:
        max_steps: steps of an episode (S).
    """

    in_keys: ClassVar[tuple[str, ...]]
    metric_keys: ClassVar[tuple[str, ...]] = ()
    """What `metrics` returns."""

    def __init__(self, *, max_steps: int) -> None:
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}")
        self.max_steps = max_steps

    @abstractmethod
    def __call__(self, tensordict: TensorDictBase) -> Tensor:
        """Targets int64 `[*B, L]` for a batch of shape `[*B]`; `IGNORE` where a cell does not count."""

    def metrics(self, tensordict: TensorDictBase) -> dict[str, Tensor]:
        """Scalars for the charts, by `metric_keys`, without gradient; by default none."""
        return {}


class TerminalTargets(TargetGenerator):
    """Every step is trained toward the whole solution (TRM)."""

    in_keys = ("solution",)

    def __call__(self, tensordict: TensorDictBase) -> Tensor:
        """The solution, int64 `[*B, L]`."""
        return tensordict["solution"]


class DiffusionTargets(TargetGenerator):
    """Step `s` of `S` is trained toward a puzzle that is solved to the share `s / S` (DIS, arXiv 2511.16886, eq. 12).

    Of the `k` cells where inputs and solution differ, `floor(s k / S)` show their answer and the others their input.
    Which ones is random, uniform over all orders, and nested: what is revealed stays revealed. As in the official
    code a cell with `IGNORE` in its solution counts as differing: until revealed, its target is its input.

    The order is a hash of (`episode_seed`, cell), not a draw: nothing is stored, and a replayed or resumed episode
    meets the same targets.
    """

    in_keys = ("inputs", "solution", "step", "episode_seed")

    def __call__(self, tensordict: TensorDictBase) -> Tensor:
        """Inputs with the share of the solution that is revealed by now, int64 `[*B, L]`."""
        inputs, solution = tensordict["inputs"], tensordict["solution"]
        steps_taken, seed = tensordict["step"], tensordict["episode_seed"]
        differs = inputs != solution
        cells = torch.arange(inputs.shape[-1], device=inputs.device)
        # Two rounds, so that neither nearby seeds nor nearby cells share anything of their order.
        order = mix(mix(seed).unsqueeze(-1) + cells).masked_fill(~differs, torch.iinfo(torch.int64).max)
        rank = order.argsort(dim=-1, stable=True).argsort(dim=-1)
        # Steps count from 1 here. An episode longer than the one trained for stays at the solution: s k / S passes k.
        revealed = ((steps_taken + 1) * differs.sum(-1)).div(self.max_steps, rounding_mode="floor")
        return torch.where(differs & (rank >= revealed.unsqueeze(-1)), inputs, solution)


class SearchTargets(TargetGenerator):
    """Expert iteration (arXiv 1705.08439): every step is trained toward the best answer that a search of it has found.

    The search are the answers drawn from the step's own logits, and what is remembered of earlier ones. The best of
    them is the target if it is worth more than the policy's likeliest answer; that answer itself is, where it is
    solved; of other rows only the givens count. No solution is read, so a puzzle's rule is enough to learn from.
    """

    in_keys = (
        *("inputs", "free", "group_log_prob", "group_solved"),
        *("best", "best_worth", "greedy", "greedy_worth", "greedy_solved"),
    )
    metric_keys = ("search_success", "search_better", "search_gain", "search_entropy", "greedy_solved")

    def __call__(self, tensordict: TensorDictBase) -> Tensor:
        """The best answer known, int64 `[*B, L]`, `IGNORE` in free cells where none is better than the policy's own."""
        better = (tensordict["best_worth"] > tensordict["greedy_worth"]).unsqueeze(-1)
        solved = tensordict["greedy_solved"].unsqueeze(-1)
        learned = torch.where(solved, tensordict["greedy"], torch.where(better, tensordict["best"], IGNORE))
        return torch.where(tensordict["free"], learned, tensordict["inputs"])

    def metrics(self, tensordict: TensorDictBase) -> dict[str, Tensor]:
        """How the search fares.

        `search_success`: share of groups with a solved answer; `search_better`, share of rows where the best answer
        known beats the likeliest, and `search_gain`, by how much on average (the advantage of the search over the
        policy); `search_entropy`, nats a free cell, as the sample tells it; `greedy_solved`, share of rows whose
        likeliest answer is solved.
        """
        gain = tensordict["best_worth"] - tensordict["greedy_worth"]
        log_prob = tensordict["group_log_prob"]
        actions = tensordict["free"].sum() * log_prob.shape[-2]
        return {
            "search_success": tensordict["group_solved"].any(-1).float().mean(),
            "search_better": (gain > 0).float().mean(),
            "search_gain": gain.mean(),
            "search_entropy": -log_prob.sum() / actions.clamp(min=1),
            "greedy_solved": tensordict["greedy_solved"].float().mean(),
        }


TARGETS: dict[str, type[TargetGenerator]] = {
    "terminal": TerminalTargets,
    "diffusion": DiffusionTargets,
    "search": SearchTargets,
}
"""Target generators by the name that a configuration gives them."""


def check_targets(targets: str | dict[str, Any] | TargetGenerator) -> str | dict[str, Any] | TargetGenerator:
    """What names a generator, checked: its name, or a mapping of `name` and all options if it has any.

    Raises:
        OptionError: there is no such generator or option (the nearest is named), or an option is of the wrong type.
    """
    if isinstance(targets, TargetGenerator):
        return targets
    name, options = _split(targets)
    options = check_options(find(TARGETS, name, TargetGenerator, "target generator"), options)
    return {"name": name, **options} if options else name


def make_targets(targets: str | Mapping[str, Any] | TargetGenerator, *, max_steps: int) -> TargetGenerator:
    """The generator that a name, or a mapping of `name` and options, stands for; a generator is returned as it is.

    Raises:
        OptionError: as `check_targets`.
    """
    if isinstance(targets, TargetGenerator):
        return targets
    name, options = _split(targets)
    kind = find(TARGETS, name, TargetGenerator, "target generator")
    return kind(max_steps=max_steps, **check_options(kind, options))


def _split(targets: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(targets, str):
        return targets, {}
    if not isinstance(targets.get("name"), str):
        raise OptionError("a target generator with options needs its name, as in {name: diffusion}")
    return targets["name"], {key: value for key, value in targets.items() if key != "name"}


Targets = Annotated[str | dict[str, Any] | InstanceOf[TargetGenerator], AfterValidator(check_targets)]
"""A generator, or what names one, as the type of an option."""
