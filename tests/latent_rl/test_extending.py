"""Rows of the table "To add something, touch" (docs/design.md), each tried with one file in a folder of one's own.

What `test_loss_plugins.py` (parameters, resuming, both modes) and `test_halting.py` (registration) show is not
repeated: here things are named on the command line, reach what they are for, and their options change something.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path

import gymnasium
import pytest
import torch
import yaml
from PIL import Image
from programs import Program
from tiny_models import save_untrained, tiny_config

from latent_rl import evaluate, solve, train
from latent_rl.storage import load_model

TINY = [
    "--config",
    "sudoku-4x4",
    "env.options={train: 40, test: 10}",
    "env.max_steps=4",
    "env.terminate_on_solved=0",
    "network={width: 16, layers: 1, heads: 2, multiple_of: 8}",
    "collector.num_envs=8",
    "optimizer.warmup_updates=0",
    "budget={updates: 2, seconds: null}",
    "evaluation.every_updates=2",
    "tracking.enabled=false",
    "device=cpu",
]

PUZZLE = '''
"""Write two letters the other way round; drawn in one colour, and loudly."""

import torch
from rich.text import Text

from latent_rl.envs import Instances, Puzzle, Renderer, register_puzzle


class Loud(Renderer):
    def text(self, inputs, board, changed):
        return Text("".join(self.puzzle.symbols[token] for token in board).upper() + "!\\n")

    def draw(self, axes, inputs, board, solution, changed):
        axes.set_facecolor("#ff00ff")

    def legend(self, known):
        return []


class Swap(Puzzle):
    name = "swap"
    grid_shape = (1, 2)
    symbols = "_abcdefgh"

    def __init__(self, train: int = 20, test: int = 8):
        self.train, self.test = train, test
        self.renderer = Loud(self)

    def instances(self, split):
        words = torch.combinations(torch.arange(1, 9))
        words = words[: self.train] if split == "train" else words[-self.test :]
        return Instances.of(words, words.flip(-1))

    def is_solved(self, inputs, answers):
        return (answers == inputs.flip(-1)).all(-1)


register_puzzle("Swap-v0", Swap)
'''

REWARD = '''
"""Only a solved board is worth anything, and every pass costs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OnlySolved:
    price: float = 0.25

    def __call__(self, before, after, passes):
        return after.solved.float() - before.solved.float() - self.price * passes
'''

PROGRAM = '''
"""Say how large a trained model is."""

from latent_rl import cli


def main():
    parser = cli.Parser("weigh", "Say how large a trained model is.", "  python weigh.py runs/sudoku-4x4-pi-0")
    parser.prog = "python weigh.py"
    cli.add_model_arguments(parser)
    options = parser.parse_args()
    trained, config, puzzle = cli.open_model(options, [])
    weights = sum(weight.numel() for weight in trained.reasoner.parameters())
    print(f"{puzzle.name}: {weights} weights, {config.env.max_steps} steps")
    cli.write_json(options.json, {"weights": weights})


if __name__ == "__main__":
    cli.run_program(main)
'''


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where one works: modules there, and the examples, are found, runs go there."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def trained(name: str, *overrides: str) -> tuple[dict[str, torch.Tensor], dict, dict]:
    """Weights, resolved configuration and summary of a run."""
    Program(train.main)(*TINY, f"name={name}", *overrides)
    run_dir = Path("runs") / name
    weights = dict(load_model(run_dir).reasoner.state_dict())
    summary = json.loads((run_dir / "summary.json").read_text())
    return weights, yaml.safe_load((run_dir / "config.yaml").read_text()), summary


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(one[name], other[name]) for name in one)


def test_a_loss_is_one_file(folder, capsys, without_figures) -> None:
    plain, _, _ = trained("plain")
    default, config, _ = trained("default", "loss.terms={'own_loss:OpenLoss': {weight: 2.0}}")
    assert config["loss"]["terms"]["own_loss:OpenLoss"] == {"weight": 2.0, "least": 0.5}
    higher, config, _ = trained("higher", "loss.terms={'own_loss:OpenLoss': {weight: 2.0, least: 5.0}}")
    assert config["loss"]["terms"]["own_loss:OpenLoss"] == {"weight": 2.0, "least": 5.0}
    # A fresh network is unsure anyway, above half a nat: the loss is 0 until the option asks for more.
    assert not differ(plain, default) and differ(default, higher)
    mistake = Program(train.main).mistake(capsys, *TINY, "loss.terms={'own_loss:OpenLoss': {lest: 1}}")
    assert "unknown option 'lest'; did you mean 'least'" in mistake


def test_a_target_generator_is_one_file(folder, capsys, without_figures) -> None:
    targets = "loss.terms.policy.targets={name: 'own_targets:FirstCells', cells: %d}"
    plain, _, _ = trained("plain")
    everything, config, _ = trained("everything", targets % 16)
    assert config["loss"]["terms"]["policy"]["targets"] == {"name": "own_targets:FirstCells", "cells": 16}
    some, _, _ = trained("some", targets % 3)
    assert not differ(plain, everything) and differ(plain, some)
    mistake = Program(train.main).mistake(capsys, *TINY, targets.replace("cells", "cels") % 3)
    assert "did you mean 'cells'" in mistake


@pytest.mark.parametrize("patience", [1, 2])
def test_a_halting_rule_is_one_file(folder, capsys, without_figures, patience: int) -> None:
    rule = ["halting.rule=own_halting_rule:Impatient", f"halting.options={{patience: {patience}}}"]
    _, config, summary = trained("mine", *rule, "budget.updates=4")
    assert config["halting"]["rule"] == "own_halting_rule:Impatient"
    assert config["halting"]["options"] == {"patience": patience}
    # Fused: an update is one step of each of the 8 rows, and a row that halts begins another puzzle.
    assert summary["puzzles_seen"] == 8 * (1 + 4 // patience)
    mistake = Program(train.main).mistake(capsys, *TINY, rule[0], "halting.options={patients: 2}")
    assert "did you mean 'patience'" in mistake
    # A model trained with any rule can be asked to stop by this one, at its defaults.
    Program(evaluate.main)("runs/mine", "--halt", "own_halting_rule:Impatient", "--json", "found.json")
    assert json.loads(Path("found.json").read_text())["eval_passes_per_puzzle"] == 3
    Program(solve.main)("runs/mine", "321...32.12.23.1", "--halt", "own_halting_rule:Impatient")
    assert "stopped after step 1 of 4: patience is at its end" in capsys.readouterr().out


def test_a_puzzle_and_its_renderer_are_one_file(folder, capsys) -> None:
    (folder / "my_puzzles.py").write_text(PUZZLE)
    _, _, summary = trained("swap", "env.id=my_puzzles:Swap-v0", "env.options={train: 16, test: 12}")
    assert summary["updates"] == 2 and summary["eval_puzzles"] == 12
    capsys.readouterr()
    Program(solve.main)("runs/swap", "ab", "--png", "steps.png", "env.id=my_puzzles:Swap-v0")
    assert "AB!" in capsys.readouterr().out
    with Image.open("steps.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert sum(count for count, colour in colours if colour == (255, 0, 255)) > 1000


def test_a_reward_is_one_file(folder) -> None:
    (folder / "my_rewards.py").write_text(REWARD)
    kind = importlib.import_module("my_rewards").OnlySolved
    env = gymnasium.make("latent_rl/Sudoku-v0", size=4, train=20, test=5, width=8, reward=kind(price=0.5))
    state, info = env.reset(seed=0)
    action = {"next_y": state["y"], "next_z": state["z"], "answer": info["solution"], "halt": 0}
    rewards = [env.step({**action, "answer": answer})[1] for answer in (info["solution"], state["inputs"])]
    assert rewards == [1 - 0.5 * 3, -1 - 0.5 * 3]


def test_a_program_is_one_file(folder, capsys, monkeypatch) -> None:
    (folder / "weigh.py").write_text(PROGRAM)
    save_untrained(folder / "run", tiny_config(folder / "cache"))

    def run(*arguments: str) -> tuple[int, str, str]:
        """Code, output and errors of `python weigh.py`."""
        capsys.readouterr()
        code = 0
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["weigh.py", *arguments])
            try:
                runpy.run_path("weigh.py", run_name="__main__")
            except SystemExit as exit:
                code = exit.code or 0
        return (code, *capsys.readouterr())

    weights = sum(weight.numel() for weight in load_model(folder / "run").reasoner.parameters())
    code, out, _ = run("run", "--device", "cpu", "--json", "found.json")
    assert (code, out) == (0, f"sudoku-4x4: {weights} weights, 3 steps\n")
    assert json.loads(Path("found.json").read_text()) == {"weights": weights}
    assert "usage: python weigh.py" in run("--help")[1]
    code, out, told = run("nowhere", "--device", "cpu")
    assert (code, out) == (2, "")
    assert told.startswith("error: ") and told.count("\n") == 1
