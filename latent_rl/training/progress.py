"""What a person sees while a run is training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType

import rich.progress
from rich.console import Console
from torch import Tensor

from latent_rl.storage import Evaluation, Spent


class Progress:
    """Reports on a training run; a context manager.

    Args:
        quiet: say nothing: another process of the team does.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self._bar = rich.progress.Progress(
            rich.progress.BarColumn(),
            rich.progress.TaskProgressColumn(),
            rich.progress.TextColumn("{task.description}"),
            rich.progress.TimeRemainingColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=1.0)
        self._exact = ""

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, updates: int, seconds: float, share: float, metrics: dict[str, Tensor]) -> None:
        """Report an update; the bar runs along `share`, whichever part of the budget ends first."""
        if self._bar.disable:
            return
        if updates % 10 == 0:
            text = f"{updates} updates, {seconds:.0f} s, loss {float(metrics['loss']):.3f}"
            self._bar.update(self._task, description=text + self._exact)
        self._bar.update(self._task, completed=min(1.0, share))

    def evaluated(self, spent: Spent, found: Evaluation, split: str) -> None:
        """Report an evaluation on a split."""
        self._exact = f", exact {found.exact_accuracy:.1%}"
        self.say(
            f"{spent.updates:>7} updates {spent.seconds:7.1f} s  {split:10}  exact {found.exact_accuracy:6.1%}  "
            f"solved {found.solved_rate:6.1%}  cells {found.cell_accuracy:6.1%}  "
            f"({found.passes_per_puzzle:g} passes a puzzle)"
        )

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, highlight=False, soft_wrap=True, markup=False)
