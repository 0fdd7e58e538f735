"""Small ARC files for tests: tasks written where a test wants them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def pair(*cells: int, output: bool = True) -> dict[str, Any]:
    """A pair whose input is one row of cells and whose output is the same row backwards."""
    return {"input": [list(cells)], **({"output": [list(cells[::-1])]} if output else {})}


def task(*colours: int, output: bool = True) -> dict[str, Any]:
    """A task with a demonstration for each colour and one test input; the colours make its content."""
    return {
        "train": [pair(colour, 0, 0) for colour in colours],
        "test": [pair(*colours, 5, 0, output=output)],
    }


def write_folder(folder: Path, **tasks: Any) -> Path:
    """One file a task; a text is written as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tasks.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def write_kaggle(folder: Path, tasks: dict[str, Any], with_solutions: bool = True) -> Path:
    """Kaggle's pair of files; the path of the challenges."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden = {
        name: {**content, "test": [{"input": test["input"]} for test in content["test"]]}
        for name, content in tasks.items()
    }
    challenges = folder / "arc-agi_test_challenges.json"
    challenges.write_text(json.dumps(hidden))
    if with_solutions:
        answers = {name: [test["output"] for test in content["test"]] for name, content in tasks.items()}
        (folder / "arc-agi_test_solutions.json").write_text(json.dumps(answers))
    return challenges
