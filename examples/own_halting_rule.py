"""Halt after a fixed number of steps.

In the folder of this file (or with it on PYTHONPATH):

    python -m latent_rl.train halting.rule=own_halting_rule:Impatient "halting.options={patience: 2}"
    python -m latent_rl.evaluate runs/sudoku-4x4-pi-0 --halt own_halting_rule:Impatient
"""

from latent_rl.agents import HaltingRule


class Impatient(HaltingRule):
    when = "patience is at its end"
    in_keys = ["step"]

    def __init__(self, *, patience: int = 1):
        super().__init__()
        self.patience = patience

    def decide(self, step):
        return step["step"] + 1 >= self.patience
