from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from adsyncd.tenants.activity import Activities
from support.virtual_time import BACKEND


@pytest.fixture
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


async def test_it_is_waited_for_until_nothing_goes_on_for_any_tenant() -> None:
    activities = Activities(lambda _: None)

    async def work(tenant_id: str, for_s: float) -> None:
        with activities.during(tenant_id):
            await anyio.sleep(for_s)

    before = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for tenant_id, for_s in (("acme", 1), ("acme", 5), ("globex", 3)):
            tasks.start_soon(work, tenant_id, for_s)
        await anyio.wait_all_tasks_blocked()
        await activities.wait()
        assert anyio.current_time() - before == pytest.approx(5)
    await activities.wait()  # at once


def test_a_tenant_is_at_rest_once_its_last_activity_has_ended_however_it_ends() -> None:
    at_rest: list[str] = []
    activities = Activities(at_rest.append)
    activities.begin("acme")
    with pytest.raises(KeyError), activities.during("acme"):
        raise KeyError
    assert "acme" in activities
    assert at_rest == []
    activities.end("acme")
    assert "acme" not in activities
    assert at_rest == ["acme"]
