"""The policy-improvement loss: every recursion step moves the answer toward that step's target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor

from latent_rl.agents.losses.own_parameters import OwnParametersLoss
from latent_rl.agents.policy import RecursionPolicy
from latent_rl.agents.targets import IGNORE, TargetGenerator


def stablemax_logits(logits: Tensor) -> Tensor:
    """Logits whose softmax is the stablemax of `logits`.

    Stablemax (Prieto et al., arXiv 2501.04697; used by TRM and DIS) normalises `s(x) = x + 1` for `x >= 0`,
    `1 / (1 - x)` otherwise, in place of `exp(x)`. This returns `log s(x) = sign(x) log(1 + |x|)`, in float64 as in the
    official code, or float32 on devices without float64 (MPS).
    """
    x = logits if logits.device.type == "mps" else logits.double()
    # Each branch sees only its own half line, so that the other's gradient cannot turn into 0 * inf.
    return torch.where(x < 0, -torch.log1p(-x.clamp(max=0)), torch.log1p(x.clamp(min=0)))


def cell_cross_entropy(logits: Tensor, targets: Tensor, kind: Literal["stablemax", "softmax"] = "stablemax") -> Tensor:
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


def count_right(answer: Tensor, solution: Tensor) -> tuple[Tensor, Tensor]:
    """Right and counted cells of every row, each int64 `[*B]`, of answers and solutions `[*B, L]`.

    Raises:
        ValueError: the shapes differ.
    """
    if answer.shape != solution.shape:
        raise ValueError(f"answer of shape {tuple(answer.shape)} and solution of shape {tuple(solution.shape)} differ")
    counted = solution != IGNORE
    return ((answer == solution) & counted).sum(-1), counted.sum(-1)


def _check_fits(name: str, cells: Tensor, other_name: str, other: Tensor) -> None:
    if cells.shape[:-1] != other.shape:
        raise ValueError(
            f"{name} of shape {tuple(cells.shape)} and {other_name} of shape {tuple(other.shape)} do not fit: "
            f"{other_name} must have the shape of {name} without its last dimension"
        )


class PolicyImprovementLoss(OwnParametersLoss):
    """Cross-entropy of a step's answer against the target of that step: DIS eq. 9, TRM with `TerminalTargets`.

    Reads logits that carry their graph if the batch holds `logits` (fused training, or `RecursionPolicy.replay`),
    otherwise takes the stored step again from its observation. A row's loss is the mean over its cells that count;
    rows are averaged (the official code: their sum, divided by the batch size).

    Returns `loss_policy`, and without gradient `cell_accuracy` and `exact_accuracy`, measured on the true solution over
    rows with at least one counted cell.

    Args:
        policy: the policy that takes the steps.
        targets: generator of the targets; its `in_keys` are read from the batch.

    Keyword Args:
        max_steps: steps of an episode (S); needed by `step_weights="linear"`.
        cross_entropy: `"stablemax"` (TRM, DIS) or `"softmax"`.
        step_weights: `"uniform"`, or `"linear"`: step `s` of `S` weighs `2 s / (S + 1)`, 1 on average over an episode.

    Examples:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from latent_rl.agents import PolicyImprovementLoss, ReasonerConfig, RecursionPolicy, RecursiveReasoner
        >>> from latent_rl.agents import TerminalTargets
        >>> reasoner = RecursiveReasoner(ReasonerConfig(vocab_size=5, seq_len=16, width=32, heads=2))
        >>> y, z = reasoner.initial_latents(8)
        >>> zeros, tokens = torch.zeros(8, dtype=torch.int64), torch.randint(1, 5, (8, 16))
        >>> batch = TensorDict({"inputs": tokens, "puzzle_id": zeros, "y": y, "z": z, "step": zeros,
        ...     "solution": tokens}, [8])
        >>> loss = PolicyImprovementLoss(RecursionPolicy(reasoner), TerminalTargets(max_steps=16), max_steps=16)
        >>> loss(batch)["loss_policy"].backward()
    """

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            logits: float32 `[*B, L, V]`, optional. Default `"logits"`.
            solution: int64 `[*B, L]`, for the accuracies. Default `"solution"`.
            step: int64 `[*B]`, steps taken before this one, for the step weights. Default `"step"`.
        """

        logits: NestedKey = "logits"
        solution: NestedKey = "solution"
        step: NestedKey = "step"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    out_keys = ["loss_policy", "cell_accuracy", "exact_accuracy"]

    def __init__(
        self,
        policy: RecursionPolicy,
        targets: TargetGenerator,
        *,
        max_steps: int,
        cross_entropy: Literal["stablemax", "softmax"] = "stablemax",
        step_weights: Literal["uniform", "linear"] = "uniform",
    ) -> None:
        super().__init__()
        if cross_entropy not in ("stablemax", "softmax"):
            raise ValueError(f'cross_entropy must be "stablemax" or "softmax", got {cross_entropy!r}')
        if step_weights not in ("uniform", "linear"):
            raise ValueError(f'step_weights must be "uniform" or "linear", got {step_weights!r}')
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}")
        self.policy = policy
        self.targets = targets
        self.max_steps = max_steps
        self.cross_entropy = cross_entropy
        self.step_weights = step_weights

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch without `logits` must hold."""
        keys = [*self.policy.in_keys, *self.targets.in_keys, self.tensor_keys.solution, self.tensor_keys.step]
        return list(dict.fromkeys(keys))

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metrics, scalars, of a batch of any shape.

        Raises:
            ValueError: logits, targets or solution do not fit each other; the message names both shapes.
        """
        logits = tensordict.get(self.tensor_keys.logits, None)
        if logits is None:
            tensordict = self.policy.replay(tensordict)
            logits = tensordict["logits"]
        targets = self.targets(tensordict)
        per_cell = cell_cross_entropy(logits, targets, self.cross_entropy)
        per_row = per_cell.sum(-1) / (targets != IGNORE).sum(-1).clamp(min=1)
        if self.step_weights == "linear":
            per_row = per_row * (2 * (tensordict[self.tensor_keys.step] + 1) / (self.max_steps + 1))
        right, counted = count_right(logits.argmax(-1), tensordict[self.tensor_keys.solution])
        rows = (counted > 0).sum().clamp(min=1)
        return TensorDict(
            {
                "loss_policy": per_row.mean(),
                "cell_accuracy": (right / counted.clamp(min=1)).sum() / rows,
                "exact_accuracy": ((right == counted) & (counted > 0)).sum() / rows,
            },
            batch_size=[],
        )
