"""Keeping pace in the training loop: what time and budget are spent, when something is due, when to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any

import torch

from latent_rl.storage import Spent


def wait_for(device: torch.device) -> None:
    """Wait until an accelerator has done what it was told so far."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Clock:
    """Counts the seconds spent inside its `with` blocks: training time.

    A CUDA device works on while the program prepares what follows, and is waited for now inside a block, now outside.
    So the device itself is asked how long a block took it, at the end of the next one: it never stands idle for that,
    and the clock is behind by one block. MPS is waited for at the end of each block.

    Args:
        device: that does the work; None for the CPU.

    Attributes:
        seconds: so far.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.seconds = 0.0
        self._started = 0.0
        self._device = torch.device("cpu") if device is None else device
        self._asks_device = self._device.type == "cuda"
        self._marks: list[torch.cuda.Event] = []  # start and end of the block before, then the start of this one

    def __enter__(self) -> Clock:
        if self._asks_device:
            self._mark()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._asks_device:
            wait_for(self._device)
            self.seconds += time.perf_counter() - self._started
        elif kind is None:
            self._mark()
            *before, start, end = self._marks
            if before:
                before[1].synchronize()
                self.seconds += before[0].elapsed_time(before[1]) / 1e3
            self._marks = [start, end]

    def _mark(self) -> None:
        self._marks.append(torch.cuda.Event(enable_timing=True))
        self._marks[-1].record()

    def state_dict(self) -> dict[str, float]:
        """The seconds that count."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.seconds = state["seconds"]


class Every:
    """Says when the next multiple of an interval has been reached, also when a counter jumps over it."""

    def __init__(self, interval: float, start: float = 0.0) -> None:
        self.interval = interval
        self._last = start // interval

    def due(self, counter: float) -> bool:
        """Whether `counter` has passed a multiple of the interval since the last time."""
        current, last = counter // self.interval, self._last
        self._last = current
        return current > last


class Throughput:
    """How much is done in a second of training, from one reading to the next.

    Args:
        spent: what training had cost when it was begun, or gone on with.

    Attributes:
        steps: recursion steps since the last reading, which whoever takes them adds up.
    """

    def __init__(self, spent: Spent) -> None:
        self.steps = 0
        self._before = spent

    def read(self, spent: Spent) -> dict[str, float]:
        """Puzzles begun, recursion steps and network passes a second since the last reading, by `throughput/…`."""
        before, steps = self._before, self.steps
        self._before, self.steps = spent, 0
        seconds = max(spent.seconds - before.seconds, 1e-9)
        done = {"puzzles": spent.puzzles - before.puzzles, "steps": steps, "passes": spent.passes - before.passes}
        return {f"throughput/{name}_per_second": count / seconds for name, count in done.items()}


class Interruption:
    """Turns the first Ctrl-C, hang-up or termination signal into a request to stop after the update in work.

    An update is never cut in half, so what is saved then is what an undisturbed run would have had. A second signal
    ends the program at once. A signal that is ignored, as a hang-up under `nohup`, stays so.

    In a team it is enough that one process is told. A second signal does nothing there: `torchrun` passes each one on,
    also to a process that has it from the terminal already, and after half a minute ends who has not ended.

    Args:
        in_team: whether there are other processes.

    Attributes:
        told: whether a signal has come.
        agreed: whether the team has found that one of it was told.
    """

    SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self, in_team: bool = False) -> None:
        self.told = self.agreed = False
        self._in_team = in_team
        self._at_once = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        for number in self.SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @property
    def requested(self) -> bool:
        """Whether to stop after this update; in a team only once all of it know."""
        return self.agreed if self._in_team else self.told

    def stop_at_once(self) -> None:
        """From now on there is nothing to be lost: a signal, or one that has come already, is a `KeyboardInterrupt`."""
        self._at_once = True
        if self.told or self.agreed:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        if not self._in_team:
            self._restore()
        if self._at_once:
            for known in self._previous:
                signal.signal(known, signal.SIG_IGN)
            raise KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
