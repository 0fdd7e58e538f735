"""Checksums of the weights after short trainings: a change of shape that is no change of behaviour repeats them.

    python benchmarks/checksums.py --out before.json        # on the code as it was
    python benchmarks/checksums.py --against before.json    # on the same machine, on the code as it is

Every training runs as a program of its own, on one thread, in float32, with a fixed seed. The sums are comparable on
one machine only: another kind of CPU rounds differently.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

TRAININGS = {
    "4x4-pi": ["--config", "sudoku-4x4"],
    "4x4-dis": ["--config", "sudoku-4x4", "scheme=dis"],
    "4x4-trm": ["--config", "sudoku-4x4", "scheme=trm"],
    "4x4-pi-halt": ["--config", "sudoku-4x4", "scheme=pi-halt"],
    "6x6-return": [
        "--config",
        "sudoku-6x6",
        "collector.mode=replay",
        "loss.terms.solved=null",
        "loss.terms.return.weight=0.5",
    ],
    "maze-10": ["--config", "maze-10", "env.options.train=2000", "env.options.test=100"],
    "arc-mini": ["--config", "arc-mini", "evaluation.views=2"],
}
"""What is trained, by name: the arguments of `latent_rl.train`."""

COMMON = [
    "budget.seconds=null",
    "threads=1",
    "device=cpu",
    "tracking.enabled=false",
    "evaluation.puzzles=20",
    "checkpoint_every_seconds=1000000",
]


def main() -> None:
    """The command-line program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=60, metavar="N", help="of every training (60)")
    parser.add_argument("--only", nargs="+", choices=TRAININGS, default=list(TRAININGS), metavar="NAME")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the checksums there")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the run directories there")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with checksums written before")
    options = parser.parse_args()
    expected = json.loads(options.against.read_text()) if options.against else {}
    found, wrong = {}, []
    for name in options.only:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) if options.keep is None else options.keep / name
            found[name] = train(TRAININGS[name], options.updates, folder)
        verdict = "" if name not in expected else "  as before" if expected[name] == found[name] else "  DIFFERS"
        wrong += [name] if "DIFFERS" in verdict else []
        print(f"{name:12} {found[name]}{verdict}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    raise SystemExit(f"differ: {', '.join(wrong)}" if wrong else 0)


def train(arguments: list[str], updates: int, folder: Path) -> str:
    """The checksum of all tensors that a training of some updates leaves in its model file."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = [*COMMON, f"budget.updates={updates}", f"evaluation.every_updates={updates}", "name=run"]
    subprocess.run(
        [sys.executable, "-m", "latent_rl.train", *arguments, *settings],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    content = torch.load(folder / "runs" / "run" / "checkpoint" / "model.pt", weights_only=True)
    return checksum({"weights": content["weights"], "halting": (content.get("halting") or {}).get("weights", {})})


def checksum(content: Any) -> str:
    """SHA-256 (16 digits of it) over names and bytes of all tensors in nested dictionaries, in the order of names."""
    digest = hashlib.sha256()

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value):
                walk(f"{name}.{key}", value[key])
        elif isinstance(value, torch.Tensor):
            digest.update(name.encode() + value.contiguous().numpy().tobytes())

    walk("", content)
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
