"""How new test puzzles are to a network that has seen the training puzzles: equal, or equal up to symmetry.

    python benchmarks/unseen.py sudoku-4x4 sudoku-6x6 nqueens-8

No test puzzle is a training puzzle. Many are images of one under the symmetries of the puzzle, and many share its
solution.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import permutations, product

import numpy as np

from latent_rl.config import load_config
from latent_rl.envs import Puzzle
from latent_rl.training import build_puzzle


def lines(size: int, group: int) -> Iterator[np.ndarray]:
    """All orders of rows or columns that keep groups together."""
    for groups in permutations(range(size // group)):
        for inside in product(permutations(range(group)), repeat=size // group):
            yield np.array([number * group + line for number in groups for line in inside[number]])


def images(puzzle: Puzzle) -> list[np.ndarray]:
    """Where each cell of an image comes from, `[L]`, for every symmetry of the board."""
    size = puzzle.grid_shape[0]
    cells = np.arange(size * size).reshape(size, size)
    if puzzle.name.startswith("sudoku"):
        rows, columns = puzzle.box_shape
        boards = [cells[one][:, two] for one in lines(size, rows) for two in lines(size, columns)]
        turned = [board.T for board in boards] if rows == columns else []
        return [board.ravel() for board in boards + turned]
    return [np.rot90(board, turns).ravel() for board in (cells, cells.T) for turns in range(4)]


def plain(boards: np.ndarray, relabel: bool) -> np.ndarray:
    """Sudokus `[N, L]` with their digits called 1, 2, 3, ... in the order in which they come; others as they are."""
    if not relabel:
        return boards
    named = np.zeros_like(boards)
    names = np.zeros((len(boards), boards.max() + 1), dtype=boards.dtype)
    for cell in range(boards.shape[1]):
        digits = boards[:, cell]
        new = (digits > 0) & (names[np.arange(len(boards)), digits] == 0)
        names[new, digits[new]] = names[new].max(1) + 1
        named[:, cell] = names[np.arange(len(boards)), digits]
    return named


def shared(train: np.ndarray, test: np.ndarray, symmetries: list[np.ndarray], relabel: bool) -> int:
    """How many rows of `test` are an image of a row of `train`."""
    known = {row.tobytes() for row in plain(train, relabel)}
    found = np.zeros(len(test), dtype=bool)
    for cells in symmetries:
        left = np.flatnonzero(~found)
        if not len(left):
            break
        found[left] = [row.tobytes() in known for row in plain(test[left][:, cells], relabel)]
    return int(found.sum())


def main() -> None:
    """The command-line program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+", metavar="PRESET", help="sudoku-4x4, sudoku-6x6 or nqueens-8")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="key=value", help="such as env.options.split_by=solution"
    )
    options = parser.parse_args()
    for preset in options.presets:
        puzzle = build_puzzle(load_config(preset, options.set))
        relabel = puzzle.name.startswith("sudoku")
        boards = {split: puzzle.instances(split) for split in ("train", "test")}
        shift = 1  # blanks and empty squares become 0
        inputs, keys = (
            {split: (getattr(one, name).numpy() - shift).astype(np.uint8) for split, one in boards.items()}
            for name in ("inputs", "solution")
        )
        every, itself = images(puzzle), [np.arange(puzzle.seq_len)]
        print(f"{puzzle.name}: {len(inputs['test']):,} test puzzles, {len(inputs['train']):,} training puzzles")
        print(f"  the same puzzle            {shared(inputs['train'], inputs['test'], itself, False):>6,}")
        print(f"  ... up to symmetry         {shared(inputs['train'], inputs['test'], every, relabel):>6,}")
        print(f"  the same solution          {shared(keys['train'], keys['test'], itself, False):>6,}")
        print(f"  ... up to symmetry         {shared(keys['train'], keys['test'], every, relabel):>6,}")


if __name__ == "__main__":
    main()
