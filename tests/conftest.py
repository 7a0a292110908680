"""Async tests run on asyncio, under anyio's own pytest plugin; Hypothesis has one profile for all tests.

Workers of pytest-xdist (`make test`) take one file at a time, so that its fixtures are made once, the longest folders
first. All of `systemd` runs on one worker, which boots its machine once.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine with a cold database is slow, not wrong. Under CI each run tries the same examples: red stays red.
settings.register_profile(
    "adsyncd",
    max_examples=int(os.environ.get("ADSYNCD_EXAMPLES", "30")),  # more in `make soak`
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("adsyncd")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


_LONGEST_FIRST = ("systemd", "process", "simulation", "integration", "contract", "architecture", "unit")
_ON_ONE_WORKER = {"systemd"}


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files = {item: item.path.relative_to(Path(__file__).parent) for item in items}
    for item, file in files.items():
        folder = file.parts[0]
        item.add_marker(pytest.mark.xdist_group(folder if folder in _ON_ONE_WORKER else str(file)))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _LONGEST_FIRST.index(files[item].parts[0]))
