"""The trained networks that come with the repository: they load, solve, and tell nothing of where they were made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from latent_rl.solve import main
from latent_rl.storage import load_model

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[1] / "pretrained").glob("*/config.yaml"))

PUZZLES = {
    "several branches": "4.....8.5.3..........7......2.....6.....8.4......1.......6.3.7.5..2.....1.4......",
    "17 clues": ".......1.4.........2...........5.4.7..8...3....1.9....3..4..2...5.1........8.6...",
}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_they_load_and_name_no_place(folder: Path) -> None:
    trained = load_model(folder)
    assert trained.config.name == folder.name
    options = yaml.safe_load((folder / "config.yaml").read_text())["env"]["options"]
    files = [value for key, value in options.items() if key.endswith("_file")]
    assert files and not any("/" in name for name in files)
    parameters = sum(weight.numel() for weight in trained.reasoner.parameters())
    assert re.search(rf"\b{parameters:,} weights", (folder.parent / "README.md").read_text())


@pytest.mark.parametrize("puzzle", PUZZLES.values(), ids=PUZZLES.keys())
def test_hard_sudoku_is_solved(puzzle: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(FOLDERS[0].with_name("sudoku-hard-units")), puzzle])
    assert "solved: the puzzle's own rule confirms the answer" in capsys.readouterr().out
