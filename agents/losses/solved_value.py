"""The solved value: is the answer solved right now (TRM's q head)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor

from latent_rl.agents.losses.base import RecursionLoss
from latent_rl.agents.losses.right_cells import count_right
from latent_rl.agents.network import RecursiveReasoner
from latent_rl.agents.team import shared_count


class SolvedValueLoss(RecursionLoss):
    """Teach the q head whether the answer of a step is solved (TRM's halting loss, arXiv 2510.04871).

    Binary cross-entropy of `q[..., 0]` against what the environment says of the step's answer: solved by the puzzle's
    rule, or, where a puzzle has none, equal to the key. Reward and search mean the same. With `judged_by="key"` the
    target is TRM's own, "the answer equals the solution in every cell that counts", which calls an answer wrong that
    obeys the rule but is not the one written down; a row in which nothing counts is right, as in the official code.
    Rows are averaged. The official loss head adds half of it.

    Of episodes that the answer key may end (`env.terminate_on_solved`) only the first step counts: later ones are there
    only where the answer was still wrong, and would teach that answers are wrong more often than they are. The other
    episodes show what becomes of all answers.

    Reads `q` with its graph. With `stop_gradient` it reads the head on the stored `next_y` instead, so that only the
    head learns.

    Returns `loss_value`, and without gradient `value_accuracy`: how often `q >= 0` agrees with the target, over rows
    with at least one counted cell.

    Args:
        reasoner: the network that has the head.

    Keyword Args:
        stop_gradient: keep the loss out of the trunk.
        judged_by: `"rule"`, what the environment calls solved, or `"key"`.

    Examples:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from latent_rl.agents import ReasonerConfig, RecursiveReasoner, SolvedValueLoss
        >>> reasoner = RecursiveReasoner(ReasonerConfig(vocab_size=5, seq_len=16, width=32, heads=2))
        >>> batch = TensorDict({"next_y": torch.randn(8, 17, 32), "answer": torch.randint(1, 5, (8, 16)),
        ...     "solution": torch.randint(1, 5, (8, 16)), "step": torch.zeros(8, dtype=torch.int64),
        ...     "ends_when_solved": torch.zeros(8, dtype=torch.bool), "next": {"solved": torch.rand(8) < 0.5}}, [8])
        >>> SolvedValueLoss(reasoner, stop_gradient=True)(batch)["loss_value"].backward()
    """

    @dataclass
    class _AcceptedKeys:
        """Keys that the loss itself reads.

        Attributes:
            q: float32 `[*B, 2]`, without `stop_gradient`. Default `"q"`.
            answer: int64 `[*B, L]`. Default `"answer"`.
            solution: int64 `[*B, L]`. Default `"solution"`.
            next_y: float32 `[*B, P + L, D]`, with `stop_gradient`. Default `"next_y"`.
            step: int64 `[*B]`, steps taken before this one. Default `"step"`.
            ends_when_solved: bool `[*B]`, whether the answer key may end the episode. Default `"ends_when_solved"`.
            solved: bool `[*B]`, under `"next"`, judged by the rule. Default `"solved"`.
        """

        q: NestedKey = "q"
        answer: NestedKey = "answer"
        solution: NestedKey = "solution"
        next_y: NestedKey = "next_y"
        step: NestedKey = "step"
        ends_when_solved: NestedKey = "ends_when_solved"
        solved: NestedKey = "solved"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    out_keys = ["loss_value", "value_accuracy"]

    def __init__(
        self,
        reasoner: RecursiveReasoner,
        *,
        stop_gradient: bool = False,
        judged_by: Literal["rule", "key"] = "rule",
    ) -> None:
        super().__init__()
        if judged_by not in ("rule", "key"):
            raise ValueError(f'judged_by must be "rule" or "key", got {judged_by!r}')
        self.reasoner = reasoner
        self.stop_gradient = stop_gradient
        self.judged_by = judged_by

    @property
    def in_keys(self) -> list[NestedKey]:
        """What a batch must hold."""
        keys = self.tensor_keys
        judge = [("next", keys.solved)] if self.judged_by == "rule" else []
        logit = keys.next_y if self.stop_gradient else keys.q
        return [logit, keys.answer, keys.solution, keys.step, keys.ends_when_solved, *judge]

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss and its metric, scalars, of a batch of any shape.

        Raises:
            KeyError: the batch lacks a key; the message says who writes it.
            ValueError: answer and solution, or q and they, do not fit; the message names both shapes.
        """
        q, solution = self._halt_logit(tensordict), self.read(tensordict, "solution")
        right, counted = count_right(self.read(tensordict, "answer"), solution)
        solved = right == counted if self.judged_by == "key" else self.read_next(tensordict, "solved")
        if q.shape != solved.shape:
            raise ValueError(
                f"halt logits of shape {tuple(q.shape)} and solution of shape {tuple(solution.shape)} do not fit"
            )
        counts = counted > 0
        # Rows that are there whatever the answer before was.
        seen = (self.read(tensordict, "step") == 0) | ~self.read(tensordict, "ends_when_solved")
        loss = F.binary_cross_entropy_with_logits(q, solved.to(q.dtype), reduction="none")
        agrees = ((q.detach() >= 0) == solved) & counts
        return TensorDict(
            {
                "loss_value": (loss * seen).sum() / shared_count(seen.sum()),
                "value_accuracy": agrees.sum() / counts.sum().clamp(min=1),
            },
            batch_size=[],
        )

    def _halt_logit(self, tensordict: TensorDictBase) -> Tensor:
        if not self.stop_gradient:
            return self.read(tensordict, "q")[..., 0]
        y = self.read(tensordict, "next_y").detach()
        return self.reasoner.q_logits(y.reshape(-1, *y.shape[-2:]))[:, 0].reshape(y.shape[:-2])
