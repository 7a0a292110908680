from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import TaskGroup
from structlog.testing import capture_logs

from adsyncd.errors import BadAnswer, PlatformError, Rejected, Stopping, Throttled, Unavailable
from adsyncd.rate.breaker import Breaker, Passage
from support.gates import Middle
from support.virtual_time import VirtualClock


class Host:
    """A platform's host that is down until it is not, a breaker in front of it, and tenants that ask it in a loop."""

    def __init__(self) -> None:
        self.up = False
        self.takes_s = 0.1
        self.asked: list[tuple[float, str]] = []
        self.changes: list[bool] = []
        self.breaker = Breaker("ads.invalid", VirtualClock(), Middle(), self.changed)
        self.start = anyio.current_time()

    def changed(self) -> None:
        self.changes.append(self.breaker.is_open)

    async def ask(self, client_id: str) -> None:
        await self.breaker.wait(client_id, lambda _: None)
        passage = self.breaker.enter(client_id)
        if passage is None:
            await self.ask(client_id)
            return
        with passage:
            self.asked.append((anyio.current_time() - self.start, client_id))
            await anyio.sleep(self.takes_s)
            if not self.up:
                raise Unavailable("no connection")

    async def ask_on(self, client_id: str) -> None:
        """Ask until it answers."""
        while True:
            try:
                await self.ask(client_id)
            except Unavailable:
                await anyio.sleep(0.9)
            else:
                return

    def asked_after(self, instant: float) -> list[float]:
        return [round(at) for at, _ in self.asked if at > instant]


@asynccontextmanager
async def asking(host: Host, *client_ids: str) -> AsyncIterator[TaskGroup]:
    """Let tenants ask until the block is left, on which it is cancelled."""
    async with anyio.create_task_group() as tasks:
        for client_id in client_ids:
            tasks.start_soon(host.ask_on, client_id)
        yield tasks
        tasks.cancel_scope.cancel()


async def test_a_host_that_answers_nobody_is_asked_by_single_probes_at_growing_intervals() -> None:
    host = Host()
    async with asking(host, "acme", "globex", "initech"):
        await anyio.sleep(400)
    assert host.asked_after(11) == pytest.approx([15, 25, 45, 86, 146, 206, 267, 328, 388], abs=2)
    assert {client_id for _, client_id in host.asked[-3:]} == {"acme", "globex", "initech"}


async def test_all_go_on_at_the_first_answer() -> None:
    host = Host()
    async with asking(host, *"abcdefgh"):
        await anyio.sleep(20)
        host.up = True
        sent = len(host.asked)
        await anyio.sleep(6)
        assert host.asked_after(20) == [25] * 8
    assert {client_id for _, client_id in host.asked[sent:]} == set("abcdefgh")


async def test_a_tenant_that_is_answered_is_never_held_and_lets_the_others_go_on() -> None:
    host = Host()
    async with asking(host, "acme", "globex"):
        await anyio.sleep(21)
        assert host.breaker.holds("acme")
        host.up = True
        with anyio.fail_after(host.takes_s + 0.01):
            await host.ask("well")
        assert not host.breaker.holds("acme")


@pytest.mark.parametrize("error", [None, BadAnswer("html"), Rejected("404", 404), Throttled("429")])
async def test_any_answer_proves_that_the_host_lives(error: PlatformError | None) -> None:
    host = Host()
    async with asking(host, "acme", "globex"):
        await anyio.sleep(12)
    passage = host.breaker.enter("well")
    assert passage
    try:
        with passage:
            if error:
                raise error
    except PlatformError:
        pass
    assert not host.breaker.holds("acme")


async def test_an_answer_that_says_it_can_not_is_a_failure() -> None:
    host = Host()
    began = VirtualClock().now()
    for _ in range(11):
        passage = host.breaker.enter("acme")
        assert passage
        with passage:
            passage.failed("the platform answered 503")
        await anyio.sleep(1)
    assert host.breaker.holds("acme")
    assert host.breaker.trouble == (
        f"ads.invalid: nothing but failures since {began:%H:%M:%S} UTC, the last one: the platform answered 503"
    )


async def test_a_probe_that_is_cancelled_hands_its_right_on_at_once() -> None:
    host = Host()
    async with asking(host, "acme", "globex"):
        await anyio.sleep(12)
    host.takes_s = 20
    async with anyio.create_task_group() as tasks, anyio.create_task_group() as cancelled:
        cancelled.start_soon(host.ask, "acme")
        await anyio.sleep(4)
        assert host.asked_after(12) == [15]
        host.up = True
        tasks.start_soon(host.ask, "globex")
        await anyio.sleep(3)
        assert host.asked_after(12) == [15]
        cancelled.cancel_scope.cancel()
    assert host.asked_after(12) == [15, 19]


async def test_who_is_about_to_leave_while_another_probes_has_to_wait_after_all() -> None:
    host = Host()
    async with asking(host, "acme", "globex"):
        await anyio.sleep(12)
    await anyio.sleep(10)
    probe = host.breaker.enter("acme")
    assert isinstance(probe, Passage)
    assert host.breaker.enter("globex") is None
    with probe:
        pass
    assert host.breaker.enter("globex")


async def test_who_waits_is_told_for_how_long_and_turned_away_at_a_stop() -> None:
    host = Host()
    async with asking(host, "acme", "globex"):
        await anyio.sleep(12)
    told: list[float] = []

    async def wait() -> None:
        with pytest.raises(Stopping):
            await host.breaker.wait("acme", told.append)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.sleep(1)
        host.breaker.stop()
    assert told == pytest.approx([15 - 12], abs=0.2)
    assert anyio.current_time() - host.start == pytest.approx(13)
    await host.breaker.wait("well", told.append)


async def test_it_says_when_it_opens_and_closes_and_nothing_in_between() -> None:
    host = Host()
    with capture_logs() as logged:
        async with asking(host, "acme", "globex"):
            await anyio.sleep(100)
            assert host.changes == [True]
            host.up = True
            await anyio.sleep(100)
            assert host.changes == [True, False]
    assert [(entry["log_level"], entry["event"]) for entry in logged] == [
        ("warning", "circuit breaker opened, the platform answers nobody"),
        ("info", "circuit breaker closed, the platform answers again"),
    ]
    assert logged[0]["error"] == "no connection"
    assert (logged[1]["host"], logged[1]["down_s"]) == ("ads.invalid", pytest.approx(147, abs=3))
