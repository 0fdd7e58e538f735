"""What all tests share. Being here, it also puts this folder on the path: `from toy_puzzle import Backwards`."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings

# A machine that stalls is no failure.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def _cache_of_their_own(tmp_path_factory: pytest.TempPathFactory):
    """Generated puzzles go into a folder of this test run, not into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENT_RL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without figures, which take most of a tiny run's time and have tests of their own."""
    monkeypatch.setattr("latent_rl.reporting.run_results.result_figures", lambda *_: {})
