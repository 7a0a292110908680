from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from adsyncd.store import Store
from support.inline_store import Disk, inline_store
from support.virtual_time import BACKEND


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


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
