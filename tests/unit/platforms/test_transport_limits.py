"""The transport obeys what answers say of limits: 429s, stated waits, counts that are left."""

from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from itertools import pairwise

import anyio
import httpx
import pytest

from adsyncd.rate.dialect import STANDARD, Rule
from support.gates import at_once
from support.governed import MIB, PLATFORM, Body, Parts, answering
from support.virtual_time import VirtualClock


def date(after_s: float) -> str:
    return format_datetime(VirtualClock().now() + timedelta(seconds=after_s), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"retry-after": "90"}, b""),
        ({}, b'{"error": "slow down", "retry_after": 90}'),
        ({"retry-after": "90", "content-encoding": "gzip"}, b"\x1f\x8b not for us"),
    ],
)
async def test_a_429_closes_the_gate_for_the_time_that_it_states(headers: dict[str, str], body: bytes) -> None:
    parts = Parts(answering(429, after_s=1, headers=headers, stream=Body(body)))
    assert await parts.refused() == "the platform answered 429, next request in 90 s"
    assert await parts.sent_once_more() == pytest.approx([0, 91])


@pytest.mark.parametrize("skew_s", [-86400, 0, 86400, None])
async def test_a_429_may_state_a_date_by_its_own_clock_or_by_ours_if_it_has_none(skew_s: float | None) -> None:
    await anyio.sleep(1 - anyio.current_time() % 1)
    headers = {"retry-after": date((skew_s or 0) + 90)} | ({} if skew_s is None else {"date": date(skew_s)})
    parts = Parts(answering(429, headers=headers))
    await parts.refused()
    assert await parts.sent_once_more() == pytest.approx([0, 90])


@pytest.mark.parametrize(
    "body",
    [
        *(Body(httpx.ReadError("")), Body(b"x", pause_s=1e6), Body(b"x" * MIB, endless=True)),
        *(Body(b"[" * 100_000), Body(b"\xff")),
    ],
)
async def test_a_429_holds_even_if_its_body_can_not_be_read(body: Body) -> None:
    parts = Parts(answering(429, headers={"retry-after": "90"}, stream=body))
    await parts.refused()
    assert parts.tally.refused == 1
    told_at = parts.now
    assert await parts.sent_once_more() == pytest.approx([0, told_at + 90])


async def test_any_other_no_holds_without_its_body_too() -> None:
    parts = Parts(answering(503, headers={"retry-after": "7"}, stream=Body(httpx.ReadError(""))))
    answer = await parts.send()
    assert (answer.status_code, answer.headers["retry-after"], answer.content) == (503, "7", b"")


async def test_a_429_stays_charged() -> None:
    parts = Parts(answering(429, headers={"retry-after": "1"}), permits=1)
    await parts.refused()
    assert (parts.gate.free, parts.held) == (0, 0)
    assert await parts.sent_once_more() == pytest.approx([0, parts.cools_for])


async def test_429s_that_state_no_time_close_the_gate_for_longer_and_longer_up_to_about_a_minute() -> None:
    parts = Parts(answering(429), permits=1000)
    for _ in range(10):
        await parts.refused()
    waits = [after - before for before, after in pairwise(parts.sent_at)]
    for wait, doubled in zip(waits, [2, 4, 8, 16, 32, 64, 64, 64, 64], strict=True):
        assert doubled <= wait <= doubled * 1.1


@pytest.mark.parametrize(("unmetered", "next_s"), [(False, 2), (True, 16)], ids=["listing", "sign-in"])
async def test_an_answer_that_is_no_429_ends_the_row_unless_to_a_sign_in(unmetered: bool, next_s: float) -> None:
    parts = Parts(answering(429))
    for _ in range(3):
        await parts.refused()
    parts.handler = answering(200)
    await parts.send(unmetered=unmetered)
    parts.handler = answering(429)
    await parts.refused()
    await parts.refused()
    assert next_s <= parts.sent_at[-1] - parts.sent_at[-2] <= next_s * 1.1


async def test_requests_that_are_refused_together_make_one_refusal_of_the_row() -> None:
    parts = Parts(answering(429, after_s=0.1))
    await at_once(6, parts.refused)
    assert parts.tally.refused == 6
    assert 2 <= (await parts.sent_once_more())[-1] - 0.1 <= 2.2


async def test_a_thousand_429s_in_a_row_break_nothing() -> None:
    parts = Parts(answering(429))
    parts.transport._refusals = 1100  # 2.0**1100 overflows
    await parts.refused()
    assert parts.tally.refused == 1


@pytest.mark.parametrize("stated", ["315360000", "1e300", "9" * 400])
async def test_an_absurd_wait_is_cut_to_an_hour(stated: str) -> None:
    parts = Parts(answering(429, headers={"retry-after": stated}, json={"retry_after": 1e9}))
    assert await parts.refused() == "the platform answered 429, next request in 3600 s"
    assert await parts.sent_once_more() == pytest.approx([0, 3600])


async def test_what_an_answer_says_of_limits_holds_whether_it_is_a_success_or_not() -> None:
    for status in (200, 503, 404):
        parts = Parts(
            answering(status, headers={"ratelimit": '"default";r=2;t=30', "ratelimit-policy": '"default";q=9'})
        )
        await parts.send()
        parts.handler = answering(200)
        await at_once(3, parts.send)
        assert parts.sent_at == [0, 0, 0, pytest.approx(30)], status


async def test_a_platform_s_own_way_to_refuse_is_taken_for_a_429() -> None:
    dialect = replace(STANDARD, throttling=(Rule(status=400, path="error.code", values=(17,)),))
    platform = replace(PLATFORM, profile=replace(PLATFORM.profile, dialect=dialect))
    parts = Parts(answering(400, json={"error": {"code": 17}, "retry_after": 90}), platform=platform)
    assert await parts.refused() == "the platform answered 400, next request in 90 s"
    parts.handler = answering(400, json={"error": {"code": 100}})
    assert (await parts.send()).status_code == 400
    assert parts.now == pytest.approx(90)


async def test_nothing_is_sent_before_the_time_that_a_failure_states_up_to_five_minutes() -> None:
    for stated, waits_s in (("90", 90), ("315360000", 300)):
        parts = Parts(answering(503, headers={"retry-after": stated}))
        await parts.send()
        parts.handler = answering(200)
        await at_once(3, parts.send)
        assert parts.sent_at == [0, *[pytest.approx(waits_s)] * 3]
