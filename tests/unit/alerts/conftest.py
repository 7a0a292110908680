"""A world of the alert watch, on a virtual clock."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from support.inline_store import Disk, inline_store
from support.virtual_time import BACKEND
from support.watched import World


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


@pytest.fixture
async def world() -> AsyncIterator[World]:
    disk = Disk()
    async with inline_store(disk) as store:
        world = World(store, disk)
        yield world
        assert world.receivers.mistakes == []
