"""Which puzzle a new episode gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from latent_rl.envs.puzzle import Instances, Puzzle, PuzzleError, Split, instances_of

AHEAD = 32
"""Calls of `draw_rows` that the random order is laid out for at least: laying out waits for the device."""


class Sampler:
    """Draws the instances of a split in random order, each once an epoch, and the seeds of their episodes.

    Instances of the train split pass through `puzzle.augment` on every draw. All randomness comes from one generator
    on `device`, so that `state_dict` captures what is needed to go on bit for bit.

    Args:
        puzzle: where the instances come from.
        split: `"train"`, `"validation"` or `"test"`.
        device: where instances are kept, and drawn to.

    Raises:
        PuzzleError: if the split is unknown or empty, or its data are missing or malformed.
    """

    def __init__(self, puzzle: Puzzle, split: Split, device: torch.device) -> None:
        self._puzzle = puzzle
        self._instances = instances_of(puzzle, split).to(device)
        if len(self._instances) == 0:
            raise PuzzleError(f"{puzzle.name}: the {split} split holds no instances")
        self._split = split
        self._device = device
        self._generator = torch.Generator(device)
        self._order = torch.empty(0, dtype=torch.int64, device=device)
        self._length = 0  # of the order; there may be room behind it
        self._position: int | Tensor = 0  # on the device once rows were drawn by a mask
        self._furthest = 0
        self._stays_in_place = False

    def __len__(self) -> int:
        return len(self._instances)

    @property
    def generator(self) -> torch.Generator:
        """Where all draws come from, for who records them."""
        return self._generator

    def seed(self, seed: int) -> None:
        """Start over from a seed."""
        self._generator.manual_seed(seed)
        self._length = self._position = self._furthest = 0
        self._stays_in_place = False

    def draw(self, count: int) -> tuple[Instances, Tensor]:
        """The next `count` instances of the random order, and an episode seed (int64 `[count]`) for each."""
        instances = self._instances[self._next_indices(count)]
        if self._split == "train":
            instances = self._puzzle.augment(instances, self._generator)
        return instances, self._episode_seeds(count)

    def draw_rows(self, mask: Tensor) -> tuple[Instances, Tensor]:
        """An instance and an episode seed for every row; those in `mask`, bool `[B]`, are the next of the random order.

        What the other rows get means nothing. How many they are is not asked, but where the order may be at its end.
        """
        rows = mask.shape[0]
        if not self._stays_in_place:
            self._look_ahead(rows)
        instances = self._instances[self._order[self._position + (mask.cumsum(0) - 1).clamp(min=0)]]
        if self._stays_in_place:
            self._position.add_(mask.sum())
        else:
            self._position = self._position + mask.sum()
        if self._split == "train":
            instances = self._puzzle.augment(instances, self._generator)
        return instances, self._episode_seeds(rows)

    def lay_ahead(self, rows: int) -> None:
        """See to what the next `draw_rows` will need for so many rows, so that it is the same program every time.

        After the first call, every `draw_rows` must be preceded by one; the order, and the position in it, then stay
        in the tensors that they are in, where a recorded program finds them.
        """
        if not self._stays_in_place:
            begun = int(self._position)
            order = self._order[begun : self._length]
            # As much as `_lay_out` can come to: what is left, and whole epochs until there is enough.
            self._order = order.new_zeros(max(len(order), (AHEAD + 1) * rows + len(self)))
            self._order[: len(order)] = order
            self._length, self._furthest = len(order), self._furthest - begun
            self._position = torch.zeros((), dtype=torch.int64, device=self._device)
            self._stays_in_place = True
        self._look_ahead(rows)

    def pick(self, indices: int | Sequence[int] | Tensor, count: int) -> tuple[Instances, Tensor]:
        """The `count` instances with the given indices, as they are, and an episode seed for each.

        The random order is left alone.

        Raises:
            ValueError: on a wrong number of indices or one that is out of range.
        """
        index = torch.as_tensor(indices, dtype=torch.int64, device=self._device).reshape(-1)
        if index.shape[0] != count:
            raise ValueError(f"options['index'] holds {index.shape[0]} indices for {count} episodes")
        outside = index[(index < 0) | (index >= len(self))]
        if outside.shape[0]:
            raise ValueError(
                f"options['index'] holds {int(outside[0])}, but the {self._split} split of {self._puzzle.name} "
                f"has instances 0 to {len(self) - 1}"
            )
        return self._instances[index], self._episode_seeds(count)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the next draws; the instances themselves are not in it."""
        return {
            "generator": self._generator.get_state(),
            "device": self._device.type,
            "order": self._order[: self._length],
            "position": int(self._position),
            "furthest": self._furthest,
            "instances": len(self),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken: with the same draws, on the same kind of device.

        Generators of other kinds have states of other kinds. There the order goes on where it was, and what is drawn
        afterwards is as random, but not what would have been drawn.

        Raises:
            ValueError: if the state belongs to another set of instances.
        """
        if state["instances"] != len(self):
            raise ValueError(
                f"the saved sampler drew from {state['instances']} instances, "
                f"the {self._split} split of {self._puzzle.name} has {len(self)}"
            )
        if state["device"] == self._device.type:
            self._generator.set_state(state["generator"].cpu())
        else:
            self._generator.manual_seed(self._generator.initial_seed() + int(state["position"]) + 1)
        self._order = state["order"].to(self._device)
        self._length = len(self._order)
        self._position = state["position"]
        self._furthest = state.get("furthest", self._position)
        self._stays_in_place = False

    def _look_ahead(self, rows: int) -> None:
        if self._furthest + rows > self._length:
            self._lay_out(AHEAD * rows)
        self._furthest += rows

    def _lay_out(self, count: int) -> None:
        """See that the random order holds `count` indices that were not drawn yet. Waits for the device."""
        parts = [self._order[int(self._position) : self._length]]
        while sum(map(len, parts)) < count:
            parts.append(torch.randperm(len(self), generator=self._generator, device=self._device))
        order = torch.cat(parts)
        if self._stays_in_place:
            self._order[: len(order)] = order
            self._position.zero_()
        else:
            self._order, self._position = order, 0
        self._length, self._furthest = len(order), 0

    def _episode_seeds(self, count: int) -> Tensor:
        return torch.randint(2**62, (count,), generator=self._generator, device=self._device)

    def _next_indices(self, count: int) -> Tensor:
        """Indices int64 `[count]`; one loop iteration an epoch, not an index."""
        parts = []
        self._position = int(self._position)
        self._stays_in_place = False
        while count > 0:
            if self._position == self._length:
                self._order = torch.randperm(len(self), generator=self._generator, device=self._device)
                self._length, self._position = len(self), 0
            part = self._order[self._position : min(self._position + count, self._length)]
            self._position += part.shape[0]
            count -= part.shape[0]
            parts.append(part)
        self._furthest = self._position
        return parts[0] if len(parts) == 1 else torch.cat(parts)
