"""What a run achieved and what it cost: `summary.json`, and the table at the end of training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.table import Table

from latent_rl.errors import UserError

if TYPE_CHECKING:
    from latent_rl.measuring import Evaluation
    from latent_rl.training import Session

SUMMARY_FILE = "summary.json"


class Summary(BaseModel):
    """The three honest numbers (docs/design.md, section 7) and what they belong to; accuracies are shares in [0, 1].

    Attributes:
        puzzle, scheme, seed, device: what was trained, how and where.
        parameters: trainable numbers of the network.
        updates: optimizer steps.
        puzzles_seen: training puzzles begun.
        train_seconds: time spent collecting and learning.
        eval_puzzles: test puzzles of the final evaluation.
        exact_accuracy, solved_rate, cell_accuracy: after the last recursion step.
        accuracy_by_step: exact accuracy after each recursion step.
        eval_passes_per_puzzle: network passes to answer one test puzzle.
        train_passes_total: all forward passes of training.
        train_passes_per_puzzle: the same, for one puzzle seen.
        baseline_passes_per_puzzle: passes of the schedule compared with.
        savings_vs_trm: baseline divided by `eval_passes_per_puzzle`; report it only beside the accuracy.
        pass_at: ARC's `pass@k`, by name; empty for other puzzles.
        checkpoint: path of the model file.
        mlflow_run_id: None if MLflow was off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    puzzle: str
    scheme: str
    seed: int
    device: str
    parameters: int
    updates: int
    puzzles_seen: int
    train_seconds: float
    eval_puzzles: int
    exact_accuracy: float
    solved_rate: float
    cell_accuracy: float
    accuracy_by_step: list[float]
    eval_passes_per_puzzle: float
    train_passes_total: int
    train_passes_per_puzzle: float
    baseline_passes_per_puzzle: int
    savings_vs_trm: float
    pass_at: dict[str, float] = {}
    checkpoint: str
    mlflow_run_id: str | None

    @classmethod
    def of(cls, session: Session, found: Evaluation, model_file: Path, mlflow_run_id: str | None) -> Summary:
        """The summary of a session whose final evaluation is `found`."""
        passes, puzzles = session.ledger.train_passes, session.puzzles_seen
        baseline = session.config.baseline_passes_per_puzzle
        return cls(
            puzzle=session.puzzle.name,
            scheme=session.config.scheme,
            seed=session.config.seed,
            device=str(session.device),
            parameters=sum(parameter.numel() for parameter in session.reasoner.parameters()),
            updates=session.updates,
            puzzles_seen=puzzles,
            train_seconds=session.train_seconds,
            eval_puzzles=found.puzzles,
            exact_accuracy=found.exact_accuracy,
            solved_rate=found.solved_rate,
            cell_accuracy=found.cell_accuracy,
            accuracy_by_step=found.accuracy_by_step,
            eval_passes_per_puzzle=found.passes_per_puzzle,
            train_passes_total=passes,
            train_passes_per_puzzle=passes / puzzles,
            baseline_passes_per_puzzle=baseline,
            savings_vs_trm=baseline / found.passes_per_puzzle,
            pass_at=session.election.pass_at if session.election is not None else {},
            checkpoint=str(model_file),
            mlflow_run_id=mlflow_run_id,
        )

    def as_dict(self) -> dict[str, Any]:
        """The content of `summary.json`."""
        return self.model_dump()

    def write(self, run_dir: Path) -> Path:
        """Write `summary.json` into a run directory; a reader never sees half of it."""
        path = run_dir / SUMMARY_FILE
        temporary = path.with_suffix(".json.new")
        try:
            temporary.write_text(self.model_dump_json(indent=2) + "\n")
            temporary.replace(path)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
        return path

    @classmethod
    def read(cls, run_dir: Path) -> Summary:
        """The summary of a finished run.

        Raises:
            UserError: if the run has none yet, or the file is not one of this version.
        """
        path = run_dir / SUMMARY_FILE
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise UserError(f"{run_dir} holds no {SUMMARY_FILE}: is this the directory of a finished run?") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
            raise UserError(f"{path} is no summary of this version of latent_rl: {where}{first['msg']}") from None

    def print(self, *, puzzle_text: str = "PUZZLE", tracking_uri: str | None = None) -> None:
        """Show the table, and what to do next, to a person.

        Args:
            puzzle_text: a puzzle for the command line that is proposed.
            tracking_uri: where MLflow keeps the run; None if it was off.
        """
        console = Console(highlight=False)
        console.print(table(self))
        # Not wrapped, so that commands can be copied.
        console.print("\n".join(next_steps(self, puzzle_text, tracking_uri)), soft_wrap=True, markup=False)


def table(summary: Summary) -> Table:
    """The summary as a table of two columns."""
    found = Table(title=f"{summary.puzzle}, scheme {summary.scheme}, seed {summary.seed}", show_header=False)
    found.add_column(style="bold", no_wrap=True)
    found.add_column(justify="right")
    found.add_row("exactly right", f"{summary.exact_accuracy:.1%} of {summary.eval_puzzles:,} unseen puzzles")
    found.add_row("solved by the puzzle's rule", f"{summary.solved_rate:.1%}")
    found.add_row("cells right", f"{summary.cell_accuracy:.1%}")
    if summary.pass_at:
        found.add_row("voted by views", ", ".join(f"{name} {share:.1%}" for name, share in summary.pass_at.items()))
    found.add_row("network passes a puzzle", f"{summary.eval_passes_per_puzzle:,.4g}")
    found.add_row("savings against TRM", savings(summary))
    found.add_row("training", f"{summary.train_seconds:,.1f} s on {summary.device}, {summary.updates:,} updates")
    found.add_row("puzzles seen", f"{summary.puzzles_seen:,}")
    found.add_row(
        "training passes", f"{summary.train_passes_total:,} ({summary.train_passes_per_puzzle:,.1f} a puzzle)"
    )
    found.add_row("parameters", f"{summary.parameters:,}")
    return found


def savings(summary: Summary) -> str:
    """The savings together with the accuracy that they came with: one means nothing without the other."""
    return (
        f"{summary.savings_vs_trm:.1f}x fewer than {summary.baseline_passes_per_puzzle:,}, "
        f"at {summary.exact_accuracy:.1%} exact"
    )


def next_steps(summary: Summary, puzzle_text: str = "PUZZLE", tracking_uri: str | None = None) -> list[str]:
    """Lines that say where the model is and which commands come next."""
    lines = [
        f"checkpoint    {summary.checkpoint}",
        f"solve one     python -m latent_rl.solve {summary.checkpoint} {puzzle_text}",
    ]
    if tracking_uri is None:
        return lines
    if tracking_uri.startswith(("http://", "https://")):
        return [*lines, f"charts        {tracking_uri}"]
    store = "" if tracking_uri == "sqlite:///mlflow.db" else f" --backend-store-uri {tracking_uri}"
    return [*lines, f"charts        mlflow ui{store}    then open http://127.0.0.1:5000"]
