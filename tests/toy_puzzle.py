"""A tiny puzzle with an obvious rule, for tests: write the given letters backwards."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from latent_rl.envs import Instances, Puzzle, Split


class Backwards(Puzzle):
    """`length` letters in a row; the answer is the same letters from right to left.

    All words of the alphabet, in an order that `seed` decides: the first `train` of them, then `test` others, then
    `validation` others.
    """

    grid_shape = (1, 4)
    symbols = "_abcde"
    has_validation = True

    def __init__(self, train: int = 40, test: int = 10, seed: int = 0, length: int = 4, validation: int = 15) -> None:
        self.name = f"backwards-{length}"
        self.grid_shape = (1, length)
        letters = torch.arange(1, self.vocab_size)
        words = torch.cartesian_prod(*[letters] * length)
        words = words[(words != words.flip(-1)).any(-1)]  # a palindrome is its own answer
        words = words[torch.randperm(len(words), generator=torch.Generator().manual_seed(seed))]
        everything = Instances.of(words, words.flip(-1))
        others = everything[train + test : train + test + validation]
        self._instances = {"train": everything[:train], "test": everything[train : train + test], "validation": others}

    def instances(self, split: Split) -> Instances:
        return self._instances[split]

    def is_solved(self, inputs: Tensor, answers: Tensor) -> Tensor:
        return (answers == inputs.flip(-1)).all(-1)

    def augment(self, instances: Instances, generator: torch.Generator) -> Instances:
        """Every word with its letters renamed."""
        device = instances.inputs.device
        keys = torch.rand(len(instances), self.vocab_size - 1, generator=generator, device=device)
        renamed = torch.cat(
            [torch.zeros(len(instances), 1, dtype=torch.int64, device=device), keys.argsort(-1) + 1], -1
        )
        return replace(
            instances,
            inputs=renamed.gather(-1, instances.inputs),
            solution=renamed.gather(-1, instances.solution),
        )
