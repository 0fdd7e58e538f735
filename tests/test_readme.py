"""What the README shows works as it is printed; its puzzle is an example, tried in `test_examples.py`."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


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
