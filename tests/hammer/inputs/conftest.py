"""The marker `hammer`: minutes of work, done by `make hammer` and not by `make test`."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "hammer: takes minutes; run it with -m hammer")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "hammer" in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("hammer") is not None:
            item.add_marker(pytest.mark.skip(reason="takes minutes: -m hammer"))
