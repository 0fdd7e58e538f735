"""What the hammer found: a table and the failures for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table


@dataclass
class Result:
    """One case.

    Attributes:
        part: kills, faults or soak.
        group: what of it: a mode or a kind of fault.
        name: the case; with the seed it says exactly what was done.
        symptoms: what was not as promised; empty is good.
        figures: what was measured, such as `lost_seconds`.
    """

    part: str
    group: str
    name: str
    seed: int = 0
    symptoms: list[str] = field(default_factory=list)
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not self.symptoms


def show(console: Console, results: Iterable[Result]) -> None:
    """A row for each group, then every failure with its symptoms."""
    results = list(results)
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.part, result.group), []).append(result)
    table = Table(title=f"{len(results)} cases, {sum(result.good for result in results)} as promised", box=SIMPLE)
    for heading in ("part", "group"):
        table.add_column(heading, no_wrap=True)
    for heading in ("cases", "good", "failed", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("figures (worst)")
    for (part, group), cases in groups.items():
        good = sum(case.good for case in cases)
        worst: dict[str, float] = {}
        for case in cases:
            for name, value in case.figures.items():
                worst[name] = max(value, worst.get(name, value))
        table.add_row(
            part, group, str(len(cases)), str(good), str(len(cases) - good),
            f"{sum(case.seconds for case in cases):.0f}",
            ", ".join(f"{name} {value:.3g}" for name, value in worst.items()),
        )  # fmt: skip
    console.print(table)
    for result in results:
        for symptom in result.symptoms:
            where = f"{result.part}/{result.group}/{result.name} (seed {result.seed})"
            console.print(f"FAILED {where}: {symptom}", markup=False, highlight=False, soft_wrap=True)


def write(path: Path, results: Iterable[Result], **about: object) -> None:
    """All of it as JSON, with what else is to be known about the run."""
    results = list(results)
    content = {
        **about,
        "cases": len(results),
        "good": sum(result.good for result in results),
        "results": [asdict(result) for result in results],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
