"""The free permits of the last hour, in memory."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from adsyncd.control.free_permits import FreePermits
from support.records import NOON, HandClock


class World:
    """Tenants with permits, on a clock that a test puts forward."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.workers: dict[str, Any] = {}
        self.free = FreePermits(lambda: self.workers, self.clock)

    def tenant(self, tenant_id: str, free: int, permits: int = 10) -> None:
        quota = SimpleNamespace(requests=permits)
        self.workers[tenant_id] = SimpleNamespace(gate=SimpleNamespace(free=free), tenant=SimpleNamespace(quota=quota))

    async def sample(self, times: int = 1) -> None:
        for _ in range(times):
            await self.free.sample()
            self.clock.instant += timedelta(seconds=10)

    def shares(self, tenant_id: str) -> list[float]:
        return [share for _, share in self.free.of(tenant_id)]


@pytest.fixture
def world() -> World:
    return World()


async def test_each_tenant_has_its_samples_from_its_beginning_to_its_end(world: World) -> None:
    world.tenant("acme", 10)
    await world.sample()
    world.tenant("globex", 5)
    world.tenant("acme", 0)
    await world.sample()
    del world.workers["acme"]
    await world.sample()
    assert world.free.of("acme") == [(NOON, 1.0), (NOON + timedelta(seconds=10), 0.0)]
    assert world.shares("globex") == [pytest.approx(0.5, abs=0.01)] * 2
    assert world.free.of("nobody") == []


async def test_what_is_older_than_an_hour_is_forgotten(world: World) -> None:
    world.tenant("acme", 10)
    await world.sample(400)
    known = world.free.of("acme")
    assert len(known) == 360
    assert known[0][0] == NOON + timedelta(seconds=400 * 10 - 3600)


@pytest.mark.parametrize(("free", "permits", "share"), [(-15, 5, 0.0), (12, 10, 1.0), (0, 0, 0.0)])
async def test_numbers_that_a_change_of_the_quota_leaves_are_within_bounds(
    world: World, free: int, permits: int, share: float
) -> None:
    world.tenant("acme", free, permits)
    await world.sample()
    assert world.shares("acme") == [share]


async def test_tenants_that_come_and_go_take_no_memory_for_good(world: World) -> None:
    world.tenant("acme", 10)
    for number in range(1000):
        world.tenant(f"t{number}", 1)
        await world.free.sample()
        del world.workers[f"t{number}"]
    await world.sample(360)
    assert {sample.tenants for sample in world.free._samples} == {("acme",)}
    assert len({id(sample.tenants) for sample in world.free._samples}) == 1
    assert world.shares("acme") == [1.0] * 360
