from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from support.control import SCARCE, Inside, an_inside, tenant


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    globex = tenant("globex", quota=SCARCE, run_deadline=timedelta(days=1))
    async with an_inside(tmp_path, tenant("acme"), globex) as begun:
        yield begun


@pytest.fixture
async def api(inside: Inside) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(inside.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://adsyncd") as client:
        yield client
