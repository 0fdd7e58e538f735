"""What the README shows works as it is printed; its puzzle is an example, tried in `test_examples.py`."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import save_untrained, tiny_config

from latent_rl import solve, train

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
HARD = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4.."


def blocks(language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    return [text for name, text in fences if name == language]


def commands() -> list[str]:
    """The lines that a reader is to type, without what is said of them."""
    lines = [line for block in blocks("") for line in block.splitlines()]
    return [re.split(r"\s{2,}#", line)[0].strip() for line in lines if line.strip()]


def test_every_command_is_executed_by_a_test() -> None:
    """Each by the test named; a command that is new here is for its author to try."""
    examples = (ROOT / "examples" / "own_puzzle.py").read_text()  # `test_examples.py` runs what stands in there
    tried = {
        "make train": "test_make_does_what_it_says",
        "make test": "test_make_does_what_it_says",
        ". .venv/bin/activate": "test_make_does_what_it_says",
        "mlflow ui": "test_make_does_what_it_says",
        "python -m latent_rl.solve runs/sudoku-4x4-pi-0 4..2.....4..321.": "test_the_first_model_solves_what_is_shown",
        f"python -m latent_rl.solve pretrained/sudoku-hard-units {HARD}": "test_trained_weights_solve_what_is_shown",
    }
    unknown = [one for one in commands() if one not in tried and one not in examples]
    assert unknown == []
    assert all(test in globals() for test in tried.values())
    assert tried.keys() <= set(commands())


@pytest.mark.parametrize(
    ("target", "line"),
    [("train", "-m latent_rl.train"), ("test", "-m pytest"), ("docs", "-m mkdocs build --strict"), ("ui", "mlflow ui")],
)
def test_make_does_what_it_says(target: str, line: str) -> None:
    found = subprocess.run(["make", "--no-print-directory", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert ".venv/bin/" in found.stdout.splitlines()[-1] and line in found.stdout.splitlines()[-1]


def test_trained_weights_solve_what_is_shown(monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    solve.main(["pretrained/sudoku-hard-units", HARD])
    assert "solved: the puzzle's own rule confirms the answer" in capsys.readouterr().out


def test_the_first_model_solves_what_is_shown(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    save_untrained(tmp_path / "runs" / "sudoku-4x4-pi-0", tiny_config(tmp_path / "cache"))
    (command,) = (one for one in commands() if "latent_rl.solve runs/sudoku-4x4" in one)
    solve.main(command.split()[3:])
    assert "sudoku-4x4, the puzzle" in capsys.readouterr().out


def test_a_table_of_questions_and_answers_is_enough(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"`python -m latent_rl\.train (env\.id=latent_rl/Grid-v0 [^`]*)`", README)
    pairs = [f"{number:04b},{15 - number:04b}" for number in range(16)]
    (tmp_path / "puzzles.csv").write_text("\n".join(["question,answer", *pairs]) + "\n")
    quick = ["budget={updates: 2, seconds: null}", "tracking.enabled=false", "device=cpu"]
    train.main([*command.split(), *quick])
    assert "model" in capsys.readouterr().out


def test_the_use_from_python_works(tmp_path: Path) -> None:
    (source,) = (block for block in blocks("python") if "from latent_rl" in block)
    quick = source.replace('"budget.seconds=20"', '"budget={updates: 2, seconds: null}", "tracking.enabled=false"')
    assert quick != source
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", quick]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.strip().splitlines()) == 5, "four rows, and the line between the boxes"


def test_the_short_puzzle_is_part_of_the_whole_one() -> None:
    (short,) = (block for block in blocks("python") if "class Takuzu" in block)
    ast.parse(short)
    whole = (ROOT / "examples" / "own_puzzle.py").read_text()
    for line in short.splitlines():
        code = line.split("  #")[0].rstrip()
        assert code in whole or "_is_balanced(answers)" in code, line
    for command in re.findall(r"^python (.*own_puzzle.*?)(?:  +#.*)?$", README, flags=re.MULTILINE):
        assert command in whole, command


def test_every_page_and_picture_that_is_linked_exists() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links {target}"
