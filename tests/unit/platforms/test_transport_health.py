"""The transport sends nothing to a host that is down, but for a probe now and then."""

from datetime import timedelta

import anyio
import httpx
import pytest

from adsyncd.errors import Stopping
from adsyncd.model.run import Tally
from adsyncd.platforms.call import Call, Kind
from adsyncd.rate.breaker import Breaker
from adsyncd.rate.quota import Quota
from adsyncd.rate.wait import WaitReason
from adsyncd.telemetry.instruments import SERVER_ADDRESS, WAIT_REASON, WAIT_UNTIL
from support.gates import Middle, a_gate
from support.governed import a_request, a_transport
from support.spans import Spans, attributes
from support.tenants import a_tenant
from support.virtual_time import VirtualClock


class Host:
    """A platform's host with a breaker in front, and transports of its tenants."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.breaker = Breaker("ads.invalid", self.clock, Middle(), lambda: None)
        self.status = 200
        self.takes_s = 0.0
        self.hangs = False
        self.sent: list[tuple[float, str]] = []  # when and by whom
        self.start = anyio.current_time()

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.sent.append((round(anyio.current_time() - self.start), request.headers["x-client-id"]))
        await anyio.sleep(1e6 if self.hangs else self.takes_s)
        return httpx.Response(self.status)

    async def is_down_for(self, *client_ids: str) -> None:
        """Let the breaker open: a probe may go five seconds later."""
        for second in range(11):
            for client_id in client_ids:
                passage = self.breaker.enter(client_id)
                if passage is not None:
                    with passage:
                        passage.failed("the platform answered 503")
            await anyio.sleep(second < 10)
        assert self.breaker.holds(client_ids[0])
        self.start = anyio.current_time()


class Client:
    """A tenant's transport to a host."""

    def __init__(self, host: Host, client_id: str = "acme", permits: int = 10) -> None:
        self.client_id = client_id
        self.tally = Tally()
        self.spans = Spans()
        tenant = a_tenant(client_id=client_id, quota=Quota(permits, timedelta(seconds=60)))
        self.gate = a_gate(tenant.quota, host.clock)
        self.transport = a_transport(
            host.handle, tenant=tenant, gate=self.gate, breaker=host.breaker, tally=self.tally, tracer=self.spans.tracer
        )

    async def send(self, kind: Kind = Kind.PUSH) -> httpx.Response:
        return await self.transport.handle_async_request(a_request(Call(kind), **{"x-client-id": self.client_id}))


# The breaker


async def test_a_request_to_a_host_that_is_down_waits_without_permit_or_count_and_says_so() -> None:
    host = Host()
    client = Client(host)
    await host.is_down_for("acme", "globex")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.send)
        await anyio.sleep(4.9)
        assert (client.gate.free, client.tally.requests, client.tally.waited_s) == (10, 0, 0)
        wait = client.tally.wait(host.clock.now())
        assert wait
        until = wait.until
        assert until
        said = until.isoformat(timespec="milliseconds")
        assert (wait.reason, until - host.clock.now()) == (WaitReason.BREAKER, timedelta(seconds=0.1))
        assert str(wait).startswith("circuit breaker of ads.invalid: nothing but failures since ")
        assert str(wait).endswith(", the last one: the platform answered 503")
    assert (host.sent, client.tally.ongoing, client.tally.requests) == ([(5, "acme")], {}, 1)
    [waited] = client.spans.named("breaker.wait")
    assert attributes(waited) == {SERVER_ADDRESS: "ads.invalid", WAIT_REASON: "circuit breaker", WAIT_UNTIL: said}


async def test_a_sign_in_passes_the_breaker_too() -> None:
    host = Host()
    client = Client(host)
    await host.is_down_for("acme", "globex")
    await client.send(Kind.SIGN_IN)
    assert host.sent == [(5, "acme")]
    assert not host.breaker.holds("globex")


async def test_a_tenant_without_quota_does_not_keep_the_others_from_probing() -> None:
    host = Host()
    poor, rich = Client(host, "acme", permits=1), Client(host, "globex")
    await poor.send()
    host.sent.clear()
    await host.is_down_for("acme", "globex")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(poor.send)
        tasks.start_soon(rich.send)
        await anyio.sleep(10)
        assert host.sent == [(5, "globex")]
    assert [client_id for _, client_id in host.sent] == ["globex", "acme"]


async def test_a_request_whose_permit_comes_when_the_host_is_down_gives_it_back_and_waits() -> None:
    host = Host()
    client = Client(host, permits=1)
    await client.send()
    await anyio.sleep(45)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.send)
        await host.is_down_for("acme", "globex")
        probe_at = 5
        passage = None
        while passage is None:  # somebody else probes, for long
            await anyio.sleep(0.1)
            passage = host.breaker.enter("globex")
        await anyio.sleep(10)
        assert (client.gate.free, len(host.sent)) == (1, 1)
        with passage:
            pass
    assert len(host.sent) == 2
    assert probe_at < host.sent[-1][0] < 20


@pytest.mark.parametrize("status", [500, 503])
async def test_a_host_that_answers_5xx_to_all_is_left_alone_and_one_that_refuses_is_not(status: int) -> None:
    host = Host()
    clients = [Client(host, name, permits=1000) for name in ("acme", "globex")]
    for answer, sent in ((404, 240), (status, 22)):
        host.status, host.start = answer, anyio.current_time()
        host.sent.clear()
        with anyio.move_on_after(119.5):
            async with anyio.create_task_group() as tasks:
                for client in clients:
                    tasks.start_soon(each_second, client)
        assert len([at for at, _ in host.sent if at <= 120]) == pytest.approx(sent, abs=8)


async def each_second(client: Client) -> None:
    while True:
        await client.send()
        await anyio.sleep(1)


async def test_a_stop_ends_the_wait() -> None:
    host = Host()
    client = Client(host)
    await host.is_down_for("acme", "globex")

    async def wait() -> None:
        with pytest.raises(Stopping):
            await client.send()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.sleep(1)
        host.breaker.stop()
    assert host.sent == []


async def test_what_was_waited_for_at_the_end_of_the_run_s_time_is_known_afterwards() -> None:
    host = Host()
    client = Client(host)
    await host.is_down_for("acme", "globex")
    with anyio.move_on_after(3):
        await client.send()
    assert not client.tally.ongoing
    assert client.tally.cut_short
    assert client.tally.cut_short.reason is WaitReason.BREAKER
