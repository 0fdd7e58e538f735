"""The ledger of network passes: counted where the network is called, never computed from a formula."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from latent_rl.agents import Team

Phase = Literal["collect", "update", "eval"]
PHASES: tuple[Phase, ...] = ("collect", "update", "eval")


class Ledger:
    """Counts evaluations of shared networks, one for every puzzle in a batch, by phase and direction.

    A forward pass is counted when the network returns, a backward pass when the gradient of that very output is
    computed; so a pass that ran without gradient, or whose graph was dropped, has no backward pass.

    Attributes:
        forward: network passes by phase.
        backward: backward passes by the phase in which they ran.
    """

    def __init__(self) -> None:
        self.forward: Counter[Phase] = Counter()
        self.backward: Counter[Phase] = Counter()
        self._phase: Phase | None = None
        self._shared: list[int] = []

    def watch(self, network: nn.Module) -> RemovableHandle:
        """Count the calls of a shared network from now on; its output is `[B, P + L, D]`."""
        return network.register_forward_hook(self._count)

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Book the passes inside the block under `phase`; phases may nest, the inner one counts."""
        outer, self._phase = self._phase, phase
        try:
            yield
        finally:
            self._phase = outer

    def book(self, phase: Phase, passes: int) -> None:
        """Book forward passes that another process has counted, with a ledger of its own."""
        self.forward[phase] += passes

    @property
    def train_passes(self) -> int:
        """All forward passes spent on training."""
        return self.forward["collect"] + self.forward["update"]

    @property
    def gradient_passes(self) -> int:
        """All backward passes: the forward passes of training through which a gradient came back."""
        return sum(self.backward.values())

    def share(self, team: Team, *more: float) -> list[float]:
        """Count what all of a team have counted since this was last called; every process has its sums from then on.

        Args:
            team: calls this together.
            more: numbers to be summed on the same way.

        Returns:
            The sums of `more`.
        """
        places = [(counter, phase) for counter in (self.forward, self.backward) for phase in PHASES]
        known = self._shared or [0] * len(places)
        own = [counter[phase] - before for (counter, phase), before in zip(places, known, strict=True)]
        sums = team.sum(torch.tensor([*own, *more], dtype=torch.float64)).tolist()
        self._shared = [before + int(found) for before, found in zip(known, sums, strict=False)]
        for (counter, phase), count in zip(places, self._shared, strict=True):
            if count:  # an entry of 0 is none
                counter[phase] = count
        return sums[len(places) :]

    def add(self, forward: Mapping[Phase, int], backward: Mapping[Phase, int]) -> None:
        """Count passes that a recorded program takes again, where no module is called."""
        self.forward.update(forward)
        self.backward.update(backward)

    def state_dict(self) -> dict[str, dict[str, int]]:
        """Passes by phase, forward and backward."""
        return {"forward": dict(self.forward), "backward": dict(self.backward)}

    def load_state_dict(self, state: dict[str, dict[str, int]]) -> None:
        """Go on from what `state_dict` gave."""
        self.forward = Counter(state["forward"])
        self.backward = Counter(state["backward"])
        self._shared = [counter[phase] for counter in (self.forward, self.backward) for phase in PHASES]

    def _count(self, network: nn.Module, arguments: tuple[object, ...], output: Tensor) -> None:
        if self._phase is None:
            raise RuntimeError("a network pass outside of every phase: wrap the call in `with ledger.phase(...)`")
        rows = output.shape[0]
        self.forward[self._phase] += rows
        if output.requires_grad:
            output.register_hook(lambda _: self._count_backward(rows))

    def _count_backward(self, rows: int) -> None:
        # A backward pass belongs to learning, wherever the graph was made.
        self.backward[self._phase or "update"] += rows
