"""The pages: all on the site, the API's table up to date, the notebook and what pages show run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mkdocs", reason="make docs installs what builds the site")
    monkeypatch.syspath_prepend(str(DOCS))
    import hooks

    return hooks


def named(entries: list) -> list[str]:
    """The pages of a navigation."""
    found = []
    for entry in entries:
        for place in entry.values():
            found += named(place) if isinstance(place, list) else [place]
    return found


def test_every_page_is_in_the_navigation_once() -> None:
    pages = named(yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text())["nav"])
    assert len(set(pages)) == len(pages)
    assert {path.name for path in DOCS.glob("*.md")} <= set(pages)


def test_the_api_table_is_up_to_date(hooks, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(hooks, "BUILD", tmp_path)
    page = hooks.api_page()
    assert (DOCS / "api.md").read_text() == page, "write it anew: python docs/hooks.py"
    assert not re.search(r"^\| `\w+` \|\s*\|$", page, flags=re.MULTILINE), "a public name without a docstring"
    assert all(f"| `{name}` |" in page for name in ("Puzzle", "RecursiveReasoner", "LatentRecursionTorchEnv", "train"))


def test_the_library_page_runs(capsys) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "library.md").read_text(), flags=re.DOTALL)
    exec(block, {})
    said = re.search(r"print\(.*\)  # ([\d ]+):", block)[1]
    assert capsys.readouterr().out.strip() == said


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch) -> None:
    """As it is, but for shorter trainings: its outputs in the repository are of the whole ones."""
    pytest.importorskip("ipykernel", reason="make docs installs what runs the notebook")
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    book = nbformat.read(DOCS / "tour.ipynb", as_version=4)
    assert sum(len(str(cell.get("outputs", ""))) for cell in book.cells) < 150_000, "small outputs"
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.outputs or "register_puzzle" in cell.source for cell in cells), "kept with its outputs"
    shortened = 0
    for cell in cells:
        cell.source, count = re.subn(r"budget\.updates=\d+", "budget.updates=20", cell.source)
        shortened += count
    assert shortened == 2
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=900, kernel_name="python3", resources=where).execute()
    said = "".join(one.get("text", "") for cell in cells for one in cell.outputs)
    assert "unseen puzzles solved, 18 network passes each" in said and "unseen Latin squares solved" in said
