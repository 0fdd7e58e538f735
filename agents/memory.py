"""The best answer found so far to each puzzle: what a search finds once is not lost with the step that found it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from latent_rl.agents.mixing import mix_rows


class AnswerMemory:
    """Keeps answers by what they answer: the inputs of a puzzle, so that an augmented puzzle is one of its own.

    A hash table of fixed size, in which the last puzzle to come to a place has it. Nothing but the rule says which of
    two answers is the better: no answer key is read, and no network pass is spent.

    Args:
        places: of the table, at least 1. Twice as many as there are puzzles to remember keep most of them.
        cells: of a puzzle (L).
        device: where the table is kept.
    """

    def __init__(self, places: int, cells: int, device: torch.device | str = "cpu") -> None:
        if places < 1:
            raise ValueError(f"places must be at least 1, got {places}")
        tokens = torch.zeros(places, cells, dtype=torch.int16, device=device)
        # Padding, 0, is in no answer: a place that nobody has taken holds inputs that no puzzle has.
        self._table = TensorDict(
            {"inputs": tokens - 1, "answer": tokens.clone(), "worth": torch.zeros(places, device=device)}, [places]
        )

    def recall(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The best answers known to inputs int64 `[B, L]`.

        Returns:
            int64 `[B, L]`, and what they are worth, float32 `[B]`, minus infinity where none is known.
        """
        found = self._table[self._place(inputs)]
        known = (found["inputs"] == inputs).all(-1)
        return found["answer"].long(), found["worth"].masked_fill(~known, -torch.inf)

    def remember(self, inputs: Tensor, answers: Tensor, worth: Tensor) -> None:
        """Keep answers int64 `[B, L]` to inputs of the same shape, each worth float32 `[B]`, unless better ones are."""
        place = self._place(inputs)
        # The last of those that want one place gets it: sorted, that is the best.
        order = worth.argsort(stable=True)
        order = order[place[order].argsort(stable=True)]
        wanted = place[order]
        last = torch.ones_like(wanted, dtype=torch.bool)
        last[:-1] = wanted[1:] != wanted[:-1]
        rows = order[last]
        rows = rows[worth[rows] > self.recall(inputs[rows])[1]]
        tokens = torch.int16
        kept = {"inputs": inputs[rows].to(tokens), "answer": answers[rows].to(tokens), "worth": worth[rows]}
        self._table[place[rows]] = TensorDict(kept, [len(rows)])

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered."""
        return {name: value.clone() for name, value in self._table.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: it is of another size.
        """
        for name, value in self._table.items():
            if state[name].shape != value.shape:
                raise ValueError(f"{name} of the memory has shape {list(state[name].shape)}, not {list(value.shape)}")
            value.copy_(state[name])

    def _place(self, inputs: Tensor) -> Tensor:
        return mix_rows(inputs) % len(self._table)
