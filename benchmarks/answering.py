"""The same weights in the official TRM classes and in ours, in turns: puzzles answered a second, and how well.

    python -m latent_rl.train --config sudoku-6x6 network.multiple_of=256 network.puzzle_embedding_width=64
    python benchmarks/answering.py PATH runs/sudoku-6x6-pi-0        # PATH: a clone of the official TRM code

The official evaluation takes every step for every puzzle. Ours does that here too, and then what it is for: a row
leaves the batch when the model believes its answer (`--halt`, `--halt-threshold`; by default when its q head says
"right", as the official code has it in training). A network has the official shape if its inner widths are multiples of
256 and its first position is a puzzle's embedding, as above. Nothing of the official code is part of this project.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from against_official import find_official, official_model

from latent_rl import cli
from latent_rl.errors import UserError

EXAMPLE = "  python benchmarks/answering.py ~/TinyRecursiveModels runs/sudoku-6x6-pi-0 --puzzles 1000 threads=1"


def with_our_weights(official: Any, state: Any) -> Any:
    """The official model with the tensors of a reasoner of ours.

    Raises:
        UserError: the network has not the shape of an official one.
    """
    from latent_rl.agents import our_name

    missing = [name for name in official.state_dict() if our_name(name) not in state]
    if missing:
        raise UserError(f"the official model has {missing[0]}, and the run nothing for it: see the example in the help")
    try:
        official.load_state_dict({name: state[our_name(name)] for name in official.state_dict()})
    except RuntimeError as error:
        raise UserError(f"not the shape of an official network: {str(error).splitlines()[-1].strip()}") from None
    return official.eval()


def official_answers(model: Any, inputs: Any, batch_size: int, steps: int) -> Any:
    """Answers int64 `[N, L]` after all steps."""
    import torch

    found = []
    with torch.inference_mode(), torch.device(inputs.device):
        for part in inputs.split(batch_size):
            rows = {"inputs": part.int(), "labels": part.int(), "puzzle_identifiers": torch.zeros(len(part)).int()}
            carry = model.initial_carry(rows)
            for _ in range(steps):
                carry, outputs = model(carry=carry, batch=rows)
            found.append(outputs["logits"].argmax(-1))
    return torch.cat(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("answering", "Measure answering by the official classes and by ours, same weights.", EXAMPLE)
    parser.prog = "python benchmarks/answering.py"
    parser.add_argument("official", type=Path, metavar="PATH", help="your clone of the official TRM code")
    cli.add_model_arguments(parser)
    cli.add_test_arguments(parser)
    parser.add_argument("--halt", default="confident", metavar="RULE", help="as of `evaluate` (default: %(default)s)")
    parser.add_argument("--halt-threshold", type=float, metavar="P", help="as of `evaluate` (default: 0.5)")
    parser.add_argument("--turns", type=int, default=5, help="turns of each (default: %(default)s)")
    options = parser.parse_args(arguments)
    cli.check_counts(parser, options)
    find_official(options.official)

    from latent_rl.measuring import answer, stopping_rule

    trained, config, puzzle = cli.open_model(options, options.overrides)
    inputs = cli.instances_to_test(trained, config, puzzle, options.puzzles, "test").inputs
    network, steps, batch_size = config.network, options.steps or config.evaluation_steps, config.evaluation.batch_size
    official = official_model(network, puzzle, batch_size, (network.cycles, network.inner_updates, steps))
    official = with_our_weights(official, trained.reasoner.state_dict())
    rule = stopping_rule(options.halt, trained, puzzle, options.halt_threshold)
    how = {"steps": steps, "batch_size": batch_size}
    ways: dict[str, Callable[[], Any]] = {
        "official": lambda: official_answers(official, inputs, batch_size, steps),
        "ours, all steps": lambda: answer(trained.reasoner, puzzle, inputs, **how),
        f"ours, {options.halt}": lambda: answer(trained.reasoner, puzzle, inputs, **how, halting=rule),
    }
    found, seconds = {name: way() for name, way in ways.items()}, {name: [] for name in ways}
    for _ in range(options.turns):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    rows = {}
    theirs = found.pop("official")
    passes = float(steps * trained.reasoner.config.passes_per_step)
    for name, spent in seconds.items():
        own = found.get(name)
        answers = theirs if own is None else own.answers
        rows[name] = {
            "puzzles_per_second": len(inputs) / statistics.median(spent),
            "solved_rate": puzzle.is_solved(inputs, answers).float().mean().item(),
            "passes_per_puzzle": passes if own is None else own.passes.float().mean().item(),
            "same_answers": (answers == theirs).all(-1).float().mean().item(),
        }
    base = rows["official"]["puzzles_per_second"]
    for name, row in rows.items():
        print(
            f"{name}: {row['puzzles_per_second']:.1f} puzzles/s ({row['puzzles_per_second'] / base:.2f} of theirs), "
            f"{row['solved_rate']:.1%} solved with {row['passes_per_puzzle']:.2f} passes, "
            f"{row['same_answers']:.1%} answered as they do"
        )
    cli.write_json(options.json, {"checkpoint": str(trained.path), "puzzles": len(inputs), "ways": rows})


if __name__ == "__main__":
    cli.run_program(main)
