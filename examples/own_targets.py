"""Only the first `cells` of a board count.

In the folder of this file (or with it on PYTHONPATH):

    python -m latent_rl.train "loss.terms.policy.targets={name: 'own_targets:FirstCells', cells: 8}"
"""

import torch

from latent_rl.agents import TargetGenerator
from latent_rl.envs import IGNORE


class FirstCells(TargetGenerator):
    in_keys = ("solution",)

    def __init__(self, *, max_steps, cells: int = 4):
        super().__init__(max_steps=max_steps)
        self.cells = cells

    def __call__(self, tensordict):
        solution = tensordict["solution"]
        return solution.masked_fill(torch.arange(solution.shape[-1], device=solution.device) >= self.cells, IGNORE)
