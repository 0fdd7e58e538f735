"""A reasoner over candidates that is asked about a state of a puzzle only once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from latent_rl.agents.network import CandidateReasoner, DeductionOutput

MOST_BYTES = 2**29
"""Of what is kept for the puzzles in work; a state that comes when it is full is read again whenever it returns."""


class MemoizedReasoner:
    """Takes the deduction steps of a reasoner, and spends no pass on states in which a puzzle has been before.

    A step is a function of the puzzle and its candidates alone: no latent outlives it. A puzzle that begins anew goes
    through states of earlier tries until it branches otherwise than they did, at least through the first one. What was
    read there is kept until the puzzle leaves: of each state two float32 `[L, V]`, as long as there is room.

    Args:
        reasoner: takes the steps that are new; not to be trained meanwhile.
        rows: puzzles in work (B), at least one.

    Attributes:
        asked: bool `[B]`, on the CPU: for which rows the last step asked the reasoner, and spent its passes.
    """

    def __init__(self, reasoner: CandidateReasoner, rows: int) -> None:
        self.reasoner = reasoner
        self.asked = torch.zeros(rows, dtype=torch.bool)
        self._read: list[dict[bytes, DeductionOutput]] = [{} for _ in range(rows)]

    @torch.no_grad()
    def step(self, inputs: Tensor, puzzle_id: Tensor, candidates: Tensor) -> DeductionOutput:
        """As `CandidateReasoner.step`, of the rows still in work, but that it tells of the last update only (n = 1)."""
        states = [row.tobytes() for row in np.packbits(candidates.flatten(1).cpu().numpy(), axis=1)]
        read = [self._read[row].get(state) for row, state in enumerate(states)]
        new = [row for row, known in enumerate(read) if known is None]
        self.asked = torch.tensor([known is None for known in read])
        if new:
            rows = torch.tensor(new, device=inputs.device)
            output = self.reasoner.step(inputs[rows], puzzle_id[rows], candidates[rows])
            # On the CPU, at once: many small copies would keep an accelerator waiting.
            last = [part[:, -1:].cpu() for part in output]
            room = MOST_BYTES // (8 * candidates[0].numel()) - sum(map(len, self._read))
            for index, row in enumerate(new):
                # Copies: a view would keep the whole batch.
                read[row] = DeductionOutput(*(part[index].clone() for part in last))
                if index < room:
                    self._read[row][states[row]] = read[row]
        return DeductionOutput(*(torch.stack(parts).to(inputs.device) for parts in zip(*read, strict=True)))

    def of_rows(self, keep: Tensor) -> None:
        """Forget all rows but those that are kept, bool `[B]`."""
        self._read = [read for read, stays in zip(self._read, keep.tolist(), strict=True) if stays]
