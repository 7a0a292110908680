"""Async tests run on asyncio, under anyio's own pytest plugin; Hypothesis has one profile for all tests."""

import os

import pytest
from hypothesis import HealthCheck, settings

# A busy machine with a cold database is slow, not wrong. Under CI each run tries the same examples: red stays red.
settings.register_profile(
    "adsyncd", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("adsyncd")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
