"""The records of a run: an evaluation, a milestone of training, and the summary at its end. Each is a value.

`history.json` holds the milestones in the order of training, `summary.json` the last of them with what it all cost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from latent_rl.errors import UserError
from latent_rl.storage.files import write_text

HISTORY_FILE = "history.json"
SUMMARY_FILE = "summary.json"
"""The result, in a run directory."""
PENDING_FILE = ".pending"
"""Lies beside a summary until all that belongs to the result is written."""


@dataclass(frozen=True)
class EarlyStop:
    """What an evaluation would have come to, had each puzzle been left once the q head believed in its answer.

    Attributes:
        threshold: of the probability "it is right" above which a puzzle is left.
        exact_accuracy, solved_rate: shares in [0, 1].
        steps: mean recursion steps a puzzle.
        passes_per_puzzle: network passes that these steps took.
    """

    threshold: float
    exact_accuracy: float
    solved_rate: float
    steps: float
    passes_per_puzzle: float


@dataclass(frozen=True)
class OwnStop:
    """A way to stop that a model has by itself, and what it comes to.

    Attributes:
        way: in words: after the first steps, or by the q head.
        exact_accuracy, solved_rate: shares in [0, 1].
        passes_per_puzzle: network passes.
    """

    way: str
    exact_accuracy: float
    solved_rate: float
    passes_per_puzzle: float


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found. Lists have one entry a recursion step; accuracies are shares in [0, 1].

    With a halting rule the answer of a puzzle stays what it was when the puzzle was left alone.

    Attributes:
        puzzles: number of puzzles.
        accuracy_by_step: share of answers equal to the key.
        solved_by_step: share of answers that satisfy the puzzle's rule.
        cells_by_step: mean share of counted cells that equal the key.
        passes_per_puzzle: network passes spent on a puzzle, as the ledger counted them.
        seconds: wall-clock time.
        margin_by_step: mean advantage margin of the step, in logits (`latent_rl.agents.inference.guidance`); the
            reference of the first step is decoded from the initial latent, which costs no network pass. Over the
            puzzles that took the step; 0 if none did.
        dead_share_by_step: share of puzzles on which the step was dead compute: its margin is negligible, so that
            going its way, however far, makes the answer key no likelier. Over the puzzles that took the step.
        active_by_step: share of puzzles that took the step.
        passes_by_step: network passes spent on a puzzle up to and with each step, as the ledger counted them.
        early_stops: stops by the q head at several thresholds; none where a halting rule had stopped puzzles already.
    """

    puzzles: int
    accuracy_by_step: list[float]
    solved_by_step: list[float]
    cells_by_step: list[float]
    passes_per_puzzle: float
    seconds: float
    margin_by_step: list[float] = field(default_factory=list)
    dead_share_by_step: list[float] = field(default_factory=list)
    active_by_step: list[float] = field(default_factory=list)
    passes_by_step: list[float] = field(default_factory=list)
    early_stops: list[EarlyStop] = field(default_factory=list)

    @property
    def exact_accuracy(self) -> float:
        """Share of answers equal to the key after the last step."""
        return self.accuracy_by_step[-1]

    @property
    def solved_rate(self) -> float:
        """Share of answers that satisfy the puzzle's rule after the last step."""
        return self.solved_by_step[-1]

    @property
    def cell_accuracy(self) -> float:
        """Mean share of counted cells that equal the key after the last step."""
        return self.cells_by_step[-1]

    @property
    def accuracies(self) -> dict[str, float]:
        """The three accuracies after the last step, with the number of puzzles."""
        return {
            "puzzles": self.puzzles,
            "exact_accuracy": self.exact_accuracy,
            "solved_rate": self.solved_rate,
            "cell_accuracy": self.cell_accuracy,
        }

    @property
    def headline(self) -> dict[str, Any]:
        """The numbers that reports begin with, by the names that they have there."""
        return {
            "eval_puzzles": self.puzzles,
            "exact_accuracy": self.exact_accuracy,
            "solved_rate": self.solved_rate,
            "cell_accuracy": self.cell_accuracy,
            "accuracy_by_step": self.accuracy_by_step,
            "eval_passes_per_puzzle": self.passes_per_puzzle,
        }


def compute(passes: int, gradient_passes: int) -> int:
    """What passes cost, in forward passes: a backward pass costs about two (one for inputs, one for weights)."""
    return passes + 2 * gradient_passes


class Spent(NamedTuple):
    """What training has cost so far.

    Attributes:
        updates: optimizer steps.
        seconds: time spent collecting and learning; evaluating, logging and saving do not count.
        passes: network passes, forward.
        puzzles: training puzzles begun.
        gradient_passes: backward passes, one for each forward pass through which a gradient came back.
    """

    updates: int
    seconds: float
    passes: int
    puzzles: int
    gradient_passes: int


@dataclass(frozen=True)
class Milestone:
    """One evaluation of a run: where training stood, what was measured, and on which split.

    Older versions measured on test puzzles during training too, and did not say how many passes had a gradient.
    """

    updates: int
    train_seconds: float
    train_passes: int
    evaluation: Evaluation
    split: str = "test"
    train_gradient_passes: int | None = None

    @property
    def train_compute(self) -> int | None:
        """See `compute`; None if an older version did not count."""
        return None if self.train_gradient_passes is None else compute(self.train_passes, self.train_gradient_passes)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Milestone:
        """A milestone from its `asdict`, or from the flat form of version 0.1.0.

        Raises:
            TypeError, KeyError: if it is neither.
        """
        values = dict(values)
        if "evaluation" not in values:
            values = _nested(values)
        stops = [EarlyStop(**stop) for stop in values["evaluation"].get("early_stops", [])]
        return cls(**{**values, "evaluation": Evaluation(**{**values["evaluation"], "early_stops": stops})})


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """A flat milestone of version 0.1.0, which knew of the cells only the last step, and of passes not always."""
    counters = {name: flat.pop(name) for name in ("updates", "train_seconds", "train_passes")}
    for derived in ("exact_accuracy", "solved_rate"):
        flat.pop(derived)
    evaluation = {"puzzles": 0, "seconds": 0.0, "solved_by_step": [], **flat}
    evaluation["cells_by_step"] = [evaluation.pop("cell_accuracy")]
    evaluation["passes_per_puzzle"] = (evaluation.get("passes_by_step") or [0.0])[-1]
    return {**counters, "evaluation": evaluation}


_MILESTONES = TypeAdapter(list[Milestone])
"""Checks types, which dataclasses do not."""


class History:
    """The milestones of a run in the order of training: the curve behind the summary's last point."""

    def __init__(self, milestones: Sequence[Milestone] = ()) -> None:
        self.milestones = list(milestones)

    def add(self, spent: Spent, evaluation: Evaluation, split: str) -> None:
        """Remember an evaluation on a split."""
        cost = (spent.updates, spent.seconds, spent.passes)
        self.milestones.append(Milestone(*cost, evaluation, split, spent.gradient_passes))

    @property
    def curve(self) -> list[Milestone]:
        """The learning curve: the evaluations on validation puzzles; of older versions, all."""
        return [one for one in self.milestones if one.split == "validation"] or self.milestones

    def state_dict(self) -> dict[str, Any]:
        """The milestones as plain values, which JSON can hold."""
        return {"milestones": [asdict(milestone) for milestone in self.milestones]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        found = [Milestone.from_dict(milestone) for milestone in state["milestones"]]
        _MILESTONES.validate_python([asdict(milestone) for milestone in found])
        self.milestones = found

    def write(self, run_dir: Path) -> Path:
        """Write `history.json`, a list of milestones, into a run directory."""
        path = run_dir / HISTORY_FILE
        write_text(path, json.dumps(self.state_dict()["milestones"], indent=1) + "\n")
        return path

    @classmethod
    def read(cls, run_dir: Path) -> History:
        """The evaluations of a finished run.

        Raises:
            UserError: if the file is missing or is not one of this version.
        """
        path = run_dir / HISTORY_FILE
        try:
            return cls([Milestone.from_dict(entry) for entry in json.loads(path.read_text())])
        except FileNotFoundError:
            raise UserError(f"{run_dir} holds no {HISTORY_FILE}: is this the directory of a finished run?") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is no history of this version of latent_rl: {error}") from None


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
        train_gradient_passes_total: backward passes of training; None if an older version did not say.
        own_stop: the cheapest way to stop by its own means, chosen on validation puzzles and measured on test puzzles
            (`latent_rl.measuring.own_stop`); None without validation puzzles, and in older versions.
        baseline_passes_per_puzzle: passes of the schedule compared with.
        savings_vs_trm: baseline divided by `eval_passes_per_puzzle`; report it only beside the accuracy.
        baseline_stop: `own_stop` of the trained TRM that `baseline_run` names; None if none is named.
        savings_vs_stopped_trm: passes of `baseline_stop` divided by those of `own_stop`; the fair one of the two, since
            both sides stop by their own means.
        pass_at: ARC's `pass@k`, by name; empty for other puzzles.
        validation: `puzzles`, `exact_accuracy`, `solved_rate` and `cell_accuracy` on validation puzzles, to choose by;
            empty if there are none.
        checkpoint: path of the model file.
        mlflow_run_id: None if MLflow was off.
        mlflow_experiment_id: of the experiment that holds the run.
        world_size: processes that trained together.
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
    train_gradient_passes_total: int | None = None
    own_stop: OwnStop | None = None
    baseline_passes_per_puzzle: int
    savings_vs_trm: float
    baseline_stop: OwnStop | None = None
    savings_vs_stopped_trm: float | None = None
    pass_at: dict[str, float] = {}
    validation: dict[str, float] = {}
    checkpoint: str
    mlflow_run_id: str | None
    mlflow_experiment_id: str | None = None
    world_size: int = 1

    @classmethod
    def of(
        cls,
        evaluation: Evaluation,
        spent: Spent,
        baseline: int,
        own_stop: OwnStop | None = None,
        baseline_stop: OwnStop | None = None,
        **identity: Any,
    ) -> Summary:
        """The summary of a run from its final evaluation and its cost, what it is compared with, and which run it is.

        Args:
            evaluation: on all test puzzles.
            spent: in training.
            baseline: passes a puzzle of the schedule compared with.
            own_stop: the cheapest stop of the model itself.
            baseline_stop: of the trained TRM compared with, its cheapest stop.
            identity: the other fields.
        """
        return cls(
            **identity,
            **evaluation.headline,
            updates=spent.updates,
            puzzles_seen=spent.puzzles,
            train_seconds=spent.seconds,
            train_passes_total=spent.passes,
            train_passes_per_puzzle=spent.passes / spent.puzzles,
            train_gradient_passes_total=spent.gradient_passes,
            baseline_passes_per_puzzle=baseline,
            savings_vs_trm=baseline / evaluation.passes_per_puzzle,
            own_stop=own_stop,
            baseline_stop=baseline_stop,
            savings_vs_stopped_trm=None
            if own_stop is None or baseline_stop is None
            else baseline_stop.passes_per_puzzle / own_stop.passes_per_puzzle,
        )

    def write(self, run_dir: Path) -> Path:
        """Write `summary.json` into a run directory."""
        path = run_dir / SUMMARY_FILE
        write_text(path, self.model_dump_json(indent=2) + "\n")
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
