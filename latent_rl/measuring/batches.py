"""The one way through the test puzzles: batch by batch, on the reasoner's device, its passes booked as evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from torch import Tensor

from latent_rl.agents import RecursiveReasoner, Team
from latent_rl.envs import Instances
from latent_rl.measuring.ledger import Ledger

Rows = TypeVar("Rows", Instances, Tensor)


def batches(
    rows: Rows,
    batch_size: int,
    reasoner: RecursiveReasoner,
    ledger: Ledger,
    on_progress: Callable[[int], object] | None = None,
) -> Iterator[Rows]:
    """The rows in order, `batch_size` at a time, on the reasoner's device.

    Args:
        rows: instances, or a tensor whose first dimension counts rows.
        batch_size: rows in work at the same time; the last batch may be smaller.
        reasoner: works on the batches.
        ledger: books under `eval` what the reasoner's network does until the last batch is done.
        on_progress: called after each batch with its number of rows.
    """
    device = reasoner.initial_y.device
    with ledger.phase("eval"):
        for first in range(0, len(rows), batch_size):
            batch = rows[first : first + batch_size].to(device)
            yield batch
            if on_progress is not None:
                on_progress(len(batch))


def share_of(instances: Instances, team: Team) -> Instances:
    """This process's part of instances, in their order; the parts of all differ by one at most."""
    first, last = (len(instances) * rank // team.world_size for rank in (team.rank, team.rank + 1))
    return instances[first:last] if team.world_size > 1 else instances
