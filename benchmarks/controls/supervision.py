"""What the DIS paper (arXiv 2511.16886) suggests beside its main recipe: an anchor and a solver's edits as targets.

Not part of the package: docs/experiments.md says what they were worth. The schemes beside this file name them, so

    PYTHONPATH=benchmarks/controls python -m latent_rl.compare --config sudoku-6x6 --schemes dis benchmarks/controls/dis-anchor.yaml
"""  # noqa: E501

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from latent_rl.agents import RecursionLoss, RecursiveReasoner, TargetGenerator
from latent_rl.agents.losses.policy_improvement import cell_cross_entropy
from latent_rl.agents.targets import IGNORE, Targets, make_targets

BLANK, QUEEN = 1, 2
BOXES = {16: (2, 2), 36: (2, 3), 81: (3, 3)}


class AnchorLoss(RecursionLoss):
    """The second half of the dual loss (eq. 9): the answer read before step `s`, toward the target of step `s - 1`.

    Latents carry no gradient from one step to the next, so it moves the readout alone. First steps have no reference.

    Args:
        reasoner: reads the answer.

    Keyword Args:
        max_steps: steps of an episode (S).
        targets: as of `PolicyImprovementLoss`.
    """

    in_keys = ["y", "step", "inputs", "solution", "episode_seed"]
    out_keys = ["loss_anchor"]

    def __init__(self, reasoner: RecursiveReasoner, *, max_steps: int, targets: Targets = "diffusion") -> None:
        super().__init__()
        self.reasoner = reasoner
        self.targets = make_targets(targets, max_steps=max_steps)

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The loss, a scalar, of a batch `[B]`."""
        later = tensordict.select(*self.in_keys)[tensordict["step"] > 0]
        if not len(later):
            return TensorDict({"loss_anchor": tensordict["y"].sum() * 0}, batch_size=[])
        targets = self.targets(later.copy().set("step", later["step"] - 1))
        per_cell = cell_cross_entropy(self.reasoner.decode(later["y"]), targets)
        per_row = per_cell.sum(-1) / (targets != IGNORE).sum(-1).clamp(min=1)
        return TensorDict({"loss_anchor": per_row.sum() / len(tensordict)}, batch_size=[])


class EditTargets(TargetGenerator):
    """A solver's edits ("programmable edits"): step `s` of `S` reveals the share `s / S` of the answer, easiest first.

    Sudoku: in the order in which cells come to have a single candidate, round by round; what this rule never finds
    comes last. N queens: the rows with the fewest free squares first. Ties by place.
    """

    in_keys = ("inputs", "solution", "step")

    def __call__(self, tensordict: TensorDictBase) -> Tensor:
        """Inputs with the share of the solution that is revealed by now, int64 `[B, L]`."""
        inputs, solution = tensordict["inputs"], tensordict["solution"]
        differs = inputs != solution
        hardness = sudoku_rounds(inputs) if inputs.shape[-1] in BOXES else queen_freedom(inputs)
        rank = hardness.masked_fill(~differs, 10**6).argsort(dim=-1, stable=True).argsort(dim=-1)
        revealed = ((tensordict["step"] + 1) * differs.sum(-1)).div(self.max_steps, rounding_mode="floor")
        return torch.where(differs & (rank >= revealed.unsqueeze(-1)), inputs, solution)


def sudoku_rounds(inputs: Tensor) -> Tensor:
    """The round in which a cell comes to have one candidate, int64 `[B, L]`; 99 if never. Givens: 0."""
    rows, columns = BOXES[inputs.shape[-1]]
    size = rows * columns
    board = (inputs - BLANK).view(-1, size, size)
    found = torch.where(board > 0, 0, 99)
    for number in range(1, 20):
        one_hot = torch.nn.functional.one_hot(board, size + 1)[..., 1:].bool()
        boxes = one_hot.view(-1, size // rows, rows, size // columns, columns, size).any(4, keepdim=True)
        boxes = boxes.any(2, keepdim=True).expand(-1, -1, rows, -1, columns, -1).reshape(one_hot.shape)
        taken = one_hot.any(1, keepdim=True) | one_hot.any(2, keepdim=True) | boxes
        single = (board == 0) & ((~taken).sum(-1) == 1)
        if not single.any():
            break
        board = torch.where(single, (~taken).int().argmax(-1) + 1, board)
        found = torch.where(single, number, found)
    return found.flatten(1)


def queen_freedom(inputs: Tensor) -> Tensor:
    """Squares that the given queens leave free in a cell's row, int64 `[B, L]`."""
    size = int(inputs.shape[-1] ** 0.5)
    queens = inputs == QUEEN
    cells = torch.arange(size * size, device=inputs.device)
    row, column = cells // size, cells % size
    lines = (row, column, row + column, row - column)
    attacks = torch.stack([line.unsqueeze(0) == line.unsqueeze(1) for line in lines]).any(0)
    free = ~(queens.unsqueeze(-1) & attacks).any(1)
    return free.view(-1, size, size).sum(-1, keepdim=True).expand(-1, -1, size).reshape(inputs.shape)
