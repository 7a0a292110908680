"""Runs' requests at a mock platform over real connections: healthy, sick, and short of file descriptors."""

import itertools
import threading
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from unittest.mock import Mock

import anyio
import anyio.lowlevel
import pytest

from adsyncd.errors import BadAnswer, PlatformError, Rejected, SignInRefused, Unavailable, Unconfirmed
from adsyncd.platforms.reading import Listed, Reader
from adsyncd.rate.wait import WaitReason
from support.connected import QUOTA, Account, Connected, connected
from support.descriptors import exhausted
from support.platform import HEALTHY, Platform, accounts, running_platform


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
        again, changed = [await client.page(page.number, known=page) for page in known]
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
        ("malformed", BadAnswer, "not JSON, or not all of it"),
        ("html", BadAnswer, "the platform's answer is not what its API promises: an HTML page"),
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

    read = Reader.read

    def noted(reader: Reader, body: bytes, number: int, data: object = None) -> Listed:
        threads.append(threading.get_ident())
        return read(reader, body, number, data)

    monkeypatch.setattr(Reader, "read", noted)
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


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_process_without_file_descriptors_waits_for_them_and_neither_attempt_nor_quota_nor_breaker_pays(
    platform: Platform, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = await new_client_id(platform, campaigns=1)
    base_url = platform.base_url.replace("127.0.0.1", host)
    async with connected(base_url, client_id=id_, max_attempts=1) as run, anyio.create_task_group() as tasks:
        send = Mock(wraps=run.client._http.send)
        monkeypatch.setattr(run.client._http, "send", send)
        with exhausted():
            tasks.start_soon(run.client.page, 1)
            tasks.start_soon(run.client.push, "cmp-0001", "key")
            with anyio.fail_after(10):
                wait = await run.waits_for(WaitReason.RESOURCES)
            assert "no file descriptor left; raise LimitNOFILE=" in str(wait)
            sent = send.call_count
            await anyio.sleep(1.5)  # longer than the first wait
            assert send.call_count == sent  # a look-up that fails now may be heard of when there are descriptors again
            assert run.gate.free == QUOTA.requests
    assert (await accepted(platform, id_), run.tally.requests) == (2, 2)
    assert run.client._shared.open_breakers == []
    assert not any(run.client._shared._breaker(base_url)._circuit._in_a_row.values())
