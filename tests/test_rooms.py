"""Who may know whom: every import, late ones and those for types too, held against the plan of rooms."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"latent_rl": "latent_rl", "latent_rl.envs": "envs", "latent_rl.agents": "agents"}
"""Import names of the packages and their folders."""

BELOW = {
    "envs": [],
    "agents": [],
    "errors": [],
    "config": ["agents", "envs", "errors"],
    "storage": ["config", "agents", "envs", "errors"],
    "measuring": ["storage", "config", "agents", "envs", "errors"],
    "training": ["measuring", "storage", "config", "agents", "envs", "errors"],
    "reporting": ["measuring", "training", "storage", "config", "agents", "envs", "errors"],
    "cli": ["reporting", "measuring", "training", "storage", "config", "agents", "envs", "errors"],
    "programs": ["cli", "reporting", "measuring", "training", "storage", "config", "agents", "envs", "errors"],
}
"""By room, the rooms that it may import from."""

TRAINING_MEASURES_WITH = {"Ledger"}
"""What training may use of measuring, its neighbour."""

ANY: set[str] = set()
BY_PAGE = {
    "reporting": ANY,
    # The decision process, what draws, and what registers without torch are pages of their own.
    "envs": {"", "mdp", "renderer", "registration", "sudoku", "maze", "nqueens", "arc", "arc.renderer"},
}
"""Rooms that others need not enter by the front (""), and the pages by which they may."""

SCRIPT = "latent_rl.reporting.mlflow_pyfunc"
"""Copied into logged models and run there: it names its model by the address that outlives rooms, not by its room."""


class Import(NamedTuple):
    """One imported name: who imports, the module it comes from, the name in it (None: the module itself)."""

    importer: str
    module: str
    name: str | None
    at_import_time: bool


@cache
def modules() -> dict[str, Path]:
    """Every module of the packages by its import name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


def room(module: str) -> str:
    """The room that a module lies in; files beside the rooms are programs."""
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else ""
    return name if name in BELOW else "programs"


def statements(tree: ast.AST, at_import_time: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Import statements, and whether they run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, at_import_time
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from statements(node, False)
        else:
            late = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from statements(node, at_import_time and not late)


@cache
def imports() -> list[Import]:
    """Every import of one of our modules by another."""
    found = []
    for importer, path in modules().items():
        for node, now in statements(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [Import(importer, alias.name, None, now) for alias in node.names]
                continue
            assert node.level == 0, f"{path}:{node.lineno}: imports here are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                target = (inner, None) if inner in modules() else (str(node.module), alias.name)
                found.append(Import(importer, *target, now))
    return [one for one in found if one.module in modules() and one.importer != SCRIPT]


def wrong(rule: Callable[[Import], bool]) -> list[str]:
    """The imports that break a rule and are not known to."""
    broken = [one for one in imports() if rule(one)]
    return sorted({f"{one.importer} imports {one.module}: {one.name or 'all of it'}" for one in broken})


def test_rooms_are_found() -> None:
    assert {room(module) for module in modules()} == BELOW.keys()
    assert len(imports()) > 300


def test_arrows_run_one_way() -> None:
    assert wrong(lambda one: room(one.importer) != room(one.module) not in BELOW[room(one.importer)]) == []


def test_training_takes_the_ledger_alone_from_its_neighbour() -> None:
    def takes_more(one: Import) -> bool:
        between = room(one.importer), room(one.module)
        return between == ("training", "measuring") and one.name not in TRAINING_MEASURES_WITH

    assert wrong(takes_more) == []


def test_programs_are_imported_by_nobody() -> None:
    """But `train` by `compare`: the loop is to be found in train.py."""
    exception = ("latent_rl.compare", "latent_rl.train")
    assert wrong(lambda one: room(one.module) == "programs" and one[:2] != exception) == []


def test_rooms_are_entered_by_the_front() -> None:
    def around_the_front(one: Import) -> bool:
        place = room(one.module)
        if place in ("programs", "errors", room(one.importer)):
            return False
        _, _, page = one.module.removeprefix("latent_rl.").partition(".")
        pages = BY_PAGE.get(place, {""})
        return pages is not ANY and page not in pages

    assert wrong(around_the_front) == []


def test_no_module_needs_itself_to_be_imported() -> None:
    graph: dict[str, set[str]] = {module: set() for module in modules()}
    for one in imports():
        if one.at_import_time:
            graph[one.importer].add(one.module)
    finished: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            pytest.fail(f"import cycle: {' -> '.join([*way[way.index(module) :], module])}")
        if module not in finished:
            for needed in sorted(graph[module]):
                visit(needed, [*way, module])
            finished.add(module)

    for module in graph:
        visit(module, [])
