"""What is done in a second, from one reading to the next."""

from __future__ import annotations

from latent_rl.storage import Spent
from latent_rl.training import Throughput


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
