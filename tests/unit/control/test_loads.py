"""What client ids need and use of their quotas, and how seldom that is computed."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from adsyncd.control import loads as module
from adsyncd.control.loads import Loads, in_words, schedule_of, share_of
from adsyncd.control.overview import Load
from adsyncd.model.run import Outcome, Tally
from adsyncd.model.status import Going
from adsyncd.model.tenant import Cron, Every, Tenant
from adsyncd.rate.quota import Quota, Window
from adsyncd.tasks import at_once
from support.records import NOON, HandClock, run
from support.tenants import a_tenant

HOUR = timedelta(hours=1)
EVERY_HOUR = Every(HOUR)


@dataclass
class World:
    """Workers of which a test says what they know, and how many requests their tenants sent in the last hour."""

    clock: HandClock = field(default_factory=HandClock)
    workers: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, float] = field(default_factory=dict)
    planned: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loads = Loads(lambda: self.workers, self.clock, at_once)

    def tenant(self, name: str, *, listed: int = 0, requests: int = 0, **changes: Any) -> Tenant:  # noqa: ANN401 - a tenant's fields
        tenant = a_tenant(id=name, schedule=EVERY_HOUR, **{"client_id": name, "quota": Quota(100, HOUR), **changes})
        last = None
        if listed:
            last = replace(run(name), ended_at=NOON, outcome=Outcome.SUCCEEDED, listed=listed, requests=requests)
        pool = SimpleNamespace(limiter=SimpleNamespace(free=lambda _now: 7)) if tenant.platform.quota else None
        gate = SimpleNamespace(pool=pool)
        self.workers[name] = SimpleNamespace(tenant=tenant, last_run=last, going=None, gate=gate)
        return tenant

    async def refresh(self) -> None:
        await self.loads.refresh(lambda name: self.sent.get(name, 0.0))


def about(*expected: float) -> Any:  # noqa: ANN401 - pytest's
    """Return what compares equal to about these: a window is a little longer than it is said to be."""
    return pytest.approx(expected if len(expected) > 1 else expected[0], rel=0.01)


def shares(load: Load | None) -> tuple[float | None, float] | None:
    return (load.needed, load.used) if load else None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    real = module._need

    def seen(bases: Any, *others: Any) -> Any:  # noqa: ANN401 - those of the function
        world.planned.append(sorted(bases))
        return real(bases, *others)

    monkeypatch.setattr(module, "_need", seen)
    return world


async def test_a_client_id_needs_what_its_last_run_took_and_uses_what_was_sent(world: World) -> None:
    tenant = world.tenant("acme", listed=40, requests=44)  # 4 pages, 40 pushes
    world.sent["acme"] = 25
    await world.refresh()
    assert shares(world.loads.of(tenant)) == about(0.44, 0.25)
    assert share_of(world.loads.of(tenant)) == about(0.44)
    assert world.loads.fixes(tenant) == ()


async def test_tenants_of_one_client_id_share_its_load_and_one_that_needs_too_much_has_fixes(world: World) -> None:
    both = [world.tenant(name, client_id="shared", listed=80, requests=88) for name in ("acme", "globex")]
    world.sent = {"acme": 10, "globex": 20}
    await world.refresh()
    for tenant in both:
        assert shares(world.loads.of(tenant)) == about(1.76, 0.3)
        assert world.loads.fixes(tenant)[0].startswith("schedule = { every = ")
    assert world.planned == [["acme", "globex"]]


async def test_before_the_first_listing_the_need_is_not_known(world: World) -> None:
    tenant = world.tenant("acme")
    assert world.loads.of(tenant) is None
    assert share_of(None) == 0
    await world.refresh()
    assert world.loads.of(tenant) == Load(None, 0.0)


async def test_a_run_in_progress_counts_with_its_requests_of_the_last_hour(world: World) -> None:
    tenant = world.tenant("acme", listed=40, requests=44)
    world.workers["acme"].going = Going("x", NOON - 4 * HOUR, Tally(requests=200))
    await world.refresh()
    load = world.loads.of(tenant)
    assert load is not None
    assert load.used == about(0.5)
    world.workers["acme"].going = Going("x", NOON + HOUR, Tally(requests=20))  # the clock was put back
    await world.refresh()
    load = world.loads.of(tenant)
    assert load is not None
    assert load.used == about(0.2)


async def test_only_what_has_changed_is_planned_again(world: World) -> None:
    world.tenant("acme", listed=40, requests=44)
    world.tenant("globex", listed=40, requests=44)
    await world.refresh()
    await world.refresh()
    assert sorted(world.planned) == [["acme"], ["globex"]]
    world.planned.clear()
    acme = world.workers["acme"]
    acme.last_run = replace(acme.last_run, requests=46)  # about the same
    await world.refresh()
    acme.last_run = replace(acme.last_run, listed=0, outcome=Outcome.FAILED)  # shows nothing
    await world.refresh()
    assert world.planned == []
    tenant = world.tenant("acme", listed=80, requests=88, quota=Quota(200, HOUR))  # another quota
    await world.refresh()
    assert world.planned == [["acme"]]
    load = world.loads.of(tenant)
    assert load is not None
    assert load.needed == about(0.44)
    globex = world.workers.pop("globex")
    await world.refresh()
    assert world.loads.of(globex.tenant) is None


async def test_what_takes_long_to_plan_is_planned_again_only_after_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tenant("acme", listed=40, requests=44)
    await world.refresh()
    need = world.loads._needs["mixo", "acme"]
    world.loads._needs["mixo", "acme"] = replace(need, again_at=world.clock.monotonic() + 3600)
    world.workers["acme"].last_run = replace(run("acme"), outcome=Outcome.SUCCEEDED, listed=90, requests=99)
    world.planned.clear()
    await world.refresh()
    assert world.planned == []
    monkeypatch.setattr(world.clock, "monotonic", lambda: need.again_at + 7200)
    await world.refresh()
    assert world.planned == [["acme"]]


async def test_platforms_come_with_their_own_quota_the_nearest_to_its_limit_first(world: World) -> None:
    one = a_tenant().platform
    small = replace(one, name="small", quota=Quota(50, HOUR), base_url="http://small.invalid:80")
    large = replace(one, name="large", quota=Quota(1000, HOUR), base_url="https://large.invalid")
    world.tenant("a", platform=one, listed=40, requests=44)
    world.tenant("b", platform=large, listed=40, requests=44)
    world.tenant("c", platform=small, listed=40, requests=44)
    world.tenant("d", platform=small)
    world.sent["b"] = 100
    await world.refresh()
    found = world.loads.platforms(["small.invalid: nothing but failures"])
    assert [(row.platform, row.tenants, row.quota, row.free) for row in found] == [
        ("large", 1, "1000 requests per 1h", 7),
        ("small", 2, "50 requests per 1h", 7),
        ("mixo", 1, None, None),
    ]
    assert shares(found[0].load) == about(0.044, 0.1)
    assert found[1].load == Load(None, 0.0)  # of one tenant the need is not known
    assert (found[0].breaker, found[1].breaker) == (None, "small.invalid: nothing but failures")


def test_quotas_and_schedules_are_said_in_words() -> None:
    quota = Quota(10, timedelta(seconds=60), also=(Window(1000, timedelta(days=1)),))
    assert in_words(quota) == "10 requests per 1m, 1000 per 1d"
    assert schedule_of(a_tenant(schedule=EVERY_HOUR)) == "every 1h"
    assert schedule_of(a_tenant(schedule=Cron("0 7 * * *", "Europe/Berlin"))) == "0 7 * * * (Europe/Berlin)"


async def test_tenants_are_ranked_and_counted_by_what_their_client_ids_need(world: World) -> None:
    for name, requests in (("little", 22), ("close", 90), ("over", 110)):
        world.tenant(name, listed=requests * 10 // 11, requests=requests)
    world.tenant("new")
    world.tenant("busy", listed=20, requests=22)
    world.sent["busy"] = 95
    await world.refresh()
    assert [rank[-1] for rank in world.loads.ranked] == ["over", "busy", "close", "little", "new"]
    assert (world.loads.over, world.loads.close) == (1, 1)
    assert [name for name in world.workers if world.loads.is_near(name)] == ["close", "over", "busy"]
