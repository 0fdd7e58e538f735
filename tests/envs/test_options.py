"""Options of puzzles are held against the constructor's annotations, once, for every puzzle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from toy_puzzle import Backwards

from latent_rl.envs import PuzzleError, make_puzzle, puzzle_from_id

SUDOKU, MAZE, QUEENS, ARC = (f"latent_rl/{name}-v0" for name in ("Sudoku", "Maze", "NQueens", "Arc"))


@pytest.mark.parametrize(
    ("id", "options"),
    [
        (SUDOKU, {"size": [4]}),
        (SUDOKU, {"train": "abc"}),
        (SUDOKU, {"train": 2.5}),
        (SUDOKU, {"train": True}),
        (SUDOKU, {"train": 10**12}),
        (SUDOKU, {"blanks": 3}),
        (SUDOKU, {"blanks": [3.5, 4.5]}),
        (SUDOKU, {"augment": "yes please"}),
        (SUDOKU, {"seed": 2**63}),
        (SUDOKU, {"cache_dir": ["a", "b"]}),
        (SUDOKU, {"train_file": 5, "test_file": "none.csv"}),
        (MAZE, {"rows": 10**12, "columns": 5}),
        (MAZE, {"unique": {"a": 1}}),
        (MAZE, {"seed": float("nan")}),
        (QUEENS, {"size": 100_000}),
        (QUEENS, {"seed": -1}),
        (ARC, {"side": [1]}),
        (ARC, {"names": 5}),
        (ARC, {"augmentations": None}),
    ],
)
def test_wrong_types_are_refused_by_name(id: str, options: dict[str, object]) -> None:
    with pytest.raises(PuzzleError, match=f"option '{next(iter(options))}' should be .*, got"):
        puzzle_from_id(id, **options)


def test_what_python_and_yaml_give_passes() -> None:
    assert puzzle_from_id(SUDOKU, size=np.int64(6), blanks=(14, 20), train=None).blanks == (14, 20)
    assert puzzle_from_id(SUDOKU, train_file=Path("a.csv"), test_file="b.csv", seed=2**63 - 1).size == 4
    assert make_puzzle(Backwards, train=3).instances("train").inputs.shape == (3, 4)


def test_a_plug_in_says_as_much_as_it_likes() -> None:
    seen = []

    class Untyped(Backwards):
        def __init__(self, whatever, pair: tuple[int, int] = None, shape: Sequence[int] = (1, 2), odd: Nowhere = 1):  # noqa: F821
            seen.append((whatever, pair))
            super().__init__()

    class Typed(Backwards):
        def __init__(self, whatever, pair: tuple[int, int] = None, folder: Path = Path()) -> None:
            seen.append((whatever, pair, folder))
            super().__init__()

    make_puzzle(Untyped, whatever=[object], pair="no type is known")
    make_puzzle(Typed, whatever=object, pair=[1, 2], folder="x")
    make_puzzle(Typed, whatever=1, pair=None)
    assert [one[1:] for one in seen] == [("no type is known",), ((1, 2), Path("x")), (None, Path())]


@pytest.mark.parametrize("code", ["1 / 0", "raise SystemExit(0)", "this is no Python"])
def test_modules_that_raise_when_they_are_imported(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raising.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for id in ("raising:Raising-v0", "../x:Y-v0"):
        with pytest.raises(PuzzleError, match=f"^{id}: "):
            puzzle_from_id(id)


def test_a_class_that_is_no_puzzle() -> None:
    with pytest.raises(PuzzleError, match="int is no Puzzle class"):
        make_puzzle(int)
