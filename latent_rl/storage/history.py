"""The evaluations of a run in the order of training: `history.json`, the curve behind the summary's last point."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from latent_rl.errors import UserError

HISTORY_FILE = "history.json"


@dataclass(frozen=True)
class Milestone:
    """One evaluation during training: where training stood, and what was measured. Accuracies are shares in [0, 1].

    Attributes:
        updates: optimizer steps so far.
        train_seconds: time spent collecting and learning so far.
        train_passes: all forward passes of training so far.
        exact_accuracy, solved_rate, cell_accuracy: after the last recursion step.
        accuracy_by_step: exact accuracy after each recursion step.
        solved_by_step: solved rate after each recursion step.
        passes_by_step: network passes spent on a puzzle up to and with each step; fewer for later steps where puzzles
            stop early. Empty if unknown.
        puzzles: test puzzles measured; 0 if unknown.
        seconds: wall-clock time of the evaluation itself; 0 if unknown.
    """

    updates: int
    train_seconds: float
    train_passes: int
    exact_accuracy: float
    solved_rate: float
    cell_accuracy: float
    accuracy_by_step: list[float]
    solved_by_step: list[float] = field(default_factory=list)
    passes_by_step: list[float] = field(default_factory=list)
    puzzles: int = 0
    seconds: float = 0.0


def write_history(run_dir: Path, history: Sequence[Milestone]) -> Path:
    """Write `history.json`, a list of milestones, into a run directory."""
    path = run_dir / HISTORY_FILE
    try:
        path.write_text(json.dumps([asdict(milestone) for milestone in history], indent=1) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    return path


def read_history(run_dir: Path) -> list[Milestone]:
    """The evaluations of a finished run.

    Raises:
        UserError: if the file is missing or is not one of this version.
    """
    path = run_dir / HISTORY_FILE
    try:
        return [Milestone(**entry) for entry in json.loads(path.read_text())]
    except FileNotFoundError:
        raise UserError(f"{run_dir} holds no {HISTORY_FILE}: is this the directory of a finished run?") from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is no history of this version of latent_rl: {error}") from None
