"""The front of the room: every name loads, and nothing heavy loads before it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import latent_rl.envs


def test_every_name_loads():
    assert set(latent_rl.envs.__all__) <= set(dir(latent_rl.envs))
    for name in latent_rl.envs.__all__:
        assert getattr(latent_rl.envs, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'Pussle'"):
        _ = latent_rl.envs.Pussle


def test_every_late_name_is_a_name_of_the_front():
    early = {"PuzzleError", "register_puzzle", "registered_ids"}
    assert {*latent_rl.envs._MODULE_OF, *early} == set(latent_rl.envs.__all__)


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    return found.stdout.strip()


def test_one_import_is_enough_for_gymnasium():
    options = "size=4, train=8, test=8, max_steps=3, width=8"
    code = f"import latent_rl, gymnasium; print(gymnasium.make('latent_rl/Sudoku-v0', {options}).unwrapped.puzzle.name)"
    assert run(code) == "sudoku-4x4"


@pytest.mark.parametrize("module", ["latent_rl", "latent_rl.envs", "latent_rl.envs.registration", "latent_rl.train"])
def test_importing_loads_nothing_heavy(module):
    heavy = {"torch", "torchrl", "tensordict", "mlflow", "matplotlib"}
    assert run(f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))") == "[]"
