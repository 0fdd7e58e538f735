"""A little of the hammer in every `make test`, more with `-m slow`, all with `-m hammer` (`make hammer` says more)."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hammer import bad_inputs, bench, faults, kills, modes, soak
from hammer.modes import MODES, References
from hammer.runner import Stable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stops and limits processes in Linux's way")


def slow(*names: str) -> list:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


SHORT_KILLS = [
    "pi/SIGKILL-open-historyjson",
    *slow("pi/SIGHUP", "pi/SIGKILL", "pi-halt/SIGTERM", "replay/SIGINT"),
]
SHORT_FAULTS = [
    "disk/checkpoint-once-writing",
    "mlflow/server-in-the-middle-fail",
    *slow(
        "clock/set-in-the-middle-3600",
        "disk/configuration-when-going-on",
        "two/begun-at-once",
        "two/resumed-at-once",
        "two/resumed-after-a-kill",
        "mlflow/database-deleted-in-the-middle",
        "mlflow/server-in-the-middle-hang",
    ),
]
SHORT_INPUTS = "^inputs/(names/|good inputs/solve: a board as an argument|checkpoints: cut off/training.pt at 48%)"
"""A handful of each."""

SHORT_ROUND = [soak.ROUND[0], soak.ROUND[5], soak.ROUND[8]]
"""Train, evaluate, halt."""


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Iterator[References]:
    with Stable(tmp_path_factory.mktemp("hammer")) as stable:
        yield References(stable)


def _kill(name: str) -> tuple[str, kills.Kill]:
    (found,) = set(kills.combinations(f"^kills/{name}$"))
    return found


@pytest.mark.parametrize("name", SHORT_KILLS)
def test_a_killed_run_goes_on_to_the_same_end(references: References, name: str) -> None:
    assert kills.one(references, *_kill(name), seed=0).symptoms == []


@pytest.mark.parametrize("name", SHORT_FAULTS)
def test_a_fault_costs_no_result(references: References, name: str) -> None:
    (case,) = faults.cases(f"^faults/{name}$")
    assert faults.one(references, case).symptoms == []


@pytest.mark.slow
def test_inputs_are_answered_properly(tmp_path: Path) -> None:
    found = list(bad_inputs.run(tmp_path, SHORT_INPUTS))
    assert len(found) > 5
    assert {result.name: result.symptoms for result in found if not result.good} == {}


@pytest.mark.slow
def test_rounds_of_all_programs_leave_nothing_open(tmp_path: Path) -> None:
    assert soak.run(tmp_path, 0.0, warm_up=1, rounds=SHORT_ROUND).symptoms == []


@pytest.mark.slow
def test_signals_are_felt_also_where_the_hammer_was_started_without(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stable(tmp_path) as stable:
            running = stable.start(tmp_path / "run", "train", *modes.TINY, "budget.updates=1000000000", "name=endless")
            running.until(lambda: running.count("step") > 0)
            running.signal(signal.SIGINT)
            assert running.wait().code == 130
    finally:
        signal.signal(signal.SIGINT, before)


def test_names_are_unique() -> None:
    names = [f"{case.group}/{case.name}" for case in bench.CASES]
    assert len(set(names)) == len(names)
    assert set(kills.FILES) == {mode.program for mode in MODES.values()}


@pytest.mark.hammer
@pytest.mark.parametrize("number", range(100))
def test_kills(references: References, number: int) -> None:
    mode, kill, seed = list(kills.cases(seed=0, number=100))[number]
    assert kills.one(references, mode, kill, seed).symptoms == []


@pytest.mark.hammer
@pytest.mark.parametrize("case", bench.CASES, ids=lambda case: f"{case.group}/{case.name}")
def test_faults(references: References, case: bench.Case) -> None:
    assert faults.one(references, case).symptoms == []


@pytest.mark.hammer
def test_soak(tmp_path: Path) -> None:
    assert soak.run(tmp_path, 30.0).symptoms == []
