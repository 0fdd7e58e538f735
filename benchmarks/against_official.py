"""The official TRM classes and ours, the same network, in turns in one run: puzzles trained on and answered a second.

    python benchmarks/against_official.py PATH               # a clone of SamsungSAILMontreal/TinyRecursiveModels
    python benchmarks/against_official.py PATH --config sudoku-9x9 --turns 10 threads=1 --json against.json \
        network.width=128 collector.num_envs=32

Theirs are timed under the schedules of TRM (3 cycles of 6 updates, 16 steps) and of DIS (1 cycle of 2, 6 steps; the
vector for the step, which its own code adds, is left out), ours under scheme `pi`, which spends what DIS spends. An
update of theirs is their model and loss head, the gradient and AdamW; ours is everything that a training does:
environment, collector, losses, clipping, AdamW and the average. The first row is float32; `--fast` adds one in bfloat16
and compiled, theirs by torch.compile as their script does. Nothing of the official code is part of this project: PATH
names yours, and it is imported.
"""

from __future__ import annotations

import importlib
import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from throughput import Contestant

from latent_rl import cli
from latent_rl.errors import UserError

EXAMPLE = "  python benchmarks/against_official.py ~/TinyRecursiveModels --config sudoku-6x6 --turns 10 threads=1"
MODEL, LOSSES = "models.recursive_reasoning.trm", "models.losses"
SCHEDULES = {"trm": (3, 6, 16), "dis": (1, 2, 6)}
"""Cycles, inner updates and steps."""


class Official:
    """The official model under one schedule, on the puzzles and in the batch of a run of ours."""

    def __init__(self, ours: Contestant, schedule: str, fast: bool) -> None:
        import torch

        run = ours.run
        network, self.rows, self.device = run.config.network, run.config.collector.num_envs, run.device
        cycles, inner, self.steps = SCHEDULES[schedule]
        model = official_model(network, run.puzzle, self.rows, (cycles, inner, self.steps), fast)
        head = importlib.import_module(LOSSES).ACTLossHead(model, loss_type="stablemax_cross_entropy")
        self.model = head.to(self.device)
        same, found = (count(one) for one in (run.reasoner, self.model))
        if same != found:
            raise UserError(f"not the same network: {found:,} numbers in the official model, {same:,} in ours")
        self.call = torch.compile(self.model) if fast else self.model
        self.optimizer = torch.optim.AdamW(
            [weight for weight in self.model.parameters() if weight.requires_grad],
            lr=1e-4,
            weight_decay=0.1,
            fused=True,
        )
        self.settle = ours.settle
        train, test = (run.puzzle.instances(split) for split in ("train", "test"))
        self.batches = itertools.cycle(self._batches(train))
        self.tests = self._batches(test)
        self.training: list[float] = []
        self.answering: list[float] = []

    def train(self, episodes: int) -> None:
        """Updates for so many whole episodes, none of which ends early."""
        import torch

        self.model.train()
        updates = episodes * self.steps
        self.settle()
        started = time.perf_counter()
        with torch.device(self.device):
            carry = self.model.initial_carry(batch := next(self.batches))
            for update in range(updates):
                # An untrained model never believes to be right (its q head starts at -5): all rows begin together.
                batch = next(self.batches) if update and update % self.steps == 0 else batch
                carry, loss, *_ = self.call(return_keys=[], carry=carry, batch=batch)
                (loss / self.rows).backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
        self.settle()
        self.training.append(episodes * self.rows / (time.perf_counter() - started))

    def answer(self, puzzles: int) -> None:
        """All steps of so many puzzles, rounded up to whole batches."""
        import torch

        self.model.eval()
        batches = list(itertools.islice(itertools.cycle(self.tests), -(-puzzles // self.rows)))
        self.settle()
        started = time.perf_counter()
        with torch.inference_mode(), torch.device(self.device):
            for batch in batches:
                carry = self.model.initial_carry(batch)
                for _ in range(self.steps):
                    carry, *_ = self.call(return_keys=["logits"], carry=carry, batch=batch)
        self.settle()
        self.answering.append(len(batches) * self.rows / (time.perf_counter() - started))

    def forget(self) -> None:
        """Drop what was measured: the first turn warms up."""
        self.training.clear()
        self.answering.clear()

    def _batches(self, instances: Any) -> list[dict[str, Any]]:
        """Whole batches of at most 50 times `rows` instances, in the official names and dtypes."""
        import torch

        rows = torch.arange(self.rows * max(1, min(50, len(instances) // self.rows))) % len(instances)
        chosen = [
            {"inputs": part.inputs, "labels": part.solution, "puzzle_identifiers": torch.zeros_like(part.puzzle_id)}
            for part in (instances[index] for index in rows.split(self.rows))
        ]
        return [{key: value.to(self.device, torch.int32) for key, value in batch.items()} for batch in chosen]


def official_model(network: Any, puzzle: Any, rows: int, schedule: tuple[int, int, int], half: bool = False) -> Any:
    """The official model of a network of ours.

    Args:
        network: a configuration's section.
        puzzle: what it answers.
        rows: of a batch.
        schedule: cycles, inner updates and steps.
        half: whether it computes in bfloat16.
    """
    config = {
        "batch_size": rows,
        "seq_len": puzzle.seq_len,
        "vocab_size": puzzle.vocab_size,
        "puzzle_emb_ndim": network.width,
        "puzzle_emb_len": network.puzzle_positions,
        "num_puzzle_identifiers": 1,
        "H_layers": 0,
        "L_layers": network.layers,
        "hidden_size": network.width,
        "expansion": network.expansion,
        "num_heads": network.heads,
        "pos_encodings": network.positions,
        "mlp_t": network.mixer == "mlp",
        "halt_exploration_prob": 0.1,
        "forward_dtype": "bfloat16" if half else "float32",
        **dict(zip(("H_cycles", "L_cycles", "halt_max_steps"), schedule, strict=True)),
    }
    return importlib.import_module(MODEL).TinyRecursiveReasoningModel_ACTV1(config)


def count(model: Any) -> int:
    """Trainable numbers, without the embeddings of single puzzles."""
    return sum(weight.numel() for name, weight in model.named_parameters() if "puzzle_emb" not in name)


def find_official(path: Path) -> None:
    """Put a clone of the official code on the path of imports.

    Raises:
        UserError: if it is none, or it needs what is not installed.
    """
    for module in (MODEL, LOSSES):
        file = path / f"{module.replace('.', '/')}.py"
        if not file.is_file():
            raise UserError(f"{path} is no clone of the official TRM code: it lacks {file.relative_to(path)}")
    sys.path.insert(0, str(path.resolve()))
    try:
        for module in (MODEL, LOSSES):
            importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"the official code under {path} cannot be imported: {error}") from None


def measure(options: Any, overrides: Sequence[str], fast: bool) -> dict[str, dict[str, float]]:
    """Medians over the turns, by contestant."""
    own = ["precision=bfloat16", "compile=true"] if fast else ["precision=float32", "compile=false"]
    ours = Contestant(options.config, "pi", [*overrides, *own])
    contestants = {"ours": ours, **{f"official {name}": Official(ours, name, fast) for name in options.schedules}}
    for turn in range(options.turns + 1):
        for contestant in contestants.values():
            contestant.train(options.episodes)
            contestant.answer(options.puzzles)
            if turn == 0:
                contestant.forget()
    return {
        name: {
            "train_puzzles_per_second": statistics.median(contestant.training),
            "eval_puzzles_per_second": statistics.median(contestant.answering),
        }
        for name, contestant in contestants.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("against_official", "Measure the official TRM classes and ours in turns.", EXAMPLE)
    parser.prog = "python benchmarks/against_official.py"
    parser.add_argument("official", type=Path, metavar="PATH", help="your clone of the official TRM code")
    parser.add_argument("--config", default="sudoku-6x6", metavar="NAME|FILE")
    parser.add_argument("--turns", type=int, default=5, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=2, help="training episodes in a turn (default: %(default)s)")
    parser.add_argument("--puzzles", type=int, default=200, help="puzzles answered in a turn (default: %(default)s)")
    parser.add_argument("--schedules", nargs="+", default=list(SCHEDULES), choices=SCHEDULES, help="theirs (both)")
    parser.add_argument("--fast", action="store_true", help="a second row, in bfloat16 and compiled")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_args(arguments)

    find_official(options.official)
    from latent_rl.config import load_config

    width = load_config(options.config, options.overrides).network.width
    # The official code rounds inner widths to 256, and its first position needs a puzzle's embedding to fill it.
    shape = ["network.multiple_of=256", f"network.puzzle_embedding_width={width}", "env.terminate_on_solved=0"]
    rows = {}
    for fast in (False, True)[: 2 if options.fast else 1]:
        name = "bfloat16, compiled" if fast else "float32"
        rows[name] = found = measure(options, [*options.overrides, *shape], fast)
        for key, what in (("train_puzzles_per_second", "training"), ("eval_puzzles_per_second", "answering")):
            ours = found["ours"][key]
            others = ", ".join(
                f"{who} {speeds[key]:.1f} (ours is {ours / speeds[key]:.2f} times as fast)"
                for who, speeds in found.items()
                if who != "ours"
            )
            print(f"{name}, {what}, puzzles/s: ours {ours:.1f}, {others}")
    cli.write_json(options.json, {"config": options.config, "overrides": options.overrides, "rows": rows})


if __name__ == "__main__":
    cli.run_program(main)
