"""The script that MLflow runs to load a logged model ("models from code"): no object of ours is ever pickled."""

from mlflow.models import set_model

from latent_rl.mlflow_model import PuzzleSolver

set_model(PuzzleSolver())
