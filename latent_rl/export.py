"""Export a trained model: weights as safetensors, its configuration beside, and, if asked for, a step as a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from latent_rl import cli
from latent_rl.errors import UserError

EXAMPLE = """\
  python -m latent_rl.export runs/sudoku-4x4-pi-0 sudoku-4x4
  python -m latent_rl.export runs/sudoku-4x4-pi-0 sudoku-4x4 --program
  python -m latent_rl.evaluate sudoku-4x4
  python -m latent_rl.export official_step_50000 trm-sudoku --config sudoku-hard network.heads=8"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser(
        "export",
        "Write a trained model for others to use: model.safetensors and config.yaml. Evaluate, solve, analyze,\n"
        "halt and train --init take the folder as they take a run directory; docs/export.md reads it in plain PyTorch.",
        EXAMPLE,
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="run directory, model.pt, or a file of the official code"
    )
    parser.add_argument("folder", type=cli.output_folder, metavar="DIR", help="folder to write; empty, or an export")
    parser.add_argument("--config", metavar="NAME|FILE", help="preset that names the puzzle of an official checkpoint")
    parser.add_argument(
        "--program",
        action="store_true",
        help="write step.pt2 too: one recursion step as a program of torch.export, which runs without this package",
    )
    parser.add_argument(
        "--json", type=cli.json_file, metavar="FILE", help="write what was written there; - for standard output"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of an official checkpoint")
    options = parser.parse_args(arguments)

    # Late, because torch takes seconds to load.
    from latent_rl.storage import CONFIG_FILE, PROGRAM_FILE, WEIGHTS_FILE, load_model, save_export, step_program

    ours = (WEIGHTS_FILE, CONFIG_FILE, PROGRAM_FILE)
    refuse_taken(options.folder, ours)
    trained = load_model(options.checkpoint, preset=options.config, overrides=options.overrides)
    if trained.official:
        from latent_rl.training import as_ours

        trained = as_ours(trained, trained.config)
    elif options.overrides:
        raise UserError(
            f"{options.overrides[0]}: settings are for checkpoints of the official code; {trained.path} has its own"
        )
    if trained.path.resolve().parent == options.folder.resolve():
        raise UserError(f"{options.folder} is what would be exported: name another folder")
    save_export(options.folder, trained)
    written = [WEIGHTS_FILE, CONFIG_FILE]
    if options.program:
        import torch

        program = step_program(trained.reasoner)
        try:
            torch.export.save(program, options.folder / PROGRAM_FILE)
        except (OSError, RuntimeError) as error:
            raise UserError(f"cannot write {options.folder / PROGRAM_FILE}: {' '.join(str(error).split())}") from None
        written.append(PROGRAM_FILE)
    sizes = {str(options.folder / name): os.path.getsize(options.folder / name) for name in written}
    for path, size in sizes.items():
        # With the JSON on standard output, what people read goes beside it.
        print(f"{path}  {size:,} bytes", file=sys.stderr if str(options.json) == "-" else sys.stdout)
    cli.write_json(options.json, {"checkpoint": str(trained.path), "files": sizes})


def refuse_taken(folder: Path, ours: Sequence[str]) -> None:
    """Raise `UserError` if a folder holds anything that an export would not have written."""
    others = sorted(one.name for one in folder.iterdir() if one.name not in ours) if folder.is_dir() else []
    if others:
        raise UserError(f"{folder} is not empty (it holds {others[0]}): name a new folder")


if __name__ == "__main__":
    cli.run_program(main)
