"""What a saving is called, also where it is none."""

from __future__ import annotations

import pytest

from latent_rl.reporting.text import fewer


@pytest.mark.parametrize(
    ("times", "said"),
    [(18.66, "18.7x fewer than"), (1.0, "1.0x fewer than"), (336 / 720, "2.1x as many as")],
)
def test_a_saving_that_is_none_is_not_called_one(times: float, said: str) -> None:
    assert fewer(times) == said
    *many, end = said.split()
    assert fewer(times, "network passes") == " ".join((*many, "network passes", end))
