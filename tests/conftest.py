"""Each test's level is its folder: the marker is set here, so that no file can claim another."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no defect: what an example takes says nothing about the code. The same examples are taken each
# time, so that a failure comes from the change that is tested; `--hypothesis-profile=search` looks for new ones.
settings.register_profile("any machine", deadline=None, derandomize=True, database=None)
settings.register_profile("search", deadline=None)
settings.load_profile("any machine")

LEVELS = ("unit", "contract", "chart", "integration", "e2e")
TESTS = Path(__file__).parent
EXIT_STATUS = pytest.StashKey[int]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        level = item.path.relative_to(TESTS).parts[0]
        if level not in LEVELS:
            raise pytest.UsageError(f"{item.path} lies in none of the test levels: {', '.join(LEVELS)}")
        item.add_marker(level)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[EXIT_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without tearing the interpreter down: the LiveKit client's native threads may abort the process there,
    when everything has been told and every test has passed."""
    if "livekit.rtc" in sys.modules and EXIT_STATUS in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[EXIT_STATUS])
