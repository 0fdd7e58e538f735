"""What every loss is: a TorchRL loss module over recursion steps that a configuration can name and set."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from tensordict import TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor, nn
from torchrl.objectives import LossModule

from latent_rl.agents.answering import AnswerPolicy
from latent_rl.agents.network import RecursiveReasoner
from latent_rl.agents.options import check_options

_STEP = "RecursionPolicy writes it when it takes a step, with the graph if one is kept, and when it replays one"
_SAMPLED = "RecursionPolicy writes it if it samples answers (answers.group)"
_DEDUCED = "DeductionPolicy writes it, with the graph, when it takes a step over candidates (env.state=candidates)"
_JUDGE = "GroupJudge writes it, of answers that were sampled (answers.group)"
_WRITERS = {
    "logits": _STEP,
    "q": _STEP,
    "keep": "DeductionPolicy writes it (env.state=candidates)",
    "answer": _STEP,
    "next_y": _STEP,
    "keep_logits": _DEDUCED,
    "symbol_logits": _DEDUCED,
    "conflict_logits": _DEDUCED,
    "free": _JUDGE,
    "group_worth": _JUDGE,
    "group_solved": _JUDGE,
    "averaged_logits": "the experience writes it, by one more step of the averaged network, if a loss asks",
    "group": _SAMPLED,
    "group_log_prob": _SAMPLED,
    "value_target": "ReturnValueLoss.prepare writes it, from whole trajectories (collector.mode=replay)",
}
"""Who writes a key, by its default name; all others are the environment's."""


class RecursionLoss(LossModule):
    """A loss over a batch of recursion steps. A new one is a subclass; `loss.terms` names it as `module:Class`.

    A subclass declares `_AcceptedKeys`, `in_keys`, `out_keys` and `forward` as TorchRL's losses do: what `forward`
    returns under `loss_*` is minimised, everything else is detached and charted. No loss runs the network: it reads
    what taking the step has written, and a key that is missing is an error.

    The constructor may ask for `reasoner` (to read one of its heads), for `answers` (the distribution that answers are
    sampled from, where they are) and for the keyword `max_steps`, steps of an episode (S). Its other keyword-only
    parameters are the options that a configuration sets, checked against their types; none can be called `weight`,
    which every loss has in a configuration.

    The parameters that a loss is given are used as they are: there is no second, functional set, because nothing here
    is trained against a lagging copy.

    Attributes:
        state: what the steps that it reads carry on, `"latents"` or `"candidates"`, as `env.state` has it.
    """

    state: ClassVar[Literal["latents", "candidates"]] = "latents"

    @classmethod
    def from_reasoner(
        cls, reasoner: RecursiveReasoner, *, max_steps: int, answers: AnswerPolicy | None = None, **options: Any
    ) -> RecursionLoss:
        """The loss for a reasoner, on its device.

        Args:
            reasoner: the network that learns.
            max_steps: steps of an episode (S).
            answers: the distribution that answers are sampled from; None if they are not.
            **options: the keyword-only parameters of the constructor.

        Raises:
            OptionError: an unknown option, or one of the wrong type.
        """
        run = {"reasoner": reasoner, "max_steps": max_steps, "answers": answers}
        asked = inspect.signature(cls.__init__).parameters
        given = {name: value for name, value in run.items() if name in asked}
        return cls(**given, **cls.check_options(options)).to(reasoner.initial_y.device)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options, those given checked and the others at their defaults; see `latent_rl.agents.options`."""
        return check_options(cls, options, beside=("weight",))

    @classmethod
    def needs_trajectories(cls) -> bool:
        """Whether `prepare` does anything: then whole trajectories have to be collected before steps are shuffled."""
        return cls.prepare is not RecursionLoss.prepare

    @property
    def heads(self) -> tuple[nn.Module, ...]:
        """Modules of the loss's own whose parameters it trains, for the optimizer and the checkpoint."""
        return ()

    def prepare(self, trajectories: TensorDictBase) -> None:
        """Write into trajectories `[N, T]` what `forward` needs of whole episodes; by default nothing."""

    def read(self, tensordict: TensorDictBase, name: str) -> Tensor:
        """The entry of a batch under the key that `name` stands for in `tensor_keys`.

        Raises:
            KeyError: it is missing; the message says who writes it.
        """
        return self._read(tensordict, name, getattr(self.tensor_keys, name))

    def read_next(self, tensordict: TensorDictBase, name: str) -> Tensor:
        """The same, of what stands under `"next"`: what the step led to.

        Raises:
            KeyError: it is missing; the message says who writes it.
        """
        return self._read(tensordict, name, ("next", getattr(self.tensor_keys, name)))

    def _read(self, tensordict: TensorDictBase, name: str, key: NestedKey) -> Tensor:
        value = tensordict.get(key, None)
        if value is None:
            writer = _WRITERS.get(name, "the environment writes it")
            raise KeyError(f"{type(self).__name__} reads {key!r}, which the batch does not hold: {writer}")
        return value

    @property
    def functional(self) -> bool:
        """False: modules are called with the parameters that they have."""
        return False

    def _forward_value_estimator_keys(self, **kwargs: object) -> None:
        """No value estimator reads the batch under our names: renaming keys does not concern one."""
