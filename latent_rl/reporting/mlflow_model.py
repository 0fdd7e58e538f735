"""A trained reasoner as an MLflow model: puzzles in, answers out.

    model = mlflow.pyfunc.load_model("runs:/<run id>/model")
    model.predict(pandas.DataFrame({"puzzle": ["321...32.12.23.1"]}))

needs an environment where latent_rl is installed.
"""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import torch
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from latent_rl.envs import Puzzle, PuzzleError
from latent_rl.measuring import solve, trace_deduction
from latent_rl.reporting.boards import as_line, read_puzzles
from latent_rl.storage import load_model
from latent_rl.training import accelerate, build_deduction, build_puzzle, choose_device

CHECKPOINT = "checkpoint"
"""Name of the model file among the MLflow model's artifacts."""

BATCH_SIZE = 256

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "puzzle")]),
    outputs=Schema(
        [
            ColSpec("string", "answer"),
            ColSpec("boolean", "solved"),
            ColSpec("double", "confidence"),
            ColSpec("long", "passes"),
        ]
    ),
    # 0 stands for the number of steps that the model was trained with.
    params=ParamSchema([ParamSpec("steps", "long", 0)]),
)


class PuzzleSolver(mlflow.pyfunc.PythonModel):
    """Answers puzzles given as text. Runs on the best device that it finds."""

    def load_context(self, context: Any) -> None:
        """Load the checkpoint that was logged with the model, and its puzzle."""
        self._trained = load_model(Path(context.artifacts[CHECKPOINT]), choose_device("auto"))
        self._puzzle = build_puzzle(self._trained.config)
        accelerate(self._trained.reasoner, self._trained.config.model_copy(update={"compile": False}))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answer puzzles.

        Args:
            context: MLflow's; unused, everything was loaded from it before.
            model_input: holds the column `puzzle`, texts; boards may have many lines. MLflow makes one of a
                list such as `[{"puzzle": "321...32.12.23.1"}]`.
            params: `steps`, recursion steps to take; 0 or nothing for as many as in training.

        Returns:
            One row a puzzle, with the same index: `answer` (one line of symbols), `solved` (by the
            puzzle's own rule), `confidence` (of the value head that the answer is right, in [0, 1]) and `passes`
            (network passes spent on it). A model that deduces leaves `answer` empty, and has no confidence in it, where
            it came to none within its steps.

        Raises:
            PuzzleError: if a text is no puzzle of this kind; the message says which.
        """
        steps = int((params or {}).get("steps") or self._trained.config.evaluation_steps)
        if steps < 1:
            raise PuzzleError(f"steps must be at least 1, got {steps}")
        boards = [self._read(text, row) for row, text in enumerate(model_input["puzzle"])]
        if self._trained.config.env.state == "candidates":
            return self._deduced(boards, steps, model_input.index)
        rows = []
        for first in range(0, len(boards), BATCH_SIZE):
            inputs = torch.stack(boards[first : first + BATCH_SIZE])
            found = solve(self._trained.reasoner, self._puzzle, inputs, steps)
            for answer, solved, confidence in zip(
                found.answers[-1], found.solved[-1].tolist(), found.confidence[-1].tolist(), strict=True
            ):
                rows.append((as_line(self._puzzle, answer), solved, confidence, found.passes[-1]))
        return pd.DataFrame(rows, columns=["answer", "solved", "confidence", "passes"], index=model_input.index)

    def _deduced(self, boards: list[torch.Tensor], steps: int, index: pd.Index) -> pd.DataFrame:
        """The rows of a model that deduces: an answer that was not come to is empty."""
        rows = []
        deduction = build_deduction(self._trained.config)
        for board in boards:
            trace = trace_deduction(self._trained.reasoner, self._puzzle, board, deduction, steps)
            answer = as_line(self._puzzle, trace.answer) if trace.full else ""
            # What the rule has confirmed is sure; without a rule nobody says how sure a full board is.
            confidence = float(trace.solved) if self._puzzle.has_rule else math.nan
            rows.append((answer, trace.solved, confidence, trace.passes))
        return pd.DataFrame(rows, columns=["answer", "solved", "confidence", "passes"], index=index)

    def _read(self, text: str, row: int) -> torch.Tensor:
        try:
            boards = read_puzzles(self._puzzle, text)
            if len(boards) != 1:
                raise PuzzleError(f"expected one puzzle a row, got {len(boards)}")
        except PuzzleError as error:
            raise PuzzleError(f"row {row}: {error}") from None
        return boards[0]


def log_model(checkpoint: Path, puzzle: Puzzle) -> None:
    """Log a checkpoint's `model.pt` as the model `model` of the active MLflow run."""
    example = as_line(puzzle, puzzle.instances("test").inputs[0])
    # Given here because MLflow would otherwise import the model in another process to find out.
    requirements = [f"{name}=={version(name)}" for name in ("latent_rl", "torch", "gymnasium", "pydantic", "mlflow")]
    mlflow.pyfunc.log_model(
        name="model",
        python_model=str(Path(__file__).with_name("mlflow_pyfunc.py")),
        artifacts={CHECKPOINT: str(checkpoint)},
        signature=SIGNATURE,
        input_example=pd.DataFrame({"puzzle": [example]}),
        pip_requirements=requirements,
    )
