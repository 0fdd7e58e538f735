"""Several processes that learn together as one: each holds an equal share of the rows, all hold the same weights.

What one process would compute of all rows, a team computes too: rows stand in the order of the ranks, what is learned
from are sums and means of all rows, and random numbers are drawn as for all of them. A team of one does nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from tensordict import TensorDictBase
from torch import Tensor


class Team:
    """This process among `world_size` of them; everything but `part` is called by all of them alike, and waits for all.

    Args:
        rank: of this process.
        world_size: processes; above 1, torch's process group must be there.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank, self.world_size = rank, world_size

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, logs and shows."""
        return self.rank == 0

    def part(self, rows: Any) -> Any:
        """This process's share, an equal one, of rows `[B, ...]` of all: a tensor or tensordict."""
        count = len(rows) // self.world_size
        return rows if self.world_size == 1 else rows[self.rank * count : (self.rank + 1) * count]

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all, `[world_size * B, ...]`, of equally many `[B, ...]` of each."""
        if self.world_size == 1:
            return rows
        own = (rows.to(torch.uint8) if rows.dtype == torch.bool else rows).contiguous()
        found = [torch.empty_like(own) for _ in range(self.world_size)]
        dist.all_gather(found, own)
        return torch.cat(found).to(rows.dtype)

    def gather_steps(self, batch: TensorDictBase) -> TensorDictBase:
        """The collected steps of all, `[world_size * B, ...]`, of equally many `[B, ...]` of each."""
        if self.world_size == 1:
            return batch
        return batch.apply(self.gather, batch_size=[len(batch) * self.world_size, *batch.shape[1:]])

    def gather_uneven(self, value: Any) -> list[Any]:
        """What each has, in the order of the ranks: anything small on the CPU, none of which need be like another."""
        if self.world_size == 1:
            return [value]
        found: list[Any] = [None] * self.world_size
        dist.all_gather_object(found, value)
        return found

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all, of the shape and dtype of `value`; no gradient flows through it."""
        if self.world_size == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    def average(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The mean of scalars by their names, each over those processes that have it."""
        if self.world_size == 1:
            return dict(values)
        parts = self.gather_uneven({name: float(value) for name, value in values.items()})
        names = dict.fromkeys(name for part in parts for name in part)
        found = {name: [part[name] for part in parts if name in part] for name in names}
        return {name: sum(numbers) / len(numbers) for name, numbers in found.items()}

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace the gradients of parameters by their mean over all: one message."""
        learned = [parameter for parameter in parameters if parameter.grad is not None]
        if self.world_size == 1 or not learned:
            return
        flat = torch.cat([parameter.grad.flatten() for parameter in learned])
        dist.all_reduce(flat)
        flat /= self.world_size
        sizes = [parameter.numel() for parameter in learned]
        for parameter, gradient in zip(learned, flat.split(sizes), strict=True):
            parameter.grad.copy_(gradient.view_as(parameter))

    def of_first(self, value: Any = None) -> Any:
        """What the first process gives here, for all: a tensor on the device of its own, or anything small."""
        if self.world_size == 1:
            return value
        if isinstance(value, Tensor):
            dist.broadcast(value, 0)
            return value
        box = [value]
        dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
        return box[0]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Inside the block this is the team of `current_team`: what collects and learns there does so for all rows."""
        global _current
        before, _current = _current, self
        try:
            yield
        finally:
            _current = before


ALONE = Team()
"""The team of one process."""

_current = ALONE


def current_team() -> Team:
    """The team at work; one process alone, unless a training of several is just collecting or learning."""
    return _current


def shared_count(count: Tensor) -> Tensor:
    """What a sum over this process's rows is divided by for a mean over all: a count, at least 1.

    Gradients are averaged over the team, so a sum of one's own rows is divided by the mean count of all processes.
    Alone that is `count.clamp(min=1)`. For losses that average over cells or rows of which processes have not as many.

    Args:
        count: what this process has of them, an integer scalar.
    """
    if _current.world_size == 1:
        return count.clamp(min=1)
    return _current.sum(count).clamp(min=1) / _current.world_size


def draw_rows(draw: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """`draw(rows)`, random numbers for rows `[B, ...]`, such that every row gets what it would get from one process.

    All processes have generators in the same state. Each draws for the rows of all, its own standing in for those of
    the others, and keeps its share.

    Args:
        draw: from rows `[N, ...]` to random values `[N, ...]`; how many numbers it takes depends on the shape alone.
        rows: what the draws depend on, such as probabilities.
    """
    size = _current.world_size
    return draw(rows) if size == 1 else _current.part(draw(rows.repeat(size, *[1] * (rows.ndim - 1))))
