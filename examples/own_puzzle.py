"""Takuzu on a 4x4 board: fill in 0 and 1 so that every row and every column has two of each.

In the folder of this file (or with it on PYTHONPATH):

    python -c "import own_puzzle; from latent_rl.envs import check_puzzle; check_puzzle(own_puzzle.Takuzu())"
    python -m latent_rl.train env.id=own_puzzle:Takuzu-v0
    python -m latent_rl.train env.id=own_puzzle:Takuzu-v0 scheme=deduce
    python -m latent_rl.solve runs/takuzu-pi-0 .1..0..1....1... env.id=own_puzzle:Takuzu-v0
"""

import torch

from latent_rl.envs import Instances, Puzzle, register_puzzle

OPEN, ZERO, ONE = 1, 2, 3  # token 0 is padding


class Takuzu(Puzzle):
    name = "takuzu-4x4"
    grid_shape = (4, 4)
    symbols = "_.01"  # one character a token
    has_validation = True  # puzzles to choose by, so that nothing is chosen on the test puzzles

    def __init__(self, train: int = 10000, test: int = 1000, validation: int = 1000, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        boards = torch.cartesian_prod(*[torch.tensor([ZERO, ONE])] * 16)
        boards = boards[self._is_balanced(boards)]
        # Hide most cells of random boards; keep what has one solution, every puzzle once, in random order.
        solutions = boards[torch.randint(len(boards), (10 * (train + test + validation),), generator=generator)]
        givens = torch.where(torch.rand(solutions.shape, generator=generator) < 0.4, solutions, OPEN)
        fits = ((givens.unsqueeze(1) == boards) | (givens.unsqueeze(1) == OPEN)).all(-1)  # [puzzle, board]
        puzzles = torch.stack((givens, solutions), dim=1)[fits.sum(1) == 1].unique(dim=0)
        puzzles = puzzles[torch.randperm(len(puzzles), generator=generator)]
        found = Instances.of(inputs=puzzles[:, 0], solution=puzzles[:, 1])
        rest = found[train + test : train + test + validation]
        self._splits = {"train": found[:train], "validation": rest, "test": found[train : train + test]}

    def instances(self, split):
        return self._splits[split]

    def is_solved(self, inputs, answers):
        keeps_givens = ((inputs == OPEN) | (inputs == answers)).all(-1)
        filled = ((answers == ZERO) | (answers == ONE)).all(-1)
        return keeps_givens & filled & self._is_balanced(answers)

    def _is_balanced(self, boards):
        ones = (boards == ONE).view(-1, 4, 4)
        return (ones.sum(1) == 2).all(-1) & (ones.sum(2) == 2).all(-1)


register_puzzle("Takuzu-v0", Takuzu)
