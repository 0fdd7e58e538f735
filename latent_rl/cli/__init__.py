"""What all programs share: manners, opening trained models, asking for a stopping rule. Imports no torch."""

from latent_rl.cli.manners import Parser, fail, run_program, write_json

__all__ = [
    "Parser",
    "fail",
    "run_program",
    "write_json",
]
