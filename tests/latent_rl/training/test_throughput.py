"""What is done in a second, from one reading to the next."""

from __future__ import annotations

import pytest
import torch

from latent_rl.storage import Spent
from latent_rl.training import Clock, Throughput, exactly


def test_rates_are_those_since_the_last_reading() -> None:
    begun = Spent(updates=10, seconds=100.0, passes=1000, puzzles=64, gradient_passes=500)
    throughput = Throughput(begun)
    throughput.steps += 40
    later = begun._replace(seconds=102.0, passes=1120, puzzles=72)
    assert throughput.read(later) == {
        "throughput/puzzles_per_second": 4.0,
        "throughput/steps_per_second": 20.0,
        "throughput/passes_per_second": 60.0,
    }
    assert set(throughput.read(later._replace(seconds=103.0)).values()) == {0.0}


def test_a_clock_waits_for_what_a_device_was_given_the_time_before(monkeypatch) -> None:
    told = []

    class Event:
        def __init__(self) -> None:
            self.number = len([one for one in told if one.startswith("record")])

        def record(self) -> None:
            told.append(f"record {self.number}")

        def synchronize(self) -> None:
            told.append(f"wait {self.number}")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    on_cuda, on_cpu = Clock(torch.device("cuda")), Clock(torch.device("cpu"))
    for _ in range(3):
        with on_cuda, on_cpu:
            told.append("work")
    assert told == ["work", "record 0", "work", "record 1", "wait 0", "work", "record 2", "wait 1"]
    assert 0 < on_cpu.seconds < on_cuda.seconds


@pytest.mark.parametrize("before", ["high", "highest"])
def test_what_is_measured_is_computed_in_float32(before: str) -> None:
    found = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(before)
        with pytest.raises(KeyError), exactly():
            assert torch.get_float32_matmul_precision() == "highest"
            raise KeyError
        assert torch.get_float32_matmul_precision() == before
    finally:
        torch.set_float32_matmul_precision(found)
