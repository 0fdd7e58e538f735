"""Solve puzzles with a trained model, step by step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_rl import cli
from latent_rl.errors import UserError

if TYPE_CHECKING:
    import argparse

    from rich.console import Console
    from torch import Tensor

    from latent_rl.config import Config
    from latent_rl.envs import Puzzle
    from latent_rl.measuring import Solutions
    from latent_rl.storage import TrainedModel

EXAMPLE = """\
  python -m latent_rl.solve runs/sudoku-4x4-pi-0 321...32.12.23.1
  python -m latent_rl.solve runs/sudoku-6x6-pi-0 --file board.txt --png steps.png --gif steps.gif
  python -m latent_rl.solve runs/sudoku-9x9-pi-0 --json answers.json < puzzles.txt"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("solve", "Solve puzzles with a trained model and show every recursion step.", EXAMPLE)
    cli.add_model_arguments(parser, device="cpu")
    cli.add_halting_arguments(parser)
    parser.add_argument(
        "puzzle",
        nargs="*",
        metavar="PUZZLE",
        help="the board in reading order, such as 81 characters of a Sudoku; - or nothing reads standard input: a "
        "board, one puzzle a line, or boards with an empty line between them; key=value changes a setting",
    )
    parser.add_argument("--file", type=Path, metavar="FILE", help="read the puzzles from a text file")
    parser.add_argument(
        "--png", type=cli.figure_file, metavar="FILE", help="draw the steps as a figure; one puzzle only"
    )
    parser.add_argument("--gif", type=cli.animation_file, metavar="FILE", help="animate the steps; one puzzle only")
    options = parser.parse_args(arguments)
    cli.check_counts(parser, options)
    cli.check_halting(parser, options)
    texts, overrides = cli.split_settings(options.puzzle)
    if len(texts) > 1:
        parser.error(f"one PUZZLE at a time, got {len(texts)}; several go into a --file")
    if texts and options.file is not None:
        parser.error("give a PUZZLE or a --file, not both")

    # Late, because torch takes seconds to load.
    from rich.console import Console

    from latent_rl.measuring import has_continue_value, solve, stopping_rule, value_head_is_trained
    from latent_rl.reporting.boards import read_puzzles

    trained, config, puzzle = cli.open_model(options, overrides, compile=False)
    boards = read_puzzles(puzzle, _text(texts[0] if texts else None, options.file))
    for name in ("png", "gif"):
        if getattr(options, name) is not None and len(boards) > 1:
            raise UserError(f"--{name} draws one puzzle, got {len(boards)}")
    steps = options.steps or config.evaluation_steps
    cli.refuse_for_deduction(trained, options)
    if config.env.state == "candidates":
        _deduce(trained, config, puzzle, boards, steps, options)
        return
    name = cli.chosen_rule(options, trained)
    rule = stopping_rule(name, trained, puzzle, options.halt_threshold)
    means = {"has_continue_value": has_continue_value(trained)}

    # With the JSON on standard output, what people read goes beside it.
    console = Console(stderr=str(options.json) == "-", highlight=False, soft_wrap=True)
    results = []
    for board in boards:
        found = solve(trained.reasoner, puzzle, board.unsqueeze(0), steps, halting=rule, guidance=options.guidance)
        _show(console, puzzle, board, found, **means)
        if len(found.passes) < steps:
            console.print(f"stopped after step {len(found.passes)} of {steps}: {rule.when}\n", markup=False)
        results.append(_as_json(puzzle, board, found, **means))
    if len(boards) > 1:
        console.print(f"{sum(result['solved'] for result in results)} of {len(boards)} puzzles solved")
    if not value_head_is_trained(trained):
        console.print("note: this model's value head was not trained, so how sure it is means nothing")
    if options.png is not None:
        _draw(options.png, puzzle, board, found)
    if options.gif is not None:
        _animate(options.gif, puzzle, board, found)
    cli.write_json(
        options.json,
        {
            "checkpoint": str(trained.path),
            "puzzle": puzzle.name,
            "steps": steps,
            "halting": name,
            "guidance": options.guidance,
            "results": results,
        },
    )


MOST_BYTES = 1_000_000


def _deduce(
    trained: TrainedModel, config: Config, puzzle: Puzzle, boards: list[Tensor], steps: int, options: argparse.Namespace
) -> None:
    """Solve by deduction, and show deductions, branches and restarts as they come."""
    from rich.console import Console

    from latent_rl.measuring import trace_deduction
    from latent_rl.reporting.deduction import as_dict, in_words, trajectory, verdict
    from latent_rl.reporting.style import save
    from latent_rl.training import build_deduction

    if options.gif is not None:
        raise UserError("--gif animates recursion over latents; --png draws deductions")
    console = Console(stderr=str(options.json) == "-", highlight=False, soft_wrap=True)
    results = []
    for board in boards:
        trace = trace_deduction(trained.reasoner, puzzle, board, build_deduction(config), steps)
        nothing = board.new_zeros(puzzle.seq_len)
        console.print(f"{puzzle.name}, the puzzle", markup=False)
        console.print(puzzle.renderer.text(board, board, nothing))
        for number, step in enumerate(trace.steps, start=1):
            console.print(f"step {number}: {in_words(puzzle, step)}", markup=False)
        if trace.full:
            console.print(puzzle.renderer.text(board, trace.answer, board != trace.answer))
        console.print(f"{verdict(puzzle, trace)}\n")
        results.append(as_dict(puzzle, board, trace))
    if len(boards) > 1:
        console.print(f"{sum(result['solved'] for result in results)} of {len(boards)} puzzles solved")
    if options.png is not None:
        save(trajectory(puzzle, board, None, trace), options.png)
    found = {"checkpoint": str(trained.path), "puzzle": puzzle.name, "steps": steps, "results": results}
    cli.write_json(options.json, found)


def _text(argument: str | None, file: Path | None) -> str:
    if file is not None:
        try:
            with open(file, encoding="utf-8-sig") as opened:
                return _at_most(opened.read(MOST_BYTES + 1))
        except FileNotFoundError:
            raise UserError(f"puzzle file {file} does not exist") from None
        except (OSError, ValueError) as error:
            raise UserError(f"puzzle file {file} cannot be read: {error}") from None
    if argument is not None and argument != "-":
        return argument
    if sys.stdin.isatty():
        print("type a puzzle, then Ctrl-D:", file=sys.stderr)
    try:
        # UTF-8 whatever the locale says; a text put in place of the standard input has no bytes.
        stdin = getattr(sys.stdin, "buffer", sys.stdin)
        text = stdin.read(MOST_BYTES + 1)
        return _at_most(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise UserError(f"standard input cannot be read as text in UTF-8: {error}") from None


def _at_most(text: str) -> str:
    """The text, unless there is so much of it that reading went no further."""
    if len(text.encode()) > MOST_BYTES:
        raise UserError(f"the puzzles are more than {MOST_BYTES:,} bytes of text: give them in parts")
    return text


def _show(console: Console, puzzle: Puzzle, board: Tensor, found: Solutions, *, has_continue_value: bool) -> None:
    from latent_rl.envs.renderer import changes

    changed = changes(board, found.answers[:, 0])
    nothing = changed.new_zeros(puzzle.seq_len)
    console.print(f"{puzzle.name}, the puzzle", markup=False)
    console.print(puzzle.renderer.text(board, board, nothing))
    for step, answer in enumerate(found.answers[:, 0]):
        count = int(changed[step].sum())
        last = step == len(found.answers) - 1
        value = f" (continue value {found.continue_value[step, 0]:.0%})" if has_continue_value and not last else ""
        console.print(
            f"step {step + 1}: {float(found.confidence[step, 0]):.0%} sure{value}, {found.passes[step]} passes so far, "
            f"{f'{count} cells changed (*)' if count else 'no cell changed'}"
        )
        if count or last:
            console.print(puzzle.renderer.text(board, answer, changed[step]))
    if not puzzle.has_rule:
        verdict = "answered: whether it is right, this puzzle does not tell without its key"
    elif found.solved[-1, 0]:
        verdict = "[bold green]solved[/]: the puzzle's own rule confirms the answer"
    else:
        verdict = "[bold red]not solved[/]: the answer breaks the puzzle's own rule"
    console.print(f"{verdict}, after {found.passes[-1]} network passes\n")


def _as_json(puzzle: Puzzle, board: Tensor, found: Solutions, *, has_continue_value: bool) -> dict[str, Any]:
    from latent_rl.reporting.boards import as_line

    steps = [
        {
            "answer": as_line(puzzle, answer),
            "solved": bool(found.solved[step, 0]),
            "confidence": float(found.confidence[step, 0]),
            "continue_value": float(found.continue_value[step, 0]) if has_continue_value else None,
            "passes": found.passes[step],
        }
        for step, answer in enumerate(found.answers[:, 0])
    ]
    return {"puzzle": as_line(puzzle, board), **steps[-1], "steps": steps}


def _draw(path: Path, puzzle: Puzzle, board: Tensor, found: Solutions) -> None:
    from latent_rl.reporting.style import save

    save(puzzle.renderer.trajectory(board, None, found.answers[:, 0], found.confidence[:, 0]), path)


def _animate(path: Path, puzzle: Puzzle, board: Tensor, found: Solutions) -> None:
    from latent_rl.reporting.animation import animate

    animate(path, puzzle, board, None, found.answers[:, 0], found.confidence[:, 0], found.passes)


if __name__ == "__main__":
    cli.run_program(main)
