"""Alerts on their way to real sockets, behind which somebody is not always well."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from random import Random

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream
from structlog.testing import capture_logs

from adsyncd.alerts import Alertmanager, Receiver, Webhook, delivery
from adsyncd.alerts.delivery import Delivery
from adsyncd.clock import SystemClock
from adsyncd.model.alert import Alert, AlertName
from support.alertmanager import instant, running_receivers
from support.alerts import an_alert
from support.records import NOON
from support.waiting import until

SECRET = "canary-93"


class Impatient(Random):
    """Draws no long waits."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - Random's signature
        return 0.02


@asynccontextmanager
async def delivering_to(receiver: Receiver) -> AsyncIterator[Delivery]:
    async def note(_alerts: Sequence[Alert]) -> None: ...

    tls = httpx.create_ssl_context()
    made = Delivery(
        receiver,
        note,
        connect=lambda: httpx.AsyncHTTPTransport(verify=tls, trust_env=False),
        clock=SystemClock(),
        random=Impatient(),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.run)
        yield made
        tasks.cancel_scope.cancel()


async def free_port() -> int:
    async with running_receivers() as receivers:
        return int(receivers.address.rpartition(":")[2])


async def test_a_receiver_that_is_down_hangs_and_fails_has_the_alert_once_it_is_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "_TIMEOUT_S", 0.3)
    port = await free_port()
    with capture_logs() as log:
        async with delivering_to(Webhook(f"http://127.0.0.1:{port}/hook/{SECRET}")) as under_test:
            under_test.take(an_alert())
            await until(lambda: log)
            async with running_receivers(port, hanging=True) as receivers:
                await until(lambda: receivers.refused >= 2)
                receivers.status, receivers.hanging = 500, False
                seen = receivers.refused
                await until(lambda: receivers.refused >= seen + 2)
                over = replace(an_alert(), resolved_at=NOON)
                under_test.take(over)
                receivers.status = 200
                await until(lambda: receivers.hooked)
                await anyio.sleep(0.1)
                assert [alert["status"] for alert in receivers.hooked] == ["resolved"]
                assert receivers.mistakes == []
    assert [entry["event"] for entry in log] == ["alerts can't be delivered", "alerts are delivered again"]
    assert log[0]["cause"] == "ConnectError"
    assert SECRET not in repr(log)


async def test_alertmanager_understands_each_alert_while_it_fires_and_when_it_is_over() -> None:
    async with (
        running_receivers() as receivers,
        delivering_to(Alertmanager(receivers.address, timedelta(minutes=1))) as under_test,
    ):
        for name in AlertName:
            under_test.take(an_alert(name=name, since=SystemClock().now()))
        await until(lambda: len(receivers.posted) >= len(AlertName))
        assert receivers.firing(SystemClock().now()) == {("acme", name.value) for name in AlertName}
        for name in AlertName:
            now = SystemClock().now()
            under_test.take(replace(an_alert(name=name, since=now), resolved_at=now))
        await until(lambda: len(receivers.posted) >= 2 * len(AlertName))
        assert receivers.firing(SystemClock().now()) == set()
        assert receivers.mistakes == []
        assert {instant(alert["startsAt"]).tzinfo is not None for alert in receivers.posted} == {True}


async def test_a_receiver_that_answers_without_an_end_is_not_listened_to() -> None:
    async def endless(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            heard.append(stream)
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")
            with suppress(anyio.BrokenResourceError):
                while True:
                    await stream.send(b"x" * 65536)

    heard: list[SocketStream] = []
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, endless)
        with capture_logs() as log:
            async with delivering_to(Webhook(f"http://127.0.0.1:{port}/")) as under_test:
                for tenant in ("acme", "globex"):
                    under_test.take(an_alert(tenant))
                    await until(lambda: not under_test._due)
        assert log == []
        assert len(heard) == 2
        tasks.cancel_scope.cancel()
