"""Where the scripts inside logged MLflow models find the model, whatever room it lives in."""

from latent_rl.reporting.mlflow_model import PuzzleSolver

__all__ = ["PuzzleSolver"]
