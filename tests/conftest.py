"""Async tests run on asyncio, under anyio's own pytest plugin; Hypothesis has one profile for all tests.

Workers of pytest-xdist (`make test`) take one file at a time, so that its fixtures are made once, the longest folders
first. (With pytest 9.2, pytest-xdist 3.8 forgets its groups: each test would be its own.)
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.examples import USUAL

# A busy machine with a cold database is slow, not wrong. Under CI each run tries the same examples: red stays red.
settings.register_profile(
    "adsyncd",
    max_examples=int(os.environ.get("ADSYNCD_EXAMPLES", USUAL)),  # more in `make soak`
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("adsyncd")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


_LONGEST_FIRST = ("systemd", "process", "browser", "simulation", "integration", "contract", "architecture", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests of a worker: the folders that take longest come first."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _LONGEST_FIRST.index(item.path.relative_to(Path(__file__).parent).parts[0]))
