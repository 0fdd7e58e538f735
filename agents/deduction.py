"""The reasoner over candidates as a policy: one call is one deduction step, which is one action of its MDP."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from latent_rl.agents.memoized import MemoizedReasoner
from latent_rl.agents.mixing import mix, mix_rows
from latent_rl.agents.network import CandidateReasoner, DeductionOutput
from latent_rl.agents.policy import StepGraph
from latent_rl.agents.team import draw_rows
from latent_rl.agents.tries import FailedTries


@dataclass(frozen=True)
class Deduction:
    """How logits become an action.

    Attributes:
        keep_threshold: a candidate whose probability of being part of the answer is below this goes. Under a loss in
            which losing a right candidate costs `c` times as much as keeping a wrong one, a candidate that is right
            with probability `p` is given `c p / (c p + 1 - p)`: 0.1 is 1.4% at 8.
        restart_decay: what each restart of a puzzle multiplies `keep_threshold` by. What a network is wrongly sure of
            before it branches it is sure of again: at 1 it would lose the same answer in the same way for ever.
        restart_floor: below this restarts do not bring `keep_threshold`: who is never sure enough deduces nothing.
        conflict_threshold: a state whose probability of having lost the answer is above this is given up. After a few
            branches in a hard puzzle most states have lost it: a network that knows that and no more must not give up.
        temperature: of the symbol that a branch tries, drawn from the answer's logits.
    """

    keep_threshold: float = 0.1
    restart_decay: float = 0.5
    restart_floor: float = 0.02
    conflict_threshold: float = 0.98
    temperature: float = 1.0


class DeductionPolicy(TensorDictModuleBase):
    """Reads candidates, runs one deduction step, writes which of them go, and where to branch after that.

    | key | shape | dtype | |
    | --- | --- | --- | --- |
    | `inputs` | `[*B, L]` | int64 | read |
    | `puzzle_id` | `[*B]` | int64 | read |
    | `candidates` | `[*B, L, V]` | bool | read |
    | `given` | `[*B, L]` | bool | read |
    | `step` | `[*B]` | int64 | read |
    | `restarts` | `[*B]` | int64 | read |
    | `keep` | `[*B, L, V]` | bool | written: False for candidates that go, for all where a conflict is seen |
    | `branch_cell` | `[*B]` | int64 | written: the cell that is pinned; `L`: none, for conflicts and full boards |
    | `branch_symbol` | `[*B]` | int64 | written: the symbol that it is pinned to |

    Every step branches, as its authors have it: in an open cell with the fewest candidates left, of those in the one
    whose likeliest symbol is likeliest. The symbol is drawn, so that a puzzle that is begun anew takes other branches.

    Args:
        reasoner: the network; memoized, where every call brings the rows of the one before that are still in work.
        deduction: thresholds.
        graph: where each step leaves its graph, see `StepGraph`.
        seed: what symbols are drawn with, beside the puzzle and its step: whatever other puzzles are in the batch, a
            puzzle takes the same way every time. None: they are drawn from torch's generator.
        tries: of the rows that every call brings, what their failed tries took, which is then less likely. None: every
            try draws by the same odds, as in training, where rows change puzzles.
    """

    in_keys = ["inputs", "puzzle_id", "candidates", "given", "step", "restarts"]
    out_keys = ["keep", "branch_cell", "branch_symbol"]
    answers = None  # no answers are sampled to be compared

    def __init__(
        self,
        reasoner: CandidateReasoner | MemoizedReasoner,
        deduction: Deduction | None = None,
        *,
        graph: StepGraph | None = None,
        seed: int | None = None,
        tries: FailedTries | None = None,
    ) -> None:
        super().__init__()
        self.reasoner = reasoner
        self.deduction = deduction if deduction is not None else Deduction()
        self.graph = graph
        self.seed = seed
        self.tries = tries

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Take one step; writes `out_keys` into `tensordict` and returns it."""
        flat = tensordict.select(*self.in_keys).reshape(-1)
        inputs, puzzle_id, candidates, given, step, restarts = (flat[key] for key in self.in_keys)
        with torch.set_grad_enabled(self.graph is not None or torch.is_grad_enabled()):
            output = self.reasoner.step(inputs, puzzle_id, candidates)
        if self.graph is not None:
            self.graph.keep(output)
        chance = None if self.seed is None else scattered(inputs, step, self.seed)
        action = choose(output, candidates, given, restarts, self.deduction, chance, self.tries)
        shape = tensordict.batch_size
        return tensordict.update(
            {key: value.unflatten(0, shape) if shape else value[0] for key, value in action.items()}
        )


def symbol_probabilities(output: DeductionOutput, left: Tensor, temperature: float) -> Tensor:
    """How likely each symbol of each cell is, float32 `[B, L, V]`, of those that are `left`, bool `[B, L, V]`.

    A cell without any has nothing to draw from; it is a conflict, does not branch, and has ones.
    """
    scores = (output.symbol_logits[:, -1] / temperature).masked_fill(~left, -torch.inf)
    return scores.softmax(-1).nan_to_num(1.0)


def scattered(inputs: Tensor, step: Tensor, seed: int) -> Tensor:
    """A number of each puzzle and step, as if drawn uniformly from [0, 1): `[B]`, of int64 `[B, L]` and `[B]`.

    As finely as `finest` allows, in its dtype.
    """
    bits = 53 if finest(inputs.device) == torch.float64 else 24
    return (mix(mix(mix_rows(inputs) + seed) + step) & (2**bits - 1)).to(finest(inputs.device)) / 2**bits


def finest(device: torch.device) -> torch.dtype:
    """float64, or on MPS, which has none, float32."""
    return torch.float32 if device.type == "mps" else torch.float64


@torch.no_grad()
def choose(
    output: DeductionOutput,
    candidates: Tensor,
    given: Tensor,
    restarts: Tensor,
    deduction: Deduction,
    chance: Tensor | None = None,
    tries: FailedTries | None = None,
) -> dict[str, Tensor]:
    """The action of a step, by its keys.

    Args:
        output: of the step.
        candidates: bool `[B, L, V]`, before it.
        given: bool `[B, L]`, cells that are not touched.
        restarts: int64 `[B]`, how often the puzzle was begun anew.
        deduction: thresholds.
        chance: `[B]` in [0, 1), of the dtype `finest`, which decides what symbol a branch tries; torch's generator
            draws it if None.
        tries: makes less likely what has failed, and is told what the step branches on.
    """
    conflict = output.conflict_logits[:, -1].sigmoid() > deduction.conflict_threshold
    threshold = deduction.keep_threshold * deduction.restart_decay ** restarts.view(-1, 1, 1)
    threshold = threshold.clamp(min=min(deduction.restart_floor, deduction.keep_threshold))
    unlikely = output.keep_logits[:, -1].sigmoid() < threshold
    removed = candidates & unlikely & ~given.unsqueeze(-1)
    left = candidates & ~removed
    counts = left.sum(-1)
    undecided = counts > 1
    branches = undecided.any(-1) & (counts > 0).all(-1) & ~conflict

    likely = symbol_probabilities(output, left, deduction.temperature)
    # Probabilities are at most 1: they only decide between cells with equally many candidates.
    urgency = likely.max(-1).values - counts
    cell = urgency.masked_fill(~undecided, -torch.inf).argmax(-1)
    if chance is None:
        chance = draw_rows(torch.rand_like, torch.zeros_like(cell, dtype=finest(cell.device)))
    odds = likely[torch.arange(len(cell), device=cell.device), cell].to(chance.dtype)
    if tries is not None:
        tries.begin(restarts)
        odds = tries.discounted(odds, cell)
    up_to = odds.cumsum(-1)
    symbol = (up_to <= chance.unsqueeze(-1) * up_to[:, -1:]).sum(-1)
    if tries is not None:
        tries.take(branches, cell, symbol)
    return {
        "keep": ~unlikely & ~conflict.view(-1, 1, 1),
        "branch_cell": torch.where(branches, cell, counts.shape[1]),
        "branch_symbol": symbol,
    }
