"""The reasoner as a policy: one call is one recursion step, which is one action of the MDP."""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from latent_rl.agents.answering import AnswerPolicy
from latent_rl.agents.halting import NeverHalt
from latent_rl.agents.network import DeductionOutput, RecursiveReasoner, StepOutput


class StepGraph:
    """Keeps the graph of a recursion step for whoever learns from it: fused training.

    Collectors run a policy under `no_grad`. A policy that was given a `StepGraph` records its step all the same and
    leaves the outputs here; a learner takes them, once, and back-propagates through them. A later step replaces an
    output that nobody took (collectors call a policy once on made-up data to learn its keys).
    """

    def __init__(self) -> None:
        self._output: StepOutput | DeductionOutput | None = None

    def __getstate__(self) -> dict:
        # A graph belongs to the step being learned from; copies and other processes start without one.
        return {"_output": None}

    def keep(self, output: StepOutput | DeductionOutput) -> None:
        """Keep the outputs of a step, rows flattened to `[B, ...]`, with their graph."""
        self._output = output

    def take(self) -> StepOutput | DeductionOutput:
        """Hand out the last step's outputs, once.

        Raises:
            RuntimeError: nothing to take: no step was recorded, or its output was taken already.
        """
        if self._output is None:
            raise RuntimeError(
                "no step output to take: a policy that was given this graph leaves one at each of its calls, "
                "and it is handed out once"
            )
        output, self._output = self._output, None
        return output


class RecursionPolicy(TensorDictModuleBase):
    """Reads an observation, runs one recursion step, writes the action.

    | key | shape | dtype | |
    | --- | --- | --- | --- |
    | `inputs` | `[*B, L]` | int64 | read |
    | `puzzle_id` | `[*B]` | int64 | read |
    | `y`, `z` | `[*B, P + L, D]` | float32 | read |
    | `step` | `[*B]` | int64 | read: recursion steps taken so far |
    | `next_y`, `next_z` | `[*B, P + L, D]` | float32 | written |
    | `answer` | `[*B, L]` | int64 | written |
    | `logits` | `[*B, L, V]` | float32 | written: what `answer` was read from |
    | `q` | `[*B, 2]` | float32 | written: logits (halt, continue) |
    | `halt` | `[*B]` | int64 | written by the halting rule, 0 or 1, with whatever else the rule writes |

    With `answers` the answer is sampled, and what `AnswerPolicy.draw` returns is written; the halting rule sees the
    likeliest answer all the same.

    Nothing that is written carries a gradient unless the caller records one; see `StepGraph` for the graph.

    Args:
        reasoner: the network.
        halting: module behind `halt`, see `HaltingRule`; default `NeverHalt()`.
        answers: the distribution that answers are sampled from; None for the likeliest.
        graph: where each step leaves its graph.
    """

    def __init__(
        self,
        reasoner: RecursiveReasoner,
        halting: TensorDictModuleBase | None = None,
        *,
        answers: AnswerPolicy | None = None,
        graph: StepGraph | None = None,
    ) -> None:
        super().__init__()
        self.reasoner = reasoner
        self.halting = halting if halting is not None else NeverHalt()
        self.answers = answers
        self.graph = graph
        self.in_keys = [*reasoner.step_keys]
        sampled = ["answer_log_prob", "group", "group_log_prob"] if answers is not None else []
        self.out_keys = ["next_y", "next_z", "answer", "logits", "q", *sampled, *self.halting.out_keys]

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Take one step; writes `out_keys` into `tensordict` and returns it."""
        if self.graph is None:
            return self._write(tensordict, self._step(tensordict))
        if torch.is_inference_mode_enabled():
            raise RuntimeError("a graph cannot be recorded in inference mode: use torch.no_grad instead")
        with torch.enable_grad():
            output = self._step(tensordict)
        self.graph.keep(output)
        return self._write(tensordict, StepOutput(*(tensor.detach() for tensor in output)))

    def replay(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Take stored steps again, with today's weights and a graph, for all losses that read one batch.

        Args:
            tensordict: any batch shape `[*B]`, with `in_keys`.

        Returns:
            A shallow copy with `next_y`, `next_z`, `answer`, `logits` and `q` replaced; what the halting rule wrote
            stays what was stored.
        """
        output = self._step(tensordict)
        return _with_rows(tensordict.copy(), _outputs(output))

    def _step(self, tensordict: TensorDictBase) -> StepOutput:
        flat = tensordict.select(*self.in_keys).reshape(-1)
        return self.reasoner.step(*(flat[key] for key in self.in_keys))

    def _write(self, tensordict: TensorDictBase, output: StepOutput) -> TensorDictBase:
        flat = tensordict.select("inputs", "y", "step").reshape(-1)
        written = _outputs(output)
        seen = TensorDict({name: value.detach() for name, value in written.items()}, flat.batch_size)
        seen.update({"inputs": flat["inputs"], "step": flat["step"]})
        if "previous" in self.halting.in_keys:
            seen["previous"] = self._previous_answer(flat)
        decided = self.halting(seen).select(*self.halting.out_keys)
        if self.answers is not None:
            written |= self.answers.draw(output.logits.detach(), flat["inputs"])
        return _with_rows(tensordict, {**written, **decided})

    @torch.no_grad()
    def _previous_answer(self, flat: TensorDictBase) -> Tensor:
        """The answer before the step, int64 `[B, L]`; as in the environment, before the first step the puzzle."""
        before = self.reasoner.decode(flat["y"]).argmax(-1)
        return torch.where((flat["step"] == 0).unsqueeze(-1), flat["inputs"], before)


def _outputs(output: StepOutput) -> dict[str, Tensor]:
    return {
        "next_y": output.y,
        "next_z": output.z,
        "answer": output.logits.argmax(-1),
        "logits": output.logits,
        "q": output.q,
    }


def _with_rows(tensordict: TensorDictBase, values: dict[str, Tensor]) -> TensorDictBase:
    """`tensordict` of batch shape `[*B]` with values of flattened rows `[B, ...]` added."""
    shape = tensordict.batch_size
    return tensordict.update({key: value.unflatten(0, shape) if shape else value[0] for key, value in values.items()})
