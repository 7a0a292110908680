from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from adsyncd.errors import StoreError
from adsyncd.model.tenant import Cron, Every, PushPolicy, Tenant
from adsyncd.rate.limiter import Usage
from adsyncd.rate.quota import Quota
from adsyncd.telemetry.instruments import (
    DEAD_LETTERS,
    DEAD_LETTERS_OLDEST,
    METRICS,
    QUOTA_LIMIT,
    QUOTA_PERMITS,
    QUOTA_USED,
    SCHEDULE_INTERVAL,
    TOKEN_EXPIRES_IN,
)
from adsyncd.tenants.gauges import Gauges, Measured, begin, keep_letters
from support.metrics import Metrics
from support.tenants import a_tenant
from support.virtual_time import BACKEND

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE, DAY = Usage(60_000, 10, 4), Usage(86_400_000, 1000, 995)


@pytest.fixture
def anyio_backend() -> object:
    return BACKEND


@dataclass
class Gate:
    windows: list[Usage]

    def usage(self) -> list[Usage]:
        return self.windows


@dataclass
class Session:
    left_s: float | None

    def expires_in(self) -> float | None:
        return self.left_s


@dataclass
class Worker:
    tenant: Tenant
    gate: Gate = field(default_factory=lambda: Gate([MINUTE]))
    session: Session = field(default_factory=lambda: Session(None))


def gauges(*workers: Worker, **platforms: list[Usage]) -> Gauges:
    known: dict[str, Measured] = {worker.tenant.id: worker for worker in workers}
    return Gauges(lambda: known, lambda: platforms, NOON, lambda: 0.0)


def read(of: Gauges, name: str) -> Iterator[tuple[float, dict[str, object]]]:
    return ((value, dict(attributes)) for metric, value, attributes in of.read() if metric == name)


def test_each_window_of_a_quota_is_measured_and_that_of_the_platform_apart() -> None:
    of = gauges(Worker(a_tenant(), Gate([MINUTE, DAY])), mixo=[Usage(1000, 50, 50)])
    assert list(read(of, QUOTA_LIMIT.name)) == [
        (10, {"adsyncd.tenant": "acme", "adsyncd.window": "1m"}),
        (1000, {"adsyncd.tenant": "acme", "adsyncd.window": "1d"}),
        (50, {"adsyncd.platform": "mixo", "adsyncd.window": "1s"}),
    ]
    assert [value for value, _ in read(of, QUOTA_USED.name)] == [4, 995, 50]
    assert list(read(of, QUOTA_PERMITS.name)) == [(5, {"adsyncd.tenant": "acme"})]


@pytest.mark.parametrize(
    ("schedule", "interval_s"),
    [
        (Every(timedelta(minutes=15)), [900]),
        (Cron("0 8,20 * * *", "UTC"), [12 * 3600]),
        (Cron("0 8 * * mon-fri", "UTC"), [3 * 86_400]),
        (Cron("0 0 30 2 *", "UTC"), []),
    ],
    ids=str,
)
def test_the_interval_is_the_longest_of_the_schedule(schedule: Every | Cron, interval_s: list[float]) -> None:
    of = gauges(Worker(replace(a_tenant(), schedule=schedule)))
    for _ in range(2):
        assert [value for value, _ in read(of, SCHEDULE_INTERVAL.name)] == interval_s


def test_a_token_is_measured_where_its_end_is_known() -> None:
    of = gauges(Worker(a_tenant(), session=Session(60)), Worker(a_tenant(id="globex")))
    assert list(read(of, TOKEN_EXPIRES_IN.name)) == [(60, {"adsyncd.tenant": "acme"})]


def test_a_tenant_that_can_not_be_measured_hides_no_other() -> None:
    of = gauges(Worker(a_tenant(), Gate([])), Worker(a_tenant(id="globex")))
    assert [attributes["adsyncd.tenant"] for _, attributes in read(of, QUOTA_PERMITS.name)] == ["globex"]


def begun(tenant: Tenant) -> dict[str, list[dict[str, str]]]:
    metrics = Metrics()
    begin(metrics.instruments, tenant)
    found: dict[str, list[dict[str, str]]] = {}
    for metric in metrics.exported():
        for point in metric["data"]["data_points"]:
            assert point["value"] == 0
            assert point["attributes"].pop("adsyncd.tenant") == "acme"
            found.setdefault(metric["name"], []).append(point["attributes"])
    return found


def test_every_counter_of_a_tenant_begins_at_zero() -> None:
    known = begun(a_tenant())
    of_no_tenant = {"adsyncd.telemetry.lost", "adsyncd.log.dropped", "process.cpu.time"}
    counters = {metric.name for metric in METRICS if metric.kind == "counter"}
    assert known.keys() == counters - of_no_tenant - {"adsyncd.campaigns.stored"}
    outcomes = {attributes["adsyncd.outcome"] for attributes in known["adsyncd.runs"]}
    assert outcomes == {"succeeded", "partial", "failed", "abandoned"}
    assert {"adsyncd.status": "429"} in known["adsyncd.requests"]
    assert {"adsyncd.reason": "Retry-After"} in known["adsyncd.waits"]


def test_a_tenant_begins_with_the_counters_that_it_can_have() -> None:
    pulls = begun(a_tenant(push=PushPolicy.NONE))
    assert ("adsyncd.campaigns.pushed" in pulls, "adsyncd.campaigns.stored" in pulls) == (False, True)
    shared = {"adsyncd.reason": "platform quota"}
    assert shared not in pulls["adsyncd.waits"]
    platform = replace(a_tenant().platform, quota=Quota(5, timedelta(seconds=1)))
    assert shared in begun(replace(a_tenant(), platform=platform))["adsyncd.waits"]


class Letters:
    """The store, as far as it knows dead letters; None: it fails."""

    def __init__(self) -> None:
        self.letters: dict[str, tuple[int, datetime]] | None = {}

    async def oldest_dead_letters(self) -> dict[str, tuple[int, datetime]]:
        if self.letters is None:
            raise StoreError("disk I/O error")
        return self.letters


@asynccontextmanager
async def keeping(store: Letters, metrics: Metrics, *tenants: str) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_letters, store, metrics.instruments, lambda: tenants)
        await anyio.sleep(1)
        yield
        tasks.cancel_scope.cancel()


async def test_dead_letters_are_counted_again_and_the_oldest_is_told_while_there_is_one() -> None:
    store, metrics = Letters(), Metrics()
    store.letters = {"acme": (3, NOON), "gone": (1, NOON)}
    async with keeping(store, metrics, "acme", "globex"):
        assert metrics.by_tenant(DEAD_LETTERS) == {"acme": 3, "globex": 0}
        assert metrics.by_tenant(DEAD_LETTERS_OLDEST) == {"acme": NOON.timestamp()}
        store.letters = None
        await anyio.sleep(60)
        assert metrics.by_tenant(DEAD_LETTERS) == {"acme": 3, "globex": 0}
        store.letters = {}
        await anyio.sleep(60)
        assert metrics.by_tenant(DEAD_LETTERS) == {"acme": 0, "globex": 0}
        assert metrics.by_tenant(DEAD_LETTERS_OLDEST) == {}
