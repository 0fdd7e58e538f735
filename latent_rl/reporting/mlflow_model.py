"""A trained reasoner as an MLflow model: puzzles in, answers out.

    model = mlflow.pyfunc.load_model("runs:/<run id>/model")
    model.predict([{"puzzle": "321...32.12.23.1"}, {"puzzle": "4..2.....4..321."}])

needs an environment where latent_rl is installed. How to serve it: docs/mlflow.md.
"""

from __future__ import annotations

from contextlib import redirect_stderr
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import torch
from mlflow import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from latent_rl.envs import Puzzle, PuzzleError
from latent_rl.measuring import answer, answer_by_deduction, stopping_rule
from latent_rl.reporting.boards import as_line, read_puzzles
from latent_rl.storage import load_model
from latent_rl.training import accelerate, build_deduction, build_puzzle, choose_device

CHECKPOINT = "checkpoint"
"""Name of the model file among the MLflow model's artifacts."""

CHAMPION = "champion"
"""Alias, in the model registry, of the version that is to be used: `models:/NAME@champion`."""

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
    # 0 stands for the number of steps that the model is evaluated with.
    params=ParamSchema([ParamSpec("steps", "long", 0)]),
)


class PuzzleSolver(mlflow.pyfunc.PythonModel):
    """Answers puzzles given as text. Runs on the best device that it finds."""

    def load_context(self, context: Any) -> None:
        """Load the checkpoint that was logged with the model, and its puzzle."""
        self._trained = load_model(Path(context.artifacts[CHECKPOINT]), choose_device("auto"))
        self._puzzle = build_puzzle(self._trained.config)
        learned = self._trained.halting is not None
        self._halting = stopping_rule("learned", self._trained, self._puzzle) if learned else None
        accelerate(self._trained.reasoner, self._trained.config.model_copy(update={"compile": False}))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answer puzzles, many at a time. A model with a learned halting policy leaves each when the policy says so.

        Args:
            context: MLflow's; unused, everything was loaded from it before.
            model_input: holds the column `puzzle`, texts; boards may have many lines. MLflow makes one of a
                list such as `[{"puzzle": "321...32.12.23.1"}]`.
            params: `steps`, most recursion steps to take; 0 or nothing for as many as in its evaluations.

        Returns:
            One row a puzzle, with the same index: `answer` (one line of symbols), `solved` (by the
            puzzle's own rule), `confidence` (of the value head that the answer is right, in [0, 1]) and `passes`
            (network passes spent on it). A model that deduces leaves `answer` empty, and has no confidence in it, where
            it came to none within its steps.

        Raises:
            MlflowException: if a text is no puzzle of this kind; the message, which a server passes on, says which.
        """
        trained, puzzle, config = self._trained, self._puzzle, self._trained.config
        steps = int((params or {}).get("steps") or config.evaluation_steps)
        if steps < 1:
            raise MlflowException.invalid_parameter_value(f"steps must be at least 1, got {steps}")
        boards = [self._read(text, row) for row, text in enumerate(model_input["puzzle"])]
        if not boards:
            return pd.DataFrame(columns=SIGNATURE.outputs.input_names(), index=model_input.index)
        inputs = torch.stack(boards)
        if config.env.state == "candidates":
            how = build_deduction(config)
            found = answer_by_deduction(trained.reasoner, puzzle, inputs, how, steps, batch_size=BATCH_SIZE)
        else:
            found = answer(trained.reasoner, puzzle, inputs, steps, batch_size=BATCH_SIZE, halting=self._halting)
        columns = {
            "answer": [
                as_line(puzzle, board) if full else "" for board, full in zip(found.answers, found.full, strict=True)
            ],
            "solved": found.solved.numpy(),
            "confidence": found.confidence.double().numpy(),
            "passes": found.passes.numpy(),
        }
        return pd.DataFrame(columns, index=model_input.index)

    def _read(self, text: str, row: int) -> torch.Tensor:
        try:
            boards = read_puzzles(self._puzzle, text)
            if len(boards) != 1:
                raise PuzzleError(f"expected one puzzle a row, got {len(boards)}")
        except PuzzleError as error:
            raise MlflowException.invalid_parameter_value(f"row {row}: {error}") from None
        return boards[0]


def log_model(checkpoint: Path, puzzle: Puzzle, register: str | None = None, about: str = "") -> None:
    """Log a checkpoint's `model.pt` as the model `model` of the active MLflow run.

    Args:
        checkpoint: the model file.
        puzzle: gives the example that is kept beside the model.
        register: name in the model registry; the model becomes its newest version, and the first version gets the alias
            `CHAMPION`. Nothing moves the alias afterwards: which version serves is for people to say.
        about: describes that version.
    """
    example = as_line(puzzle, puzzle.instances("test").inputs[0])
    # Given here because MLflow would otherwise import the model in another process to find out.
    requirements = [f"{name}=={version(name)}" for name in ("latent_rl", "torch", "gymnasium", "pydantic", "mlflow")]
    logged = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(Path(__file__).with_name("mlflow_pyfunc.py")),
        artifacts={CHECKPOINT: str(checkpoint)},
        signature=SIGNATURE,
        input_example=pd.DataFrame({"puzzle": [example]}),
        pip_requirements=requirements,
    )
    if register is None:
        return
    # It tells of its success on the screen, and has no setting that keeps it from that.
    with redirect_stderr(StringIO()):
        made = mlflow.register_model(logged.model_uri, register)
    client = mlflow.MlflowClient()
    client.update_model_version(register, made.version, about)
    if CHAMPION not in client.get_registered_model(register).aliases:
        client.set_registered_model_alias(register, CHAMPION, made.version)
