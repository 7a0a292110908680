import itertools
import socket
import ssl
import threading
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trustme
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer
from pydantic import SecretStr

from adsyncd.clock import SystemClock
from adsyncd.credentials import Credentials
from adsyncd.errors import BadAnswer, PlatformError, Rejected, SignInRefused, Unavailable, Unconfirmed
from adsyncd.model.campaign import Page
from adsyncd.model.run import Tally, Wait
from adsyncd.model.tenant import CredentialsRef
from adsyncd.platforms import Connector, PlatformClient, reading
from adsyncd.platforms.reading import read_page
from adsyncd.rate import Gate
from adsyncd.rate.quota import Quota
from adsyncd.rate.retry import RetryBudget
from adsyncd.rate.wait import WaitReason
from adsyncd.telemetry.instruments import Instruments
from support.descriptors import exhausted
from support.gates import a_gate
from support.platform import HEALTHY, Platform, accounts, running_platform
from support.tenants import a_tenant

QUOTA = Quota(20, timedelta(seconds=1))


class Hasty(Random):
    """Draws the least that it may, so that nobody has to wait for a backoff."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - a generator's signature
        return a


class Account:
    """The source of a tenant's credentials: those of an account that `accounts` makes."""

    def __init__(self, name: str, password: str | None = None) -> None:
        self.credentials = Credentials(f"{name}@example.com", SecretStr(password or f"pw-{name}"))

    async def read(self, ref: CredentialsRef) -> Credentials:  # noqa: ARG002 - a source's signature
        return self.credentials

    def newest(self, ref: CredentialsRef, until: float) -> int | None:  # noqa: ARG002 - a source's signature
        return None


@dataclass
class Connected:
    client: PlatformClient
    tally: Tally
    gate: Gate

    async def waits_for(self, reason: WaitReason) -> Wait:
        """Return the wait once one for that reason is under way."""
        while True:
            for wait in self.tally.waits.values():
                if wait.reason is reason:
                    return wait
            await anyio.lowlevel.checkpoint()

    async def failed(self) -> PlatformError:
        """List in vain, and return the error."""
        with pytest.raises(PlatformError) as error:
            await self.client.page(1)
        return error.value


@asynccontextmanager
async def connected(
    base_url: str, *, account: Account | None = None, tls: ssl.SSLContext | None = None, **tenant_changes: object
) -> AsyncIterator[Connected]:
    """A client as a run has it, with real connections and the real time."""
    clock = SystemClock()
    connector = Connector(
        tls=tls or ssl.create_default_context(),
        clock=clock,
        random=Hasty(),
        tracer=NoOpTracer(),
        instruments=Instruments(NoOpMeter("test")),
        traced=lambda inner: inner,
    )
    tenant = a_tenant(**{"quota": QUOTA, "base_url": base_url, **tenant_changes})
    tally, gate = Tally(), a_gate(tenant.quota, clock)
    session = connector.session(tenant, account or Account(tenant.client_id))
    budget = RetryBudget(clock.monotonic())
    async with connector.client(tenant, session, gate, tally, budget=budget) as client:
        yield Connected(client, tally, gate)


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[Platform]:
    """A platform that is healthy, with the quota that the clients keep to. Each test has client ids of its own."""
    quota = {"quota_requests": QUOTA.requests, "quota_window_s": QUOTA.per.total_seconds()}
    async with running_platform({"everyone": {**HEALTHY, **quota}, "seed": 7}) as platform:
        yield platform


_numbers = itertools.count()


async def new_client_id(platform: Platform, **behaviour: object) -> str:
    """Return a client id of its own account that the platform treats as `behaviour` says."""
    id_ = f"client-{next(_numbers)}"
    await platform.change(accounts=accounts(id_), clients={id_: behaviour})
    return id_


async def accepted(platform: Platform, client_id: str) -> int:
    """How many requests of a client id the platform accepted, having refused none."""
    page = await platform.ledger(client_id)
    assert page["refused"] == 0
    count: int = page["accepted"]
    return count


async def list_and_push(connected: Connected) -> set[str]:
    """Do what a run does, and return the ids that were pushed."""
    ids: set[str] = set()
    number, has_more = 1, True
    while has_more:
        page = await connected.client.page(number)
        ids.update(campaign.id for campaign in page.campaigns)
        number, has_more = number + 1, page.has_more
    async with anyio.create_task_group() as tasks:
        for id_ in ids:
            tasks.start_soon(push, connected, id_)
    return ids


async def push(connected: Connected, campaign_id: str) -> None:
    """Push a campaign; the receipt may be unreadable, which is no reason to push it again."""
    with suppress(Unconfirmed):
        await connected.client.push(campaign_id, f"key-{campaign_id}")


@pytest.mark.parametrize("fault", ["none", "503", "drop", "malformed", "hang"])
async def test_through_any_fault_all_is_listed_and_pushed_once_and_within_the_quota(
    platform: Platform, fault: str
) -> None:
    rates = {} if fault == "none" else {f"list_{fault}": 0.4, f"push_{fault}": 0.4}
    id_ = await new_client_id(platform, campaigns=12, **rates)
    timeout = timedelta(seconds=0.4 if fault == "hang" else 10)
    async with connected(platform.base_url, client_id=id_, page_size=4, max_attempts=20, timeout=timeout) as run:
        pushed = await list_and_push(run)
    page = await platform.ledger(id_)
    assert len(pushed) == 12
    assert page["effects"] == {campaign_id: {f"key-{campaign_id}": 1} for campaign_id in pushed}
    assert (page["refused"], page["tokens_issued"]) == (0, 1)
    assert run.tally.requests == 3 + 12 + run.tally.retries
    lost = run.tally.requests - page["accepted"]
    assert lost == 0 or (fault == "hang" and lost > 0)  # on a busy machine some are given up before they arrive
    assert (run.tally.retries > 0) == (fault != "none") or fault == "malformed"
    assert run.gate.limiter.held == 0


@pytest.mark.parametrize("retry_after", ["seconds", "date", "body", "absent"])
async def test_a_quota_smaller_than_was_thought_costs_429s_and_no_campaign(
    platform: Platform, retry_after: str
) -> None:
    id_ = await new_client_id(platform, campaigns=6, quota_requests=5, quota_window_s=1, retry_after=retry_after)
    async with connected(platform.base_url, client_id=id_, max_attempts=1) as run:
        pushed = await list_and_push(run)
    page = await platform.ledger(id_)
    assert page["effects"] == {campaign_id: {f"key-{campaign_id}": 1} for campaign_id in pushed}
    assert page["refused"] == run.tally.refused > 0


async def test_a_page_that_has_not_changed_is_not_sent_again_and_one_that_has_is(platform: Platform) -> None:
    client_id = await new_client_id(platform, campaigns=15, etag=True)
    async with connected(platform.base_url, client_id=client_id) as connected_:
        client = connected_.client
        first, second = known = [await client.page(number) for number in (1, 2)]
        assert first.etag is not None
        assert first.etag != second.etag
        await platform.change(clients={client_id: {"revisions": {"cmp-0015": 1}}})
        again, changed = [await client.page(page.number, page) for page in known]
    assert again is first
    assert (changed.total, changed.campaigns[:-1]) == (15, second.campaigns[:-1])
    assert changed.campaigns[-1] != second.campaigns[-1]
    assert changed.etag not in {second.etag, None}
    assert await accepted(platform, client_id) == 4  # what has not changed is metered, too


async def test_a_token_that_is_revoked_is_replaced_for_all_by_one_sign_in(platform: Platform) -> None:
    id_ = await new_client_id(platform, campaigns=5, push_latency_s=0.1)
    async with connected(platform.base_url, client_id=id_) as run:
        await run.client.page(1)
        await platform.change(accounts={f"{id_}@example.com": {"generation": 1}})
        await list_and_push(run)
    assert (await platform.ledger(id_))["tokens_issued"] == 2
    assert await accepted(platform, id_) == 7


async def test_another_account_s_client_id_is_refused_in_clear_words(platform: Platform) -> None:
    own, other = await new_client_id(platform), await new_client_id(platform)
    async with connected(platform.base_url, client_id=other, account=Account(own)) as run:
        error = await run.failed()
    assert isinstance(error, Rejected)
    assert str(error) == "the platform answered 403: Forbidden this account may not act for this client id"
    assert await accepted(platform, other) == 0


async def test_a_wrong_password_is_told_as_that_and_asks_for_no_campaign(platform: Platform) -> None:
    id_ = await new_client_id(platform)
    async with connected(platform.base_url, client_id=id_, account=Account(id_, "canary")) as run:
        error = await run.failed()
    assert isinstance(error, SignInRefused)
    assert "canary" not in str(error)
    assert (await accepted(platform, id_), run.tally.requests) == (0, 0)


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("503", Unavailable, "the platform answered 503"),
        ("hang", Unavailable, " did not answer within 0.5 s"),
        ("drop", (Unavailable, BadAnswer), "127.0.0.1"),
        ("malformed", BadAnswer, "not JSON, or only a part of it"),
        ("html", BadAnswer, "the platform's answer is not what its API promises: a page"),
        ("redirect", BadAnswer, "a redirect to redirected.invalid, which is not followed"),
        ("wrong-types", BadAnswer, "data: should be a list"),
        ("huge", BadAnswer, "larger than 2 MiB"),
    ],
)
async def test_a_platform_that_is_sick_all_the_time_is_told_with_its_sickness(
    platform: Platform, fault: str, error: type[PlatformError], said: str
) -> None:
    id_ = await new_client_id(platform, fault=fault)
    timeout = timedelta(seconds=0.5 if fault == "hang" else 10)
    async with connected(platform.base_url, client_id=id_, max_attempts=2, timeout=timeout) as run:
        failure = await run.failed()
        assert isinstance(failure, error)
        assert said in str(failure)
        assert failure.attempts == 2
        assert await accepted(platform, id_) == run.tally.requests == 2
        await platform.change(clients={id_: {"fault": "none"}})
        assert (await run.client.page(1)).campaigns  # the connections are in order


@pytest.mark.parametrize(("campaigns", "in_a_thread"), [(10, False), (1000, True)])
async def test_a_large_page_is_read_in_a_thread_and_a_small_one_on_the_loop_s_own(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, campaigns: int, *, in_a_thread: bool
) -> None:
    threads: list[int] = []

    def noted(body: bytes, number: int) -> Page:
        threads.append(threading.get_ident())
        return read_page(body, number)

    monkeypatch.setattr(reading, "read_page", noted)
    id_ = await new_client_id(platform, campaigns=campaigns, page_size=campaigns)
    async with connected(platform.base_url, client_id=id_) as run:
        assert len((await run.client.page(1)).campaigns) == campaigns
    assert [thread != threading.get_ident() for thread in threads] == [in_a_thread]


async def test_a_hundred_megabytes_are_not_kept(platform: Platform) -> None:
    id_ = await new_client_id(platform, fault="huge")
    async with connected(platform.base_url, client_id=id_, max_attempts=1) as run:
        tracemalloc.start()
        try:
            await run.failed()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 24 * 2**20


async def test_requests_that_are_given_up_cost_no_connection_for_good(platform: Platform) -> None:
    id_ = await new_client_id(platform, list_latency_s=60)
    timeout = timedelta(seconds=0.1)
    async with connected(platform.base_url, client_id=id_, concurrency=2, max_attempts=9, timeout=timeout) as run:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(run.failed)
            await anyio.sleep(0.05)
            tasks.start_soon(run.failed)
            tasks.cancel_scope.cancel()
        assert run.gate.limiter.held == 0
        await run.failed()
        await platform.change(clients={id_: {"list_latency_s": 0}})
        for _ in range(3):
            await run.client.page(1)


# Nobody there


async def test_a_name_that_does_not_exist_is_told_and_counts_as_no_request() -> None:
    async with connected("http://nowhere.invalid", max_attempts=2) as run:
        error = await run.failed()
    assert isinstance(error, Unavailable)
    assert str(error).startswith("no connection to nowhere.invalid")
    assert (error.attempts, run.tally.requests, run.gate.free) == (2, 0, QUOTA.requests)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_process_without_file_descriptors_waits_for_them_and_neither_attempt_nor_quota_nor_breaker_pays(
    platform: Platform, host: str
) -> None:
    id_ = await new_client_id(platform, campaigns=1)
    base_url = platform.base_url.replace("127.0.0.1", host)
    async with connected(base_url, client_id=id_, max_attempts=1) as run, anyio.create_task_group() as tasks:
        with exhausted():
            tasks.start_soon(run.client.page, 1)
            tasks.start_soon(run.client.push, "cmp-0001", "key")
            with anyio.fail_after(10):
                wait = await run.waits_for(WaitReason.RESOURCES)
            assert "no file descriptor left; raise LimitNOFILE=" in str(wait)
            await anyio.sleep(0.2)  # in which it is tried again and again
            assert run.gate.free == QUOTA.requests
    assert (await accepted(platform, id_), run.tally.requests) == (2, 2)
    assert run.client._shared.open_breakers == []
    assert not any(run.client._shared._breaker(base_url)._circuit._in_a_row.values())


async def test_a_refused_connection_is_told_and_takes_nothing_of_the_quota_however_often() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with connected(base_url, max_attempts=20, quota=Quota(1, timedelta(hours=1))) as run:
            error = await run.failed()
    assert isinstance(error, Unavailable)
    assert str(error).startswith(f"no connection to {base_url.removeprefix('http://')}: ")
    assert (error.attempts, run.tally.requests, run.gate.free) == (20, 0, 1)


# TLS


def certificate(folder: Path, host: str = "127.0.0.1", **validity: Any) -> tuple[ssl.SSLContext, tuple[str, ...]]:  # noqa: ANN401 - of `issue_cert`
    """A context that trusts a private CA, and the options of a platform with a certificate from it."""
    authority = trustme.CA()
    issued = authority.issue_cert(host, **validity)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting, ("--certfile", str(folder / "cert.pem"), "--keyfile", str(folder / "key.pem"))


SETTINGS = {"accounts": accounts("acme"), "everyone": HEALTHY}


async def test_a_certificate_of_a_private_ca_is_trusted_by_who_is_told_to(tmp_path: Path) -> None:
    trusting, options = certificate(tmp_path)
    async with running_platform(SETTINGS, *options) as platform:
        async with connected(platform.base_url, tls=trusting) as run:
            assert (await run.client.page(1)).total == 100
        async with connected(platform.base_url, max_attempts=1) as run:
            error = await run.failed()
            assert isinstance(error, Unavailable)
            assert "certificate verify failed" in str(error)
            assert run.tally.requests == 0


async def test_an_expired_certificate_is_told_as_that(tmp_path: Path) -> None:
    now, day = SystemClock().now(), timedelta(days=1)
    trusting, options = certificate(tmp_path, not_before=now - 2 * day, not_after=now - day)
    async with (
        running_platform(SETTINGS, *options) as platform,
        connected(platform.base_url, tls=trusting, max_attempts=1) as run,
    ):
        assert "certificate has expired" in str(await run.failed())


async def test_a_certificate_of_another_host_is_told_as_that(tmp_path: Path) -> None:
    trusting, options = certificate(tmp_path, host="elsewhere.invalid")
    async with (
        running_platform(SETTINGS, *options) as platform,
        connected(platform.base_url, tls=trusting, max_attempts=1) as run,
    ):
        assert "certificate is not valid for '127.0.0.1'" in str(await run.failed())


async def test_plain_http_where_tls_is_spoken_and_tls_where_it_is_not_are_told(
    platform: Platform, tmp_path: Path
) -> None:
    async with connected(platform.base_url.replace("http:", "https:"), max_attempts=1) as run:
        assert "no connection to 127.0.0.1:" in str(await run.failed())
    _, options = certificate(tmp_path)
    async with (
        running_platform(SETTINGS, *options) as secure,
        connected(secure.base_url.replace("https:", "http:"), max_attempts=1) as run,
    ):
        assert "127.0.0.1" in str(await run.failed())


# Peers that speak as they please


@asynccontextmanager
async def peer(speak: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A server that hands each connection to `speak`; its port."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            try:
                await speak(stream)
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                return

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 200_000,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Later\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff\xfe=;;;=\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_no_answer_makes_anything_but_an_error_of_the_platform_s(answer: bytes) -> None:
    async def speak(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(answer)

    async with (
        peer(speak) as port,
        connected(f"http://127.0.0.1:{port}", max_attempts=2, timeout=timedelta(seconds=2)) as run,
    ):
        assert isinstance(await run.failed(), Unavailable | BadAnswer)


async def test_an_answer_that_drips_is_given_up_at_the_deadline_of_the_whole() -> None:
    async def speak(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await stream.send(b"x")
            await anyio.sleep(0.02)

    async with (
        peer(speak) as port,
        connected(f"http://127.0.0.1:{port}", max_attempts=1, timeout=timedelta(seconds=0.3)) as run,
    ):
        with anyio.fail_after(30):
            assert "did not answer within 0.3 s" in str(await run.failed())


async def test_a_peer_that_falls_out_of_tls_makes_a_bad_answer(tmp_path: Path) -> None:
    trusting, _ = certificate(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def speak(stream: SocketStream) -> None:
        secure = await TLSStream.wrap(stream, server_side=True, ssl_context=server)
        await secure.receive()
        await stream.send(b"this is no record of TLS")

    async with peer(speak) as port, connected(f"https://127.0.0.1:{port}", tls=trusting, max_attempts=1) as run:
        assert isinstance(await run.failed(), BadAnswer)


async def test_a_peer_that_is_silent_while_tls_is_set_up_is_no_connection_and_no_request() -> None:
    async def speak(stream: SocketStream) -> None:
        while True:
            await stream.receive()

    async with (
        peer(speak) as port,
        connected(f"https://127.0.0.1:{port}", max_attempts=1, timeout=timedelta(seconds=0.4)) as run,
    ):
        assert str(await run.failed()) == f"no connection to 127.0.0.1:{port} within 0.2 s"
        assert (run.tally.requests, run.gate.free) == (0, QUOTA.requests)
