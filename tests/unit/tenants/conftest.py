from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adsyncd.store import Store
from support.inline_store import Disk, inline_store
from support.installation import Installation, Logs
from support.supervised import World, a_world, tenant
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
async def world(store: Store) -> AsyncIterator[World]:
    async with a_world(store, tenant("acme")) as begun:
        yield begun


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def logged() -> Iterator[Logs]:
    with capture_logs() as logs:
        yield logs
