"""The return value: what return does a state promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch.nn.functional as F
from pydantic import AfterValidator, Field
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule
from tensordict.utils import NestedKey
from torch import Tensor, nn
from torchrl.objectives import ValueEstimators
from torchrl.objectives.utils import default_value_kwargs, distance_loss
from torchrl.objectives.value import GAE, TD0Estimator, TD1Estimator, TDLambdaEstimator, ValueEstimatorBase

from latent_rl.agents.answering import AnswerPolicy
from latent_rl.agents.losses.base import RecursionLoss
from latent_rl.agents.network import Linear, RecursiveReasoner
from latent_rl.agents.options import OptionError, nearest

ESTIMATORS: dict[str, tuple[ValueEstimators, type[ValueEstimatorBase]]] = {
    "td0": (ValueEstimators.TD0, TD0Estimator),
    "td1": (ValueEstimators.TD1, TD1Estimator),
    "td_lambda": (ValueEstimators.TDLambda, TDLambdaEstimator),
    "gae": (ValueEstimators.GAE, GAE),
}
"""Estimators of returns by the name that a configuration gives them: TorchRL's word for each, and its class."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def _known_estimator(name: str) -> str:
    if name not in ESTIMATORS:
        raise OptionError(f"unknown estimator {name!r}{nearest(name, ESTIMATORS)}")
    return name


class ReturnHead(nn.Module):
    """`V(s)`, `[*B, 1]`, read from the first position of the answer latent `y`, `[*B, P + L, D]`: no network pass."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = Linear(width, width)
        self.out = nn.Linear(width, 1)
        # Start by promising nothing: a random promise would be bootstrapped into the targets.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, y: Tensor) -> Tensor:
        """Predicted returns, float32 `[*B, 1]`, of latents `y`, float32 `[*B, P + L, D]`."""
        return self.out(F.silu(self.hidden(y[..., 0, :])))


class ReturnValueLoss(RecursionLoss):
    """Regress `V(s) = head(y)` on returns over stored trajectories; the trunk is not touched.

    Targets are those of TorchRL's estimators: `prepare` writes them into trajectories as `value_target`, before these
    are cut into minibatches, which no longer know what followed. `make_value_estimator` takes one of one's own. An
    episode that has used up its steps is over like any other: only what the batch cuts off is bootstrapped.

    Returns `loss_return`, and without gradient `explained_variance`, the share of the targets' variance that `V` tells
    (1 is perfect, 0 no better than a constant).

    Args:
        head: the value of latents, `[*B, P + L, D] -> [*B, 1]`, for example `ReturnHead(width)`.

    Keyword Args:
        distance: `"smooth_l1"` or `"l2"`.
        estimator: of the returns, a name in `ESTIMATORS`.
        gamma: discount of a step.
        lmbda: of `td_lambda` and `gae`.

    Examples:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from latent_rl.agents import ReturnHead, ReturnValueLoss
        >>> y = torch.randn(4, 7, 17, 32)
        >>> end = torch.tensor([0, 0, 0, 0, 0, 1]).bool().expand(4, 6).unsqueeze(-1)
        >>> following = {"y": y[:, 1:], "reward": torch.randn(4, 6, 1), "done": end}
        >>> batch = TensorDict({"y": y[:, :-1], "next": following}, [4, 6])
        >>> loss = ReturnValueLoss(ReturnHead(32))
        >>> loss.prepare(batch)
        >>> loss(batch.reshape(-1))["loss_return"].backward()
    """

    @dataclass
    class _AcceptedKeys:
        """Keys of batches, and of trajectories for `prepare`.

        Attributes:
            y: float32 `[*B, P + L, D]`, in trajectories also under `"next"`. Default `"y"`.
            value_target: float32 `[*B, 1]`, which `prepare` writes. Default `"value_target"`.
            reward, done: in trajectories, under `"next"`, `[N, T, 1]`. Defaults of the same name.
        """

        y: NestedKey = "y"
        value_target: NestedKey = "value_target"
        reward: NestedKey = "reward"
        done: NestedKey = "done"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys
    default_value_estimator = ValueEstimators.TDLambda

    out_keys = ["loss_return", "explained_variance"]

    def __init__(
        self,
        head: nn.Module,
        *,
        distance: Literal["smooth_l1", "l2"] = "smooth_l1",
        estimator: Annotated[str, AfterValidator(_known_estimator)] = "td_lambda",
        gamma: Fraction = 1.0,
        lmbda: Fraction = 0.95,
    ) -> None:
        super().__init__()
        if distance not in ("smooth_l1", "l2"):
            raise ValueError(f'distance must be "smooth_l1" or "l2", got {distance!r}')
        self.head = head
        self.distance = distance
        kind, _ = ESTIMATORS[_known_estimator(estimator)]
        discount = {"gamma": gamma, "lmbda": lmbda}
        self.make_value_estimator(kind, **{key: discount[key] for key in discount if key in default_value_kwargs(kind)})

    @classmethod
    def from_reasoner(
        cls, reasoner: RecursiveReasoner, *, max_steps: int, answers: AnswerPolicy | None = None, **options: Any
    ) -> ReturnValueLoss:
        """The loss of a `ReturnHead` on a reasoner's latents; see `RecursionLoss.from_reasoner`."""
        options = cls.check_options(options)
        return cls(ReturnHead(reasoner.config.width).to(reasoner.initial_y.device), **options)

    @property
    def heads(self) -> tuple[nn.Module, ...]:
        """The head."""
        return (self.head,)

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch must hold."""
        return [self.tensor_keys.y, self.tensor_keys.value_target]

    def make_value_estimator(
        self, value_type: ValueEstimators | ValueEstimatorBase | type | None = None, **hyperparams: object
    ) -> ReturnValueLoss:
        """Choose how returns are estimated; see `LossModule.make_value_estimator`, also for the constants' defaults.

        Raises:
            NotImplementedError: an estimator other than TD0, TD1, TDLambda and GAE.
        """
        value_type = value_type if value_type is not None else self.default_value_estimator
        if not isinstance(value_type, ValueEstimators):
            return super().make_value_estimator(value_type, **hyperparams)
        classes = dict(ESTIMATORS.values())
        if value_type not in classes:
            names = ", ".join(estimator.name for estimator in classes)
            raise NotImplementedError(f"{value_type} is not implemented for ReturnValueLoss; there are {names}")
        self.value_type = value_type
        device = next(self.head.parameters()).device
        options = {**default_value_kwargs(value_type), "device": device, **hyperparams}
        self._value_estimator = classes[value_type](value_network=self.as_value_network(), **options)
        return self

    def as_value_network(self) -> TensorDictModule:
        """The head as TorchRL's estimators want it, for an estimator built outside; it reads `y`."""
        return TensorDictModule(self.head, in_keys=["y"], out_keys=["state_value"])

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metric, scalars, of a batch of any shape.

        Raises:
            KeyError: the batch lacks a key; the message says who writes it.
            ValueError: value and target differ in shape (both are named).
        """
        value, target = self.head(self.read(tensordict, "y")), self.read(tensordict, "value_target")
        if value.shape != target.shape:
            raise ValueError(f"value of shape {tuple(value.shape)} and target of shape {tuple(target.shape)} differ")
        unexplained = (target - value.detach()).var(correction=0)
        return TensorDict(
            {
                "loss_return": distance_loss(value, target, self.distance).mean(),
                "explained_variance": 1 - unexplained / target.var(correction=0).clamp(min=1e-8),
            },
            batch_size=[],
        )

    def prepare(self, trajectories: TensorDictBase) -> None:
        """Write `value_target` into trajectories `[N, T]`.

        Raises:
            ValueError: the batch is not `[N, T]`.
        """
        trajectories[self.tensor_keys.value_target] = self.estimate_targets(trajectories)

    def estimate_targets(self, tensordict: TensorDictBase) -> Tensor:
        """Value targets, float32 `[N, T, 1]` without gradient, of trajectories `[N, T]`.

        Raises:
            ValueError: the batch is not `[N, T]`.
        """
        if tensordict.ndim != 2:
            raise ValueError(f"returns need trajectories of batch shape [N, T], got {list(tensordict.batch_size)}")
        keys = self.tensor_keys
        # Nothing can be earned after the last step that is allowed: no step begins there, so the head is never taught
        # what it is worth, and a target that asked it would feed its own mistake back.
        over = tensordict[("next", keys.done)]
        following = {
            "y": tensordict[("next", keys.y)][..., :1, :],
            "reward": tensordict[("next", keys.reward)],
            "done": over,
            "terminated": over,
        }
        # The estimator stacks states and successors: give it the one position that the head reads, not all of them.
        trajectories = TensorDict({"y": tensordict[keys.y][..., :1, :], "next": following}, tensordict.batch_size)
        return self.value_estimator(trajectories).get("value_target").detach()
