"""A sweep of the learning rate: every trial a child run in MLflow, chosen on validation puzzles, never on test puzzles.

python examples/sweep.py [SECONDS]        then: mlflow ui
"""

import sys

import mlflow

from latent_rl.config import load_config
from latent_rl.train import train

seconds = sys.argv[1] if len(sys.argv) > 1 else "20"
mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("latent_rl")
found = {}
with mlflow.start_run(run_name="sweep-lr"):
    for lr in (1e-3, 2e-3, 4e-3, 8e-3):
        settings = [f"optimizer.lr={lr}", f"budget.seconds={seconds}", f"name=sweep-lr-{lr:g}"]
        summary = train(load_config("sudoku-4x4", settings))
        found[lr] = summary.validation["solved_rate"]
        print(f"lr {lr:g}: {found[lr]:.1%} of the validation puzzles solved")
    best = max(found, key=found.get)
    mlflow.log_param("best_lr", best)
    mlflow.log_metric("best_validation_solved_rate", found[best])
print(f"best: optimizer.lr={best:g}")
