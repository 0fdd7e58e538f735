"""Distances and shortest paths on batches of grids, in torch, on any device; moves go up, down, left and right."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_STEPS_BETWEEN_CHECKS = 8  # asking whether the flood has ended makes the host wait for the device


def neighbours(cells: Tensor) -> Tensor:
    """The four neighbours' values (up, down, left, right; 0 outside) of `[B, R, C]`: `[4, B, R, C]`."""
    padded = F.pad(cells, (1, 1, 1, 1))
    return torch.stack((padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]))


def distances(free: Tensor, source: Tensor) -> Tensor:
    """Moves from the nearest source to every cell through free cells.

    Args:
        free: bool `[B, R, C]`, the cells that can be entered, the sources among them.
        source: bool `[B, R, C]`.

    Returns:
        int64 `[B, R, C]`, -1 for cells that cannot be reached.
    """
    # Shifted views of one padded buffer, grown in place: several times as fast as new tensors at every step.
    buffer = F.pad(source & free, (1, 1, 1, 1))
    reached = buffer[:, 1:-1, 1:-1]
    steps = (~reached).int()
    for step in range(1, free.shape[1] * free.shape[2]):
        grown = buffer[:, :-2, 1:-1] | buffer[:, 2:, 1:-1]
        grown |= buffer[:, 1:-1, :-2]
        grown |= buffer[:, 1:-1, 2:]
        grown &= free
        grown |= reached
        if step % _STEPS_BETWEEN_CHECKS == 0 and torch.equal(grown, reached):
            break
        reached.copy_(grown)
        steps += ~grown
    return torch.where(reached, steps, -1).long()


def only_one_way(steps: Tensor) -> Tensor:
    """Whether a single shortest path leads from the sources to a cell, bool `[B, R, C]`; False for unreachable cells.

    Args:
        steps: int64 `[B, R, C]`, from `distances`.
    """
    ways = (steps == 0).to(torch.uint8)
    for step in range(1, int(steps.max()) + 1):
        # Two ways or twenty: no more than "several" needs to be known, so no count overflows.
        arriving = neighbours(torch.where(steps == step - 1, ways, 0)).sum(0, dtype=torch.uint8).clamp(max=2)
        ways = torch.where(steps == step, arriving, ways)
    return ways == 1


def shortest_paths(steps: Tensor, goal: Tensor) -> Tensor:
    """The cells strictly between source and goal on a shortest path; of several, always the same one.

    Args:
        steps: int64 `[B, R, C]`, from `distances`.
        goal: int64 `[B]`, index of a reachable cell in reading order.

    Returns:
        bool `[B, R, C]`. From the goal backwards, the path goes up where it can, else down, left, right.
    """
    count, rows, columns = steps.shape
    width = columns + 2
    # One rim of unreachable cells, so that every cell has four neighbours.
    padded = F.pad(steps, (1, 1, 1, 1), value=-1).view(count, -1)
    offsets = torch.tensor([-width, width, -1, 1], device=steps.device)
    cell = ((goal // columns + 1) * width + goal % columns + 1)[:, None]
    left = padded.gather(1, cell)
    path = torch.zeros_like(padded, dtype=torch.bool)
    for _ in range(int(left.max()) - 1):
        nearer = cell + offsets
        choice = (padded.gather(1, nearer) == left - 1).int().argmax(1, keepdim=True)
        going_on = left > 1
        cell = torch.where(going_on, nearer.gather(1, choice), cell)
        left = torch.where(going_on, left - 1, left)
        path.scatter_(1, cell, path.gather(1, cell) | going_on)
    return path.view(count, rows + 2, width)[:, 1:-1, 1:-1]
