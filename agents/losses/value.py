"""Value losses: will the answer be right (TRM's q head), and what return does a state promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule
from tensordict.utils import NestedKey
from torch import Tensor, nn
from torchrl.objectives import ValueEstimators
from torchrl.objectives.utils import default_value_kwargs, distance_loss
from torchrl.objectives.value import GAE, TD0Estimator, TD1Estimator, TDLambdaEstimator, ValueEstimatorBase

from latent_rl.agents.losses.own_parameters import OwnParametersLoss
from latent_rl.agents.losses.policy_improvement import count_right
from latent_rl.agents.network import Linear
from latent_rl.agents.policy import RecursionPolicy


class SolvedValueLoss(OwnParametersLoss):
    """Teach the q head whether the answer of a step is exactly right (TRM's halting loss, arXiv 2510.04871).

    Binary cross-entropy of `q[..., 0]` against "the answer equals the solution in every cell that counts"; a row in
    which nothing counts is right, as in the official code. Rows are averaged. The official loss head adds half of it.

    Reads `q` with its graph if the batch holds it (fused training, or `RecursionPolicy.replay`), otherwise takes the
    stored step again. With `stop_gradient` it reads the stored `next_y` and `answer` instead: no network pass, and
    only the head learns.

    Returns `loss_value`, and without gradient `value_accuracy`: how often `q >= 0` agrees with being right, over rows
    with at least one counted cell.

    Args:
        policy: the policy that takes the steps.

    Keyword Args:
        stop_gradient: keep the loss out of the trunk.

    Examples:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from latent_rl.agents import ReasonerConfig, RecursionPolicy, RecursiveReasoner, SolvedValueLoss
        >>> reasoner = RecursiveReasoner(ReasonerConfig(vocab_size=5, seq_len=16, width=32, heads=2))
        >>> batch = TensorDict({"next_y": torch.randn(8, 17, 32), "answer": torch.randint(1, 5, (8, 16)),
        ...     "solution": torch.randint(1, 5, (8, 16))}, [8])
        >>> SolvedValueLoss(RecursionPolicy(reasoner), stop_gradient=True)(batch)["loss_value"].backward()
    """

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            q: float32 `[*B, 2]`, optional. Default `"q"`.
            answer: int64 `[*B, L]`. Default `"answer"`.
            solution: int64 `[*B, L]`. Default `"solution"`.
            next_y: float32 `[*B, P + L, D]`, with `stop_gradient`. Default `"next_y"`.
        """

        q: NestedKey = "q"
        answer: NestedKey = "answer"
        solution: NestedKey = "solution"
        next_y: NestedKey = "next_y"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    out_keys = ["loss_value", "value_accuracy"]

    def __init__(self, policy: RecursionPolicy, *, stop_gradient: bool = False) -> None:
        super().__init__()
        self.policy = policy
        self.stop_gradient = stop_gradient

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch without `q` must hold."""
        keys = self.tensor_keys
        if self.stop_gradient:
            return [keys.next_y, keys.answer, keys.solution]
        return [*self.policy.in_keys, keys.solution]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metric, scalars, of a batch of any shape.

        Raises:
            ValueError: answer and solution, or q and they, do not fit; the message names both shapes.
        """
        keys = self.tensor_keys
        q, answer = self._halt_logit(tensordict)
        solution = tensordict[keys.solution]
        right, counted = count_right(answer, solution)
        solved = right == counted
        if q.shape != solved.shape:
            raise ValueError(
                f"halt logits of shape {tuple(q.shape)} and solution of shape {tuple(solution.shape)} do not fit"
            )
        counts = counted > 0
        agrees = ((q.detach() >= 0) == solved) & counts
        return TensorDict(
            {
                "loss_value": F.binary_cross_entropy_with_logits(q, solved.to(q.dtype)),
                "value_accuracy": agrees.sum() / counts.sum().clamp(min=1),
            },
            batch_size=[],
        )

    def _halt_logit(self, tensordict: TensorDictBase) -> tuple[Tensor, Tensor]:
        """The halt logit `[*B]` and the answer `[*B, L]` that it speaks of."""
        keys = self.tensor_keys
        if self.stop_gradient:
            y = tensordict[keys.next_y].detach()
            q = self.policy.reasoner.confidence(y.reshape(-1, *y.shape[-2:]))
            return q[:, 0].reshape(y.shape[:-2]), tensordict[keys.answer]
        q = tensordict.get(keys.q, None)
        if q is None:
            replayed = self.policy.replay(tensordict)
            return replayed.get("q")[..., 0], replayed.get("answer")
        return q[..., 0], tensordict[keys.answer]


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
        return self.out(F.silu(self.hidden(y[..., 0, :])))


class ReturnValueLoss(OwnParametersLoss):
    """Regress `V(s) = head(y)` on returns over stored trajectories; the trunk is not touched.

    Targets come from TorchRL's estimators: TD(lambda) by default, and TD(0), TD(1) and GAE through
    `make_value_estimator`, e.g. `loss.make_value_estimator(ValueEstimators.TD1, gamma=1.0)`; `gamma` and `lmbda` not
    given are TorchRL's defaults (0.99, 0.95). A batch that holds `value_target` is taken at its word.

    Returns `loss_value`, and without gradient `explained_variance`, the share of the targets' variance that `V` tells
    (1 is perfect, 0 no better than a constant).

    Args:
        head: the value of latents, `[*B, P + L, D] -> [*B, 1]`, for example `ReturnHead(width)`.

    Keyword Args:
        distance: `"smooth_l1"` or `"l2"`.

    Examples:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from latent_rl.agents import ReturnHead, ReturnValueLoss
        >>> y = torch.randn(4, 7, 17, 32)
        >>> end = torch.tensor([0, 0, 0, 0, 0, 1]).bool().expand(4, 6).unsqueeze(-1)
        >>> batch = TensorDict({"y": y[:, :-1], "next": {"y": y[:, 1:], "reward": torch.randn(4, 6, 1), "done": end,
        ...     "terminated": end}}, [4, 6])
        >>> ReturnValueLoss(ReturnHead(32))(batch)["loss_value"].backward()
    """

    @dataclass
    class _AcceptedKeys:
        """Keys of trajectories.

        Attributes:
            y: float32 `[N, T, P + L, D]`, also under `"next"`. Default `"y"`.
            value_target: float32 `[N, T, 1]`, optional. Default `"value_target"`.
            reward, done, terminated: under `"next"`, `[N, T, 1]`. Defaults of the same name.
        """

        y: NestedKey = "y"
        value_target: NestedKey = "value_target"
        reward: NestedKey = "reward"
        done: NestedKey = "done"
        terminated: NestedKey = "terminated"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys
    default_value_estimator = ValueEstimators.TDLambda

    out_keys = ["loss_value", "explained_variance"]

    _ESTIMATORS = {
        ValueEstimators.TD0: TD0Estimator,
        ValueEstimators.TD1: TD1Estimator,
        ValueEstimators.TDLambda: TDLambdaEstimator,
        ValueEstimators.GAE: GAE,
    }

    def __init__(self, head: nn.Module, *, distance: Literal["smooth_l1", "l2"] = "smooth_l1") -> None:
        super().__init__()
        if distance not in ("smooth_l1", "l2"):
            raise ValueError(f'distance must be "smooth_l1" or "l2", got {distance!r}')
        self.head = head
        self.distance = distance

    @property
    def heads(self):
        return (self.head,)

    def prepare(self, trajectories) -> None:
        trajectories["value_target"] = self.estimate_targets(trajectories)

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch without `value_target` must hold."""
        keys = self.tensor_keys
        return [keys.y, *(("next", key) for key in (keys.y, keys.reward, keys.done, keys.terminated))]

    def make_value_estimator(
        self, value_type: ValueEstimators | ValueEstimatorBase | type | None = None, **hyperparams: object
    ) -> ReturnValueLoss:
        """Choose how returns are estimated; see `LossModule.make_value_estimator`.

        Raises:
            NotImplementedError: an estimator other than TD0, TD1, TDLambda and GAE.
        """
        value_type = value_type if value_type is not None else self.default_value_estimator
        if not isinstance(value_type, ValueEstimators):
            return super().make_value_estimator(value_type, **hyperparams)
        if value_type not in self._ESTIMATORS:
            names = ", ".join(estimator.name for estimator in self._ESTIMATORS)
            raise NotImplementedError(f"{value_type} is not implemented for ReturnValueLoss; there are {names}")
        self.value_type = value_type
        device = next(self.head.parameters()).device
        options = {**default_value_kwargs(value_type), "device": device, **hyperparams}
        self._value_estimator = self._ESTIMATORS[value_type](value_network=self.as_value_network(), **options)
        return self

    def as_value_network(self) -> TensorDictModule:
        """The head as TorchRL's estimators want it, for an estimator built outside; it reads `y`."""
        return TensorDictModule(self.head, in_keys=["y"], out_keys=["state_value"])

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metric, scalars, of trajectories `[N, T]`.

        Raises:
            ValueError: the batch is not `[N, T]`, or value and target differ in shape (both are named).
        """
        value = self.head(tensordict[self.tensor_keys.y])
        target = tensordict.get(self.tensor_keys.value_target, None)
        if target is None:
            target = self.estimate_targets(tensordict)
        if value.shape != target.shape:
            raise ValueError(f"value of shape {tuple(value.shape)} and target of shape {tuple(target.shape)} differ")
        unexplained = (target - value.detach()).var(correction=0)
        return TensorDict(
            {
                "loss_value": distance_loss(value, target, self.distance).mean(),
                "explained_variance": 1 - unexplained / target.var(correction=0).clamp(min=1e-8),
            },
            batch_size=[],
        )

    def estimate_targets(self, tensordict: TensorDictBase) -> Tensor:
        """Value targets, float32 `[N, T, 1]` without gradient, of trajectories `[N, T]`.

        Put them under `value_target` before trajectories are cut into minibatches, which no longer know what followed.

        Raises:
            ValueError: the batch is not `[N, T]`.
        """
        if tensordict.ndim != 2:
            raise ValueError(f"returns need trajectories of batch shape [N, T], got {list(tensordict.batch_size)}")
        keys = self.tensor_keys
        following = {
            "y": tensordict[("next", keys.y)][..., :1, :],
            "reward": tensordict[("next", keys.reward)],
            "done": tensordict[("next", keys.done)],
            "terminated": tensordict[("next", keys.terminated)],
        }
        # The estimator stacks states and successors: give it the one position that the head reads, not all of them.
        trajectories = TensorDict({"y": tensordict[keys.y][..., :1, :], "next": following}, tensordict.batch_size)
        return self.value_estimator(trajectories).get("value_target").detach()
