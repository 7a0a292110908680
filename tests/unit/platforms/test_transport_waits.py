"""A request's wait for quota: how it shows, what ends it, and which wait is not begun."""

from datetime import timedelta

import anyio
import pytest

from adsyncd.errors import Stopping, WaitTooLong
from support.gates import at_once
from support.governed import Parts, answering
from support.virtual_time import START, VirtualClock


async def test_a_request_that_waited_alone_has_a_span_of_waiting_that_says_for_what_and_until_when() -> None:
    parts = Parts(permits=2)
    await at_once(2, parts.send)
    assert parts.spans.all() == ()
    await parts.send()
    (span,) = parts.spans.all()
    assert (span.start_time or 0) <= (span.end_time or 0)
    until = (START + timedelta(seconds=parts.start + parts.cools_for)).isoformat(timespec="milliseconds")
    expected = {"adsyncd.wait.reason": "quota", "adsyncd.wait.until": until}
    assert (span.name, dict(span.attributes or {})) == ("quota.wait", expected)


async def test_the_waited_time_is_that_in_which_at_least_one_request_waited() -> None:
    parts = Parts(permits=2)
    async with anyio.create_task_group() as tasks:
        for pause_s in (0, 0, 20, 20):  # two are sent; two wait side by side
            await anyio.sleep(pause_s)
            tasks.start_soon(parts.send)
    assert parts.tally.waited_s == pytest.approx(parts.cools_for - 20)
    await anyio.sleep(1000)
    await parts.send()
    assert parts.tally.waited_s == pytest.approx(parts.cools_for - 20)
    await parts.send()
    await parts.send()
    assert parts.tally.waited_s == pytest.approx(2 * parts.cools_for - 20)


async def test_the_waited_time_grows_while_others_still_wait() -> None:
    parts = Parts(permits=1)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(parts.send)
        await anyio.sleep(parts.cools_for + 1)  # the second has left, the third waits
        assert parts.tally.waited_s == pytest.approx(parts.cools_for)
    assert parts.tally.waited_s == pytest.approx(2 * parts.cools_for)


async def test_until_when_the_run_waits_is_told_while_it_waits_and_is_known() -> None:
    parts = Parts(answering(200, after_s=5), permits=1)
    told = []
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(parts.send)
        for at in (1, 6, 61, 66, 71, 126, 131, 136):
            await anyio.sleep(at - parts.now)
            wait = parts.tally.wait(VirtualClock().now())
            until = wait and wait.until
            told.append(until and parts.now + (until - VirtualClock().now()).total_seconds())
    first, second = pytest.approx(5 + parts.cools_for), pytest.approx(10 + 2 * parts.cools_for)
    assert told == [None, first, first, None, second, second, None, None]  # none while a request has the permit


async def test_a_wait_beyond_the_end_of_the_run_is_not_begun_by_anyone_in_the_line() -> None:
    parts = Parts(answering(429, headers={"retry-after": "315360000"}))
    told: list[str] = []

    async def request() -> None:
        with pytest.raises(WaitTooLong) as refused:
            await parts.send()
        told.append(str(refused.value))

    with anyio.fail_after(1800):
        await parts.refused()
        await at_once(5, request)
    assert parts.now == 0
    assert len(told) == 5
    assert all(text.startswith("the platform asked for no requests for another 3600 s") for text in told)
    assert (parts.tally.ongoing, parts.tally.waited_s) == ({}, 0)


async def test_a_quota_that_outlasts_the_run_is_told_as_that() -> None:
    parts = Parts(permits=1)
    with anyio.fail_after(30):
        await parts.send()
        with pytest.raises(WaitTooLong, match="the quota is used up for another 60 s"):
            await parts.send()
    assert parts.now == 0


async def test_a_wait_that_ends_before_the_run_does_is_waited() -> None:
    parts = Parts(permits=1)
    with anyio.fail_after(parts.cools_for + 1):
        await parts.send()
        await parts.send()


async def test_a_stopped_gate_turns_waiting_requests_away_at_once_and_lets_others_finish() -> None:
    parts = Parts(answering(200, after_s=5), permits=1)
    finished, turned_away = [], []

    async def waiting() -> None:
        with pytest.raises(Stopping):
            await parts.send()
        turned_away.append(parts.now)

    async def sent() -> None:
        finished.append((await parts.send()).status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sent)
        await anyio.sleep(1)
        tasks.start_soon(waiting)
        tasks.start_soon(waiting)
        await anyio.sleep(1)
        parts.gate.stop()
    assert (finished, turned_away) == ([200], [2, 2])
