"""Each test's level is its folder: the marker is set here, so that no file can claim another."""

from pathlib import Path

import pytest

LEVELS = ("unit", "contract", "chart", "integration", "e2e")
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        level = item.path.relative_to(TESTS).parts[0]
        if level not in LEVELS:
            raise pytest.UsageError(f"{item.path} lies in none of the test levels: {', '.join(LEVELS)}")
        item.add_marker(level)
