import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from adsyncd.alerts import Webhook
from adsyncd.alerts.delivery import Delivery
from adsyncd.model.alert import Alert
from support.alerts import an_alert
from support.records import NOON
from support.virtual_time import VirtualClock

SECRET = "https://hooks.invalid/services/canary-92"
HOUR_S = 3600.0


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """A receiver that keeps what it was sent and when, takes `takes_s` and answers with `status`, or raises `error`."""

    status: int = 200
    takes_s: float = 0.0
    error: Exception | None = None
    at: list[float] = field(default_factory=list)
    sent: list[list[dict[str, Any]]] = field(default_factory=list)
    told: list[Alert] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.at.append(anyio.current_time())
        assert str(request.url) == SECRET
        assert request.headers["content-type"] == "application/json"
        await anyio.sleep(self.takes_s)
        if self.error:
            raise self.error
        self.sent.append(json.loads(await request.aread())["alerts"])
        return httpx.Response(self.status, headers={"location": "http://elsewhere.invalid"}, text="whatever")

    async def note(self, alerts: Sequence[Alert]) -> None:
        self.told += alerts

    @property
    def tenants(self) -> list[str]:
        return [alert["tenant"] for batch in self.sent for alert in batch]


@asynccontextmanager
async def delivering_over(wire: Wire) -> AsyncIterator[Delivery]:
    """Run a delivery; it is told to stop in the end."""
    delivery = Delivery(Webhook(SECRET), wire.note, connect=lambda: wire, clock=VirtualClock(), random=Random(1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delivery.run)
        yield delivery
        tasks.cancel_scope.cancel()


async def test_what_it_takes_is_delivered_once_and_told() -> None:
    wire = Wire()
    async with delivering_over(wire) as delivery:
        for tenant in ("acme", "globex"):
            delivery.take(an_alert(tenant))
        await anyio.sleep(HOUR_S)
        assert wire.tenants == ["acme", "globex"]
        assert wire.told == [an_alert("acme"), an_alert("globex")]
        delivery.take(an_alert("initech"))
        await anyio.sleep(HOUR_S)
    assert wire.tenants == ["acme", "globex", "initech"]


@pytest.mark.parametrize(
    "sick",
    [
        {"status": 500},
        {"status": 404},
        {"status": 302},
        {"takes_s": 1e9},
        {"error": httpx.ConnectError(SECRET)},
        {"error": RuntimeError(SECRET)},
    ],
    ids=["500", "404", "302", "hanging", "down", "broken"],
)
async def test_a_receiver_that_is_away_for_hours_gets_the_latest_state_and_two_log_lines(sick: dict[str, Any]) -> None:
    wire = Wire(**sick)
    with capture_logs() as log:
        async with delivering_over(wire) as delivery:
            delivery.take(an_alert())
            await anyio.sleep(HOUR_S)
            over = replace(an_alert(), resolved_at=NOON)
            delivery.take(over)
            await anyio.sleep(HOUR_S)
            assert wire.told == []
            wire.status, wire.takes_s, wire.error = 200, 0.0, None
            wire.sent.clear()
            await anyio.sleep(120)
    assert wire.told == [over]
    assert [alert["status"] for batch in wire.sent for alert in batch] == ["resolved"]
    assert [(entry["event"], entry["log_level"], entry["receiver"]) for entry in log] == [
        ("alerts can't be delivered", "warning", "webhook"),
        ("alerts are delivered again", "info", "webhook"),
    ]
    assert "canary-92" not in repr(log)


async def test_tries_become_rarer_up_to_once_a_minute_and_stay_that_rare() -> None:
    wire = Wire(status=503)
    async with delivering_over(wire) as delivery:
        delivery.take(an_alert())
        await anyio.sleep(4 * HOUR_S)
    waits = [later - earlier for earlier, later in zip(wire.at, wire.at[1:], strict=False)]
    assert max(waits[:3]) < 10
    assert max(waits[:-1]) <= 60
    assert 4 * 60 < len(waits) < 4 * 60 * 3  # a uniform draw from nothing to a minute: half a minute in the mean


async def test_a_try_that_hangs_ends_after_ten_seconds() -> None:
    wire = Wire(takes_s=1e9)
    with capture_logs() as log:
        async with delivering_over(wire) as delivery:
            delivery.take(an_alert())
            await anyio.sleep(10.1)
            assert [entry["cause"] for entry in log] == ["TimeoutError"]


async def test_what_it_holds_is_bounded_by_the_alerts_there_are() -> None:
    wire = Wire(status=500)
    async with delivering_over(wire) as delivery:
        for hour in range(10):
            delivery.take(replace(an_alert(), resolved_at=NOON if hour % 2 else None))
            await anyio.sleep(HOUR_S)
    assert {len(batch) for batch in wire.sent} == {1}


async def test_many_alerts_go_in_batches() -> None:
    wire = Wire()
    async with delivering_over(wire) as delivery:
        for number in range(250):
            delivery.take(an_alert(f"tenant-{number}"))
        await anyio.sleep(1)
    assert [len(batch) for batch in wire.sent] == [100, 100, 50]
    assert len(set(wire.tenants)) == 250


async def test_news_that_comes_while_the_old_state_is_on_its_way_is_delivered_after_it() -> None:
    wire = Wire(takes_s=5)
    over = replace(an_alert(), resolved_at=NOON)
    async with delivering_over(wire) as delivery:
        delivery.take(an_alert())
        await anyio.sleep(1)
        delivery.take(over)
        await anyio.sleep(60)
    assert wire.told == [an_alert(), over]
    assert [alert["status"] for batch in wire.sent for alert in batch] == ["firing", "resolved"]


async def test_at_a_stop_what_is_left_gets_one_more_try() -> None:
    wire = Wire(status=500)
    async with delivering_over(wire) as delivery:
        delivery.take(an_alert())
        await anyio.sleep(300.5)
        wire.status, wire.told = 200, []
    assert wire.told == [an_alert()]


async def test_a_stop_waits_three_seconds_for_a_receiver_that_hangs_and_none_without_need() -> None:
    wire = Wire(takes_s=1e9)
    async with delivering_over(wire) as delivery:
        delivery.take(an_alert())
        await anyio.sleep(100)
        stopped_at = anyio.current_time()
    assert anyio.current_time() - stopped_at == pytest.approx(3)
    async with delivering_over(wire):
        stopped_at = anyio.current_time()
    assert anyio.current_time() == stopped_at


async def test_a_stop_tries_once_where_the_receiver_says_no() -> None:
    wire = Wire(status=500)
    async with delivering_over(wire) as delivery:
        delivery.take(an_alert())
        await anyio.sleep(100)
        tries = len(wire.at)
    assert len(wire.at) == tries + 1
