"""Embeddings of single puzzles: a large table of which an update touches few rows, and the rule that learns them.

In ARC every task has an embedding for each of its augmentations, a million rows in all. They are no parameters of the
network: gradients, averages and optimizer state of the size of the table would cost more than everything else. What
exists is the table itself; a row is 0 until it is first learned from, and checkpoints hold the other rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latent_rl.agents.team import Team

TABLE = "embed_puzzle.weight"
"""The table's name in the state dict of a reasoner."""

_COUNT, _IDS, _ROWS = (f"embed_puzzle.{name}" for name in ("count", "learned_ids", "learned_rows"))


class RowGradient(NamedTuple):
    """The gradient of some rows: `ids` int64 `[K]`, all different, and `gradient` float32 `[K, width]`."""

    ids: Tensor
    gradient: Tensor


class PuzzleEmbedding(nn.Module):
    """A table of puzzle embeddings, all 0 at first, for `SignSGD`.

    A copy of a module that holds it (an average, for instance) looks rows up in the same table: there is but one.

    Args:
        rows: puzzles.
        width: of an embedding.
    """

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(rows, width))
        self.register_buffer("learned", torch.zeros(rows, dtype=torch.bool), persistent=False)
        self._gradients: list[RowGradient] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> PuzzleEmbedding:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_gradients": []}

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of `ids` int64 `[B]`, `[B, width]`; a backward pass through them is kept for `take_gradient`."""
        rows = self.weight[ids]
        if torch.is_grad_enabled():
            rows.requires_grad_()
            rows.register_hook(lambda gradient: self._gradients.append(RowGradient(ids, gradient)))
        return rows

    def take_gradient(self) -> RowGradient | None:
        """The gradients of all backward passes since the last call, added up for every row; None if there were none."""
        if not self._gradients:
            return None
        every_id, gradients = (torch.cat(parts) for parts in zip(*self._gradients, strict=True))
        self._gradients.clear()
        ids, place = every_id.unique(return_inverse=True)
        summed = gradients.new_zeros(len(ids), gradients.shape[1]).index_add_(0, place, gradients)
        return RowGradient(ids, summed)

    def share_gradients(self, team: Team) -> None:
        """Put the gradients of a whole team in place of one's own, as means over it; every process has them alike."""
        if team.world_size == 1:
            return
        self._gradients = [RowGradient(*map(team.gather, one)) for one in self._gradients]
        if (found := self.take_gradient()) is not None:
            # Sums on a CUDA device are rounded in any order, and what the update sees of them is their sign.
            self._gradients = [RowGradient(found.ids, team.of_first(found.gradient / team.world_size))]

    def drop_gradients(self) -> None:
        """Forget the gradients of all backward passes so far."""
        self._gradients.clear()

    @torch.no_grad()
    def put(self, ids: Tensor, rows: Tensor) -> None:
        """Set rows `ids` int64 `[K]` to `rows` float32 `[K, width]`; from now on they count as learned."""
        self.weight[ids] = rows
        self.learned[ids] = True

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        given = state_dict.get(f"{prefix}weight")
        # A whole table was loaded, an official one for instance, and not the module's own put in for completeness.
        if given is not None and given.data_ptr() != self.weight.data_ptr():
            self.learned.copy_(self.weight.any(-1))


class SignSGD(torch.optim.Optimizer):
    """Sign descent with decoupled weight decay on the rows of a batch: the official TRM code's puzzle embeddings.

    A row `p` with gradient `g`, summed over the batch, becomes `p (1 - lr * weight_decay) - lr * sign(g)`; rows that
    no puzzle of the batch looked up stay as they are. There is no optimizer state: where gradients are as sparse as
    here, Adam would hardly differ from their sign.

    Args:
        embedding: the table.
        lr: learning rate.
        weight_decay: decay, multiplied by the learning rate.
    """

    def __init__(self, embedding: PuzzleEmbedding, *, lr: float, weight_decay: float) -> None:
        super().__init__([embedding.weight], {"lr": lr, "weight_decay": weight_decay})
        self._embedding = embedding

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update the rows that were looked up since the last step."""
        found = self._embedding.take_gradient()
        if found is None:
            return
        group = self.param_groups[0]
        rows = self._embedding.weight[found.ids] * (1.0 - group["lr"] * group["weight_decay"])
        self._embedding.put(found.ids, rows.sub_(found.gradient.sign(), alpha=group["lr"]))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients that no step has used."""
        self._embedding.drop_gradients()


def compact_state(reasoner: nn.Module) -> dict[str, Tensor]:
    """A reasoner's state dict that holds of its puzzle embeddings only the rows that were learned."""
    state = dict(reasoner.state_dict())
    if (embedding := reasoner.embed_puzzle) is not None:
        ids = embedding.learned.nonzero().squeeze(1)
        del state[TABLE]
        state |= {_COUNT: torch.tensor(len(embedding.weight)), _IDS: ids, _ROWS: embedding.weight[ids]}
    return state


def load_compact_state(reasoner: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what `compact_state` returned, or a state dict with the whole table.

    Raises:
        RuntimeError: if it is the state of another network or of another table.
    """
    embedding = reasoner.embed_puzzle
    if embedding is None or _IDS not in state:
        reasoner.load_state_dict(state)
        return
    expected, found = tuple(embedding.weight.shape), state_shapes(state)[TABLE]
    if found != expected:
        raise RuntimeError(f"the puzzle embeddings are of shape {found} there and {expected} here")
    others = {name: tensor for name, tensor in state.items() if name not in (_COUNT, _IDS, _ROWS)}
    reasoner.load_state_dict({**others, TABLE: embedding.weight})
    # Row by row: writing zeros over a whole table would claim the memory that its untouched rows do not take.
    embedding.weight[embedding.learned] = 0.0
    embedding.learned.zero_()
    device = embedding.weight.device
    embedding.put(state[_IDS].to(device), state[_ROWS].to(device))


def state_shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a reasoner's state dict; the whole table's for what `compact_state` returned."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if name not in (_COUNT, _IDS, _ROWS)}
    return shapes | {TABLE: (int(state[_COUNT]), state[_ROWS].shape[1])} if _COUNT in state else shapes
