from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adsyncd.store import Store
from support.installation import Installation
from support.supervised import World, a_world, tenant
from support.virtual_time import BACKEND


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    async with a_world(store, tenant("acme")) as begun:
        yield begun


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    return Installation(tmp_path)
