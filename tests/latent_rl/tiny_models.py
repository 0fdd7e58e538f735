"""Checkpoints for tests: an untrained one, and a model that knows the answers to its test puzzles."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from latent_rl.agents import ReasonerConfig, RecursiveReasoner, StepOutput
from latent_rl.config.loading import load_config
from latent_rl.config.schema import Config
from latent_rl.envs import Instances
from latent_rl.storage.checkpoint import TrainedModel, save_model
from latent_rl.training.parts import build_puzzle, build_reasoner

TEST_PUZZLES = 6


def tiny_config(cache: Path, *overrides: str) -> Config:
    return load_config(
        "sudoku-4x4",
        [
            "env.options.train=20",
            f"env.options.test={TEST_PUZZLES}",
            f"env.options.validation={TEST_PUZZLES}",
            f"env.options.cache_dir={cache}",
            "env.max_steps=3",
            "network.width=16",
            "network.heads=2",
            "device=cpu",
            *overrides,
        ],
    )


def save_untrained(run_dir: Path, config: Config) -> Path:
    """Write an untrained model into a run directory; returns the model file."""
    torch.manual_seed(0)
    reasoner = build_reasoner(config, build_puzzle(config), torch.device("cpu"))
    return save_model(run_dir / "checkpoint", reasoner, config, updates=0)


class Oracle(RecursiveReasoner):
    """Runs its network like any other, then answers: the puzzle, half of the solution, and from step 3 on all of it."""

    def __init__(self, config: ReasonerConfig, known: Instances) -> None:
        super().__init__(config)
        self.known = known

    def step(self, inputs: Tensor, puzzle_id: Tensor, y: Tensor, z: Tensor, step: Tensor) -> StepOutput:
        output = super().step(inputs, puzzle_id, y, z, step)
        row = (self.known.inputs.unsqueeze(0) == inputs.unsqueeze(1)).all(-1).int().argmax(1)
        solution = self.known.solution[row]
        half = torch.arange(inputs.shape[1]) < inputs.shape[1] // 2
        second = torch.where(half, solution, inputs)
        taken = step.unsqueeze(1)
        answer = torch.where(taken == 0, inputs, torch.where(taken == 1, second, solution))
        confidence = torch.stack((2.0 * step - 2, torch.zeros_like(step)), dim=1).float()
        return output._replace(logits=functional.one_hot(answer, self.config.vocab_size).float(), q=confidence)


def oracle(config: Config) -> TrainedModel:
    """A model that is right on the test split of its puzzle at the third step."""
    puzzle = build_puzzle(config)
    shape = build_reasoner(config, puzzle, torch.device("cpu")).config
    return TrainedModel(Oracle(shape, puzzle.instances("test")).eval(), config, 0, Path("oracle"))
