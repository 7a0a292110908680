"""Fixtures that several rooms of the unit tests use."""

from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from adsyncd.store import Store
from support.inline_store import Disk, inline_store


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def store(disk: Disk) -> AsyncIterator[Store]:
    async with inline_store(disk) as opened:
        yield opened


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        yield entries
