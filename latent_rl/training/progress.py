"""What a person sees while a run is training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import rich.progress
from rich.console import Console
from torch import Tensor

if TYPE_CHECKING:
    from latent_rl.measuring import Evaluation
    from latent_rl.training.session import Session


class Progress:
    """Reports on a session; a context manager. The bar runs along whichever part of the budget ends first."""

    def __init__(self, session: Session, run_dir: Path) -> None:
        self.session = session
        self.run_dir = run_dir
        self.console = Console(stderr=True)
        self._bar = rich.progress.Progress(
            rich.progress.BarColumn(),
            rich.progress.TaskProgressColumn(),
            rich.progress.TextColumn("{task.description}"),
            rich.progress.TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=1.0)

    def __enter__(self) -> Progress:
        session = self.session
        parameters = sum(parameter.numel() for parameter in session.reasoner.parameters())
        self.say(
            f"{session.puzzle.name}: scheme {session.config.scheme}, {parameters:,} parameters on {session.device}, "
            f"run directory {self.run_dir}"
        )
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, metrics: dict[str, Tensor]) -> None:
        """Report an update."""
        if self._bar.disable:
            return
        session = self.session
        text = f"{session.updates} updates, {session.train_seconds:.0f} s"
        if session.updates % 10 == 0 and "loss_policy" in metrics:
            text += f", loss {float(metrics['loss_policy']):.3f}"
            if session.history:
                text += f", exact {session.history[-1].exact_accuracy:.1%}"
            self._bar.update(self._task, description=text)
        self._bar.update(self._task, completed=min(1.0, session.budget_share))

    def evaluated(self, found: Evaluation) -> None:
        """Report an evaluation."""
        session = self.session
        self.say(
            f"{session.updates:>7} updates {session.train_seconds:7.1f} s  exact {found.exact_accuracy:6.1%}  "
            f"solved {found.solved_rate:6.1%}  cells {found.cell_accuracy:6.1%}  "
            f"({found.passes_per_puzzle:g} passes a puzzle)"
        )

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, highlight=False, soft_wrap=True)
