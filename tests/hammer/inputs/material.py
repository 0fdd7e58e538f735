"""What the cases start from: a small trained run, and data files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tables.case import SMALL, Material


def make(folder: Path) -> Material:
    """Train the run and write the files, in processes of their own: this one must stay free of threads to be forked."""
    train = [sys.executable, "-m", "latent_rl.train", *SMALL, "name=small", "collector.num_envs=8"]
    subprocess.run(train, cwd=folder, check=True, capture_output=True)
    subprocess.run([sys.executable, os.path.abspath(__file__), "."], cwd=folder, check=True, capture_output=True)
    return Material.in_folder(folder)


def write_files() -> None:
    """Write the data files into the current folder."""
    from latent_rl.envs.csv_format import write_csv
    from latent_rl.envs.maze import Maze
    from latent_rl.envs.sudoku import Sudoku

    sudoku, maze = Sudoku(size=4, train=60, test=20, seed=3), Maze(size=5, train=40, test=10, seed=3, unique=True)
    for puzzle, prefix in ((sudoku, ""), (maze, "maze_")):
        for split in ("train", "test"):
            instances = puzzle.instances(split)
            rows = [
                ("made", *("".join(puzzle.symbols[token] for token in board.tolist()) for board in pair), 0)
                for pair in zip(instances.inputs, instances.solution, strict=True)
            ]
            write_csv(f"{prefix}{split}.csv", rows)
            if not prefix and split == "test":
                Path("board.txt").write_text(rows[0][1])


if __name__ == "__main__":
    write_files()
