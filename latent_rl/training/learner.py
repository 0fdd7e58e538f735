"""One update: gradient, optimizer, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from latent_rl.agents import ALONE, TABLE, RecursiveReasoner, SignSGD, Team, compact_state, load_compact_state
from latent_rl.config import OptimizerConfig
from latent_rl.errors import UserError

FINAL_RATE = 0.1
"""What is left of a learning rate that has come down."""

AVERAGED_TABLE = f"module.{TABLE}"
"""The puzzle embeddings in the state dict of the average. They are not averaged: both reasoners share one table."""


def weighted_sum(found: Mapping[str, TensorDictBase], weights: Mapping[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
    """What an update minimises, and detached scalars, still on the device, for the charts.

    Args:
        found: what each loss module returned, by its name; keys `loss_*` are minimised.
        weights: of each loss.
    """
    total: Tensor | float = 0.0
    metrics: dict[str, Tensor] = {}
    for name, values in found.items():
        for key, value in values.items():
            metrics[key] = value.detach()
            if key.startswith("loss_"):
                total = total + weights[name] * value
    metrics["loss"] = total.detach()
    return total, metrics


def learning_rate_factor(config: OptimizerConfig) -> Callable[[int], float]:
    """What the learning rates of update 0, 1, ... are multiplied by.

    Linear over `warmup_updates`, then 1, or, if `decay_updates` is set, along half a cosine (SGDR, arXiv 1608.03983,
    equation 5) to `FINAL_RATE` at that update, and that from there on.
    """

    def factor(update: int) -> float:
        warm = min(1.0, (update + 1) / max(1, config.warmup_updates))
        if config.decay_updates is None:
            return warm
        done = min(1.0, update / config.decay_updates)
        return warm * (FINAL_RATE + (1.0 - FINAL_RATE) * (1.0 + math.cos(math.pi * done)) / 2.0)

    return factor


class Learner:
    """Updates a reasoner along the gradient of a loss, and keeps its averaged weights.

    Args:
        reasoner: the network that learns.
        heads: further modules with weights of their own that losses train, such as the return head.
        config: the optimizer's settings.
        team: updates along the mean of its gradients, so that all of it has the same weights.
        recorded: whether a recorded program takes the steps, which reads a learning rate that changes from a tensor.

    Attributes:
        updates: optimizer steps so far.
    """

    def __init__(
        self,
        reasoner: RecursiveReasoner,
        heads: Sequence[nn.Module],
        config: OptimizerConfig,
        team: Team = ALONE,
        *,
        recorded: bool = False,
    ) -> None:
        self.team = team
        self.reasoner = reasoner
        self.heads = nn.ModuleList(heads)
        self.clip_norm = config.clip_norm
        self.averaged = AveragedModel(reasoner)
        self.optimizers = build_optimizers(reasoner, self.heads, config, recorded)
        factor = learning_rate_factor(config)
        self.schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, factor) for optimizer in self.optimizers]
        self.parameters = [*reasoner.parameters(), *self.heads.parameters()]
        self.updates = 0
        self._ema_decay = config.ema_decay
        # A tensor: a recorded program reads it anew at every play.
        self._taken_over = torch.empty_like(self.parameters[0].detach().flatten()[0])
        self._follow_updates()
        self._last_norm: Tensor | None = None

    def step(self, loss: Tensor) -> dict[str, Tensor]:
        """One optimizer step along the gradient of a scalar; returns `gradient_norm`, before it was clipped."""
        norm = self.descend(loss)
        self.advance()
        return {"gradient_norm": norm}

    def descend(self, loss: Tensor) -> Tensor:
        """The part of `step` that happens on the device; returns the norm of the gradient, before it was clipped."""
        loss.backward()
        self.team.average_gradients(self.parameters)
        if self.reasoner.embed_puzzle is not None:
            self.reasoner.embed_puzzle.share_gradients(self.team)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.average()
        self._last_norm = norm
        return norm

    def advance(self) -> None:
        """The part of `step` that the device knows nothing of: the update counts, and the learning rate moves on."""
        for schedule in self.schedules:
            schedule.step()
        self.updates += 1
        self._follow_updates()

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged weights. As `AveragedModel.update_parameters`, which asks the device if it is the first.

        After `t` updates the average keeps `min(ema_decay, (1 + t) / (10 + t))` of itself: it is never longer than a
        tenth of the training so far, or short runs would be measured by weights that they have long left behind.
        """
        weights, averaged = [*self.reasoner.parameters()], [*self.averaged.module.parameters()]
        torch._foreach_lerp_(averaged, weights, [self._taken_over] * len(weights))
        self.averaged.n_averaged += 1

    def _follow_updates(self) -> None:
        decay = min(self._ema_decay, (1 + self.updates) / (10 + self.updates))
        self._taken_over.fill_(1 - decay)

    @property
    def diverged(self) -> bool:
        """Whether the last gradient or a weight is not finite. Waits for the device."""
        values = self.parameters if self._last_norm is None else [self._last_norm, *self.parameters]
        return not bool(torch.stack([value.isfinite().all() for value in values]).all())

    @property
    def averaged_reasoner(self) -> RecursiveReasoner:
        """The reasoner with exponentially averaged weights, for evaluation."""
        return self.averaged.module

    def state_dict(self) -> dict[str, Any]:
        """Weights and their average, the losses' heads, optimizers, schedules, and the count of updates."""
        return {
            "updates": self.updates,
            "reasoner": compact_state(self.reasoner),
            "averaged": {name: value for name, value in self.averaged.state_dict().items() if name != AVERAGED_TABLE},
            "heads": self.heads.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.updates = state["updates"]
        self._follow_updates()
        load_compact_state(self.reasoner, state["reasoner"])
        # The table that both share was loaded with the reasoner.
        table = {name: value for name, value in self.averaged.state_dict().items() if name == AVERAGED_TABLE}
        self.averaged.load_state_dict({**state["averaged"], **table})
        self.heads.load_state_dict(state["heads"])
        for optimizer, schedule, saved in zip(self.optimizers, self.schedules, state["optimizers"], strict=True):
            _load_moments(optimizer, saved)
            # Learning rates and the like are those of the configuration, at the update that the schedule has come to.
            schedule.last_epoch = self.updates
            for group, factor in zip(optimizer.param_groups, schedule.lr_lambdas, strict=True):
                group["lr"] = group["initial_lr"] * factor(self.updates)


def _load_moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load an optimizer's state without its settings.

    Raises:
        ValueError: if it is the state of other parameters.
    """
    groups = optimizer.state_dict()["param_groups"]
    if [group["params"] for group in groups] != [group["params"] for group in saved["param_groups"]]:
        raise ValueError("the optimizer's state is that of other parameters")
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if moment.shape not in ((), parameter.shape):
                raise ValueError(f"{name} of the optimizer has shape {list(moment.shape)}, not {list(parameter.shape)}")


def build_optimizers(
    reasoner: RecursiveReasoner, heads: nn.Module, config: OptimizerConfig, recorded: bool = False
) -> list[torch.optim.Optimizer]:
    """AdamW over everything, or Muon over the matrices of the shared network and AdamW over the rest.

    Every parameter is weight-decayed, embeddings and biases included, as in the official TRM code. Puzzle embeddings,
    which are no parameters, have sign descent with a learning rate of their own.
    """
    adamw_parameters = [*reasoner.parameters(), *heads.parameters()]
    optimizers: list[torch.optim.Optimizer] = []
    if config.name == "muon":
        if not hasattr(torch.optim, "Muon"):
            raise UserError(f"optimizer.name=muon needs torch 2.9 or newer, this is {torch.__version__}")
        matrices = [weight for weight in reasoner.network.parameters() if weight.ndim == 2]
        chosen = {id(matrix) for matrix in matrices}
        adamw_parameters = [parameter for parameter in adamw_parameters if id(parameter) not in chosen]
        optimizers.append(torch.optim.Muon(matrices, lr=config.muon_lr, weight_decay=config.weight_decay))
    lr: float | Tensor = config.lr
    if recorded:
        # What the fused kernels read: of a GPU single, of a CPU double, which is what a number of Python's is.
        device = reasoner.initial_y.device
        lr = torch.tensor(lr, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
    optimizers.append(
        torch.optim.AdamW(
            adamw_parameters,
            lr=lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
            capturable=recorded,
        )
    )
    if reasoner.embed_puzzle is not None:
        optimizers.append(SignSGD(reasoner.embed_puzzle, lr=config.puzzle_lr, weight_decay=config.puzzle_weight_decay))
    return optimizers
