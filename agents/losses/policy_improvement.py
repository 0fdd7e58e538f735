"""The policy-improvement loss: every recursion step moves the answer toward that step's target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor

from latent_rl.agents.losses.base import RecursionLoss
from latent_rl.agents.losses.right_cells import count_right
from latent_rl.agents.stablemax import Kind, stablemax_logits
from latent_rl.agents.targets import IGNORE, Targets, make_targets


def cell_cross_entropy(logits: Tensor, targets: Tensor, kind: Kind = "stablemax") -> Tensor:
    """Cross-entropy of every cell, `[*B, L]`, 0 where the target is `IGNORE`; float64 for stablemax, else float32.

    Args:
        logits: float `[*B, L, V]`.
        targets: int64 `[*B, L]`, tokens below V or `IGNORE`.
        kind: what turns logits into probabilities.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check_fits("logits", logits, "targets", targets)
    scores = stablemax_logits(logits) if kind == "stablemax" else logits
    loss = F.cross_entropy(scores.flatten(0, -2), targets.flatten(), ignore_index=IGNORE, reduction="none")
    return loss.view_as(targets)


def _check_fits(name: str, cells: Tensor, other_name: str, other: Tensor) -> None:
    if cells.shape[:-1] != other.shape:
        raise ValueError(
            f"{name} of shape {tuple(cells.shape)} and {other_name} of shape {tuple(other.shape)} do not fit: "
            f"{other_name} must have the shape of {name} without its last dimension"
        )


class PolicyImprovementLoss(RecursionLoss):
    """Cross-entropy of a step's answer against the target of that step: DIS eq. 9, TRM with `TerminalTargets`.

    Reads `logits` with their graph. A row's loss is the mean over its cells that count; rows are averaged (the official
    code: their sum, divided by the batch size).

    Returns `loss_policy`, and without gradient `cell_accuracy` and `exact_accuracy`, measured on the true solution over
    rows with at least one counted cell, and what the targets have to say (`TargetGenerator.metrics`).

    Keyword Args:
        max_steps: steps of an episode (S).
        targets: generator of the targets, or what names one: `"diffusion"`, `{"name": "diffusion"}` with options of
            its own beside the name, `"module:Class"`. Its `in_keys` are read from the batch.
        cross_entropy: `"stablemax"` (TRM, DIS) or `"softmax"`.
        step_weights: `"uniform"`, or `"linear"`: step `s` of `S` weighs `2 s / (S + 1)`, 1 on average over an episode.

    Examples:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from latent_rl.agents import PolicyImprovementLoss
        >>> logits = torch.randn(8, 16, 5, requires_grad=True)
        >>> batch = TensorDict({"logits": logits, "solution": torch.randint(1, 5, (8, 16))}, [8])
        >>> PolicyImprovementLoss(targets="terminal", max_steps=6)(batch)["loss_policy"].backward()
    """

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            logits: float32 `[*B, L, V]`. Default `"logits"`.
            solution: int64 `[*B, L]`, for the accuracies. Default `"solution"`.
            step: int64 `[*B]`, steps taken before this one, for linear step weights. Default `"step"`.
        """

        logits: NestedKey = "logits"
        solution: NestedKey = "solution"
        step: NestedKey = "step"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    def __init__(
        self,
        *,
        max_steps: int,
        targets: Targets = "terminal",
        cross_entropy: Kind = "stablemax",
        step_weights: Literal["uniform", "linear"] = "uniform",
    ) -> None:
        super().__init__()
        if cross_entropy not in ("stablemax", "softmax"):
            raise ValueError(f'cross_entropy must be "stablemax" or "softmax", got {cross_entropy!r}')
        if step_weights not in ("uniform", "linear"):
            raise ValueError(f'step_weights must be "uniform" or "linear", got {step_weights!r}')
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}")
        self.targets = make_targets(targets, max_steps=max_steps)
        self.max_steps = max_steps
        self.cross_entropy = cross_entropy
        self.step_weights = step_weights

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch must hold."""
        keys = self.tensor_keys
        step = [keys.step] if self.step_weights == "linear" else []
        return list(dict.fromkeys([keys.logits, *self.targets.in_keys, keys.solution, *step]))

    @property
    def out_keys(self) -> list[str]:
        """What comes back."""
        return ["loss_policy", "cell_accuracy", "exact_accuracy", *self.targets.metric_keys]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metrics, scalars, of a batch of any shape.

        Raises:
            KeyError: the batch lacks a key; the message says who writes it.
            ValueError: logits, targets or solution do not fit each other; the message names both shapes.
        """
        logits = self.read(tensordict, "logits")
        targets = self.targets(tensordict)
        per_cell = cell_cross_entropy(logits, targets, self.cross_entropy)
        per_row = per_cell.sum(-1) / (targets != IGNORE).sum(-1).clamp(min=1)
        if self.step_weights == "linear":
            per_row = per_row * (2 * (self.read(tensordict, "step") + 1) / (self.max_steps + 1))
        right, counted = count_right(logits.argmax(-1), self.read(tensordict, "solution"))
        rows = (counted > 0).sum().clamp(min=1)
        return TensorDict(
            {
                "loss_policy": per_row.mean(),
                "cell_accuracy": (right / counted.clamp(min=1)).sum() / rows,
                "exact_accuracy": ((right == counted) & (counted > 0)).sum() / rows,
                **self.targets.metrics(tensordict),
            },
            batch_size=[],
        )
