"""Async tests run on asyncio, under anyio's own pytest plugin."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
