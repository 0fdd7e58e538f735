"""The reasoner as a policy: one call is one recursion step, which is one action of the MDP."""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase

from latent_rl.agents.halting import HaltingRule, NeverHalt, Thought
from latent_rl.agents.network import RecursiveReasoner, StepOutput


class RecursionPolicy(TensorDictModuleBase):
    """Reads an observation, runs one recursion step, writes the action.

    | key | shape | dtype | |
    | --- | --- | --- | --- |
    | `inputs` | `[*B, L]` | int64 | read |
    | `puzzle_id` | `[*B]` | int64 | read |
    | `y`, `z` | `[*B, P + L, D]` | float32 | read |
    | `step` | `[*B]` | int64 | read: recursion steps taken so far |
    | `next_y`, `next_z` | `[*B, P + L, D]` | float32 | written, without gradient unless the caller records one |
    | `answer` | `[*B, L]` | int64 | written |
    | `halt` | `[*B]` | int64 | written, 0 or 1 |

    Args:
        reasoner: the network.
        halting: rule behind `halt`; default `NeverHalt()`.
        keep_graph: fused training. Collectors run under `no_grad`; with `keep_graph` the step is recorded all the
            same, what is written is detached, and `take_output` hands the graph to the learner. A later call replaces
            an output that nobody took (collectors call a policy once on made-up data to learn its keys).
    """

    def __init__(
        self, reasoner: RecursiveReasoner, halting: HaltingRule | None = None, *, keep_graph: bool = False
    ) -> None:
        super().__init__()
        self.in_keys = ["inputs", "puzzle_id", "y", "z", "step"]
        self.out_keys = ["next_y", "next_z", "answer", "halt"]
        self.reasoner = reasoner
        self.halting = halting if halting is not None else NeverHalt()
        self.keep_graph = keep_graph
        self._kept: StepOutput | None = None

    def __getstate__(self) -> dict:
        # A kept graph belongs to the step being learned from; copies and other processes start without one.
        return {**self.__dict__, "_kept": None}

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Take one step; writes `out_keys` into `tensordict` and returns it."""
        if not self.keep_graph:
            output = self._step(tensordict)
            return self._write(tensordict, output)
        if torch.is_inference_mode_enabled():
            raise RuntimeError("keep_graph=True cannot record a gradient in inference mode: use torch.no_grad instead")
        with torch.enable_grad():
            self._kept = self._step(tensordict)
        return self._write(tensordict, StepOutput(*(tensor.detach() for tensor in self._kept)))

    def take_output(self) -> StepOutput:
        """The last step with its graph, rows flattened to `[B, ...]`, once.

        Raises:
            RuntimeError: nothing to take: `keep_graph` is off, no step was taken, or its output was taken already.
        """
        if self._kept is None:
            raise RuntimeError(
                "no step output to take: keep_graph=True keeps it at each call of the policy, and it is handed out once"
            )
        output, self._kept = self._kept, None
        return output

    def replay(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Take stored steps again, with today's weights and a graph, for all losses that read one batch.

        Args:
            tensordict: any batch shape `[*B]`, with `in_keys`.

        Returns:
            A shallow copy with `next_y`, `next_z`, `answer` replaced and `logits` `[*B, L, V]`, `q` `[*B, 2]` added;
            `halt` stays what was stored.
        """
        output = self._step(tensordict)
        copy = tensordict.copy()
        shape = tensordict.batch_size
        values = {
            "next_y": output.y,
            "next_z": output.z,
            "answer": output.logits.argmax(-1),
            "logits": output.logits,
            "q": output.q,
        }
        return copy.update({key: value.unflatten(0, shape) if shape else value[0] for key, value in values.items()})

    def _step(self, tensordict: TensorDictBase) -> StepOutput:
        flat = tensordict.select(*self.in_keys).reshape(-1)
        return self.reasoner.step(*(flat[key] for key in self.in_keys))

    def _write(self, tensordict: TensorDictBase, output: StepOutput) -> TensorDictBase:
        thought = self.thought(tensordict, output)
        action = TensorDict(
            {"next_y": output.y, "next_z": output.z, "answer": thought.answer, "halt": self.halting(thought)},
            batch_size=thought.steps_taken.shape,
        )
        return tensordict.update(action.reshape(tensordict.batch_size))

    def thought(self, tensordict: TensorDictBase, output: StepOutput) -> Thought:
        """What a halting rule reads of an observation `[*B]` and the step from it: rows flattened, no gradient."""
        flat = tensordict.select("inputs", "y", "step").reshape(-1)
        inputs, y, step = flat["inputs"], flat["y"], flat["step"]
        with torch.no_grad():
            before = self.reasoner.decode(y).argmax(-1)
        return Thought(
            inputs=inputs,
            # As in the environment, the answer before the first step is the puzzle.
            previous=torch.where((step == 0).unsqueeze(-1), inputs, before),
            answer=output.logits.argmax(-1),
            logits=output.logits.detach(),
            q=output.q.detach(),
            y=output.y.detach(),
            steps_taken=step + 1,
        )

    def recall(self, tensordict: TensorDictBase) -> Thought:
        """The same of steps that were taken, `[*B]`, from the `next_y` that they wrote; no network pass."""
        flat = tensordict.select("next_y", "next_z").reshape(-1)
        y = flat["next_y"]
        with torch.no_grad():
            output = StepOutput(y, flat["next_z"], self.reasoner.decode(y), self.reasoner.q_logits(y))
        return self.thought(tensordict, output)
