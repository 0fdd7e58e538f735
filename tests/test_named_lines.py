"""The pages of `docs/` name code that is there: every `file.py:name`, and every test and file that they point to."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"])


def names(file: Path) -> set[str]:
    """What a file defines: `function`, `Class`, `Class.method` and values, as the pages write them."""
    found: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                collect(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.Assign):
                found.update(prefix + target.id for target in node.targets if isinstance(target, ast.Name))
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(prefix + node.target.id)

    collect(ast.parse(file.read_text()).body, "")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_that_a_page_names_is_there(page: Path) -> None:
    for file, name in re.findall(r"([\w/]+\.py):(\w+(?:\.\w+)*)", page.read_text()):
        assert (ROOT / file).is_file(), f"{page.name}: {file}"
        assert name in names(ROOT / file), f"{page.name}: {file}:{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    for file in re.findall(r"tests/[\w/]+\.py", text):
        assert (ROOT / file).is_file(), f"{page.name}: {file}"
    defined = {name for file in ROOT.glob("tests/**/test_*.py") for name in names(file)}
    for name in re.findall(r"`(test_\w+)`", text):
        assert name in defined, f"{page.name}: {name}"


def test_the_view_as_reinforcement_learning_names_its_lines() -> None:
    text = (ROOT / "docs" / "rl.md").read_text()
    assert len(re.findall(r"[\w/]+\.py:\w+", text)) > 20
