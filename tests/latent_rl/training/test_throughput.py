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


def test_a_clock_asks_a_device_how_long_it_took(monkeypatch) -> None:
    """Blocks of 1, 2 and 3 s on the device, whatever the program waited for meanwhile; the last is not read yet."""
    now, told = [0.0], []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = now[0]

        def synchronize(self) -> None:
            told.append(self.at)

        def elapsed_time(self, end: Event) -> float:
            assert told[-1] == end.at, "nobody may ask before it is done"
            return 1e3 * (end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    on_cuda, on_cpu = Clock(torch.device("cuda")), Clock(torch.device("cpu"))
    read = []
    for seconds in (1.0, 2.0, 3.0):
        with on_cuda, on_cpu:
            now[0] += seconds
        read.append(on_cuda.seconds)
        now[0] += 10.0  # measuring, which is not training
    assert read == [0.0, 1.0, 3.0] and told == [1.0, 13.0]
    assert 0.0 < on_cpu.seconds < 1.0


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
