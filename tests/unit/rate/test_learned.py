"""What a gate learns from refusals: spacing, arrival bounds, and what it logs of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from adsyncd.rate.ledger import ShapeRecord
from adsyncd.rate.quota import Shape
from mock_api import meters
from mock_api.meters import Algorithm, meter
from support.gates import COOLS_FOR, WINDOW, MemoryLedger, a_client, a_gate, a_governor, a_quota, recorded
from support.virtual_time import START, VirtualClock


async def refusals(
    algorithm: Algorithm,
    windows: int,
    ledger: MemoryLedger,
    foreign: Callable[[int], int] = lambda _: 0,
    *,
    states_waits: bool = True,
    **quota: Any,  # noqa: ANN401
) -> list[int]:
    """Keep a gate busy before a server that counts in this way; return how many it refused in each window.

    Somebody else sends `foreign` requests in each window. `states_waits`: a refusal has a Retry-After.
    """
    through = a_governor(VirtualClock(), ledger).gate(a_client(a_quota(10, **quota)))
    counter, start, refused = meter(algorithm, meters.MeteredQuota(10, WINDOW)), anyio.current_time(), Counter[int]()

    async def work() -> None:
        while True:
            permit = await through.acquire()
            await anyio.sleep(0.05)
            accepted = meters.take([counter], anyio.current_time() - start)
            await anyio.sleep(0.05)
            permit.cool()
            through.heed([], refused=not accepted)
            if not accepted:
                refused[int((anyio.current_time() - start) / WINDOW)] += 1
                through.close(counter.read().reset_s if states_waits else 2.0)

    async def use_the_same_client_id() -> None:
        for window in range(windows):
            for _ in range(foreign(window)):
                await anyio.sleep(WINDOW / foreign(window))
                meters.take([counter], anyio.current_time() - start)
            await anyio.sleep(max(0.0, start + (window + 1) * WINDOW - anyio.current_time()))

    with anyio.move_on_after(windows * WINDOW):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use_the_same_client_id)
            for _ in range(5):
                tasks.start_soon(work)
    return [refused[number] for number in range(windows)]


@pytest.mark.parametrize("algorithm", [Algorithm.SLIDING_LOG, Algorithm.FIXED_WINDOW, Algorithm.TOKEN_BUCKET])
async def test_where_bursts_are_taken_they_stay(algorithm: Algorithm) -> None:
    ledger = MemoryLedger()
    assert await refusals(algorithm, 20, ledger) == [0] * 20
    assert ledger.shapes == []


async def test_a_platform_that_takes_spaced_requests_alone_gets_them_for_good_and_that_is_remembered() -> None:
    ledger = MemoryLedger()
    found = await refusals(Algorithm.WINDOW_COUNTER, 300, ledger)
    assert sum(found[:5]) > 0
    assert found[8:20] == [0] * 12
    assert [(shape.shape, shape.strict) for shape in ledger.shapes] == [(Shape.PACED, False)]
    assert sum(1 for refused in found[8:] if refused) <= 8  # bursts are tried again more and more rarely
    assert await refusals(Algorithm.WINDOW_COUNTER, 10, ledger) == [0] * 10


FOREIGN: dict[str, Callable[[int], int]] = {
    "all the time": lambda _: 4,
    "at first": lambda window: 6 if window < 8 else 0,
    "now and then": lambda window: 6 if window % 8 < 4 else 0,
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("states_waits", [True, False], ids=["Retry-After", "no Retry-After"])
@pytest.mark.parametrize("algorithm", [Algorithm.SLIDING_LOG, Algorithm.FIXED_WINDOW, Algorithm.TOKEN_BUCKET])
async def test_refusals_that_somebody_else_causes_teach_no_spacing_that_stays(
    algorithm: Algorithm, states_waits: bool, foreign: Callable[[int], int]
) -> None:
    ledger = MemoryLedger()
    found = await refusals(algorithm, 100, ledger, foreign, states_waits=states_waits)
    assert algorithm is Algorithm.SLIDING_LOG or sum(found) > 0
    assert all(shape.shape is Shape.BURST for shape in ledger.shapes[-1:])


def a_record(**changes: Any) -> ShapeRecord:  # noqa: ANN401 - whatever the fields are
    return replace(ShapeRecord("mixo", "acme", "10/60s", Shape.PACED, strict=False, since=START), **changes)


@pytest.mark.parametrize("foreign", [0, 6])
async def test_spacing_that_was_learned_from_a_falsehood_before_a_restart_is_let_go_and_forgotten(foreign: int) -> None:
    ledger = MemoryLedger()
    ledger.note_shape(a_record())
    await refusals(Algorithm.TOKEN_BUCKET, 40, ledger, lambda _: foreign)
    assert ledger.shapes[-1].shape is Shape.BURST


async def test_spacing_that_is_asked_for_is_there_from_the_first_request_on() -> None:
    assert await refusals(Algorithm.WINDOW_COUNTER, 20, MemoryLedger(), shape=Shape.PACED) == [0] * 20


async def test_bursts_that_are_asked_for_stay_though_they_are_refused() -> None:
    ledger = MemoryLedger()
    assert sum(await refusals(Algorithm.WINDOW_COUNTER, 20, ledger, shape=Shape.BURST)) > 5
    assert ledger.shapes == []


@pytest.mark.parametrize(
    ("shape", "known", "expected"),
    [
        (Shape.AUTO, a_record(), Shape.PACED),
        (Shape.AUTO, a_record(quota="9/60s"), Shape.BURST),
        (Shape.BURST, a_record(), Shape.BURST),
        (Shape.PACED, None, Shape.PACED),
        (Shape.AUTO, None, Shape.BURST),
    ],
)
async def test_a_restart_remembers_spacing_of_the_same_quota_alone_unless_a_shape_is_asked_for(
    shape: Shape, known: ShapeRecord | None, expected: Shape
) -> None:
    ledger = MemoryLedger()
    ledger.shapes = [known] if known else []
    assert a_governor(VirtualClock(), ledger).gate(a_client(a_quota(10, shape=shape))).shape is expected


@pytest.mark.parametrize("reboots", [False, True])
async def test_several_processes_and_those_after_a_restart_keep_the_spacing_together(reboots: bool) -> None:
    ledger, granted, clock = MemoryLedger(), list[float](), VirtualClock()

    async def live(name: str) -> None:
        through = a_governor(clock, ledger, name).gate(a_client(a_quota(10, shape=Shape.PACED)))
        while True:
            permit = await recorded(through)
            granted.append(anyio.current_time())
            permit.cool()

    for number in range(5):
        if reboots and number == 4:
            clock.reboot()
        with anyio.move_on_after(100 + 3 * number):
            async with anyio.create_task_group() as tasks:
                for name in ("one", "two"):
                    tasks.start_soon(live, f"{name} {number}")
    assert min(later - sooner for sooner, later in pairwise(granted)) >= WINDOW / 9
    assert len(granted) >= 60


async def test_an_arrival_bound_is_no_longer_relied_on_after_a_refusal_until_the_quota_changes() -> None:
    ledger, clock = MemoryLedger(), VirtualClock()
    quota = a_quota(1, arrival_bound=timedelta(seconds=0.5))

    async def cools_since() -> float:
        """Return how long after its sending a request counts that was written after 0.1 s and answered after 2."""
        start = anyio.current_time()
        permit = await through.acquire()
        await anyio.sleep(2.0)
        through.heed([], refused=len(found) == 1)
        permit.cool(written_at=start + 0.1)
        await anyio.sleep(through.silence_s() or 0.0)
        return anyio.current_time() - start - COOLS_FOR

    found = list[float]()
    for again in (quota, quota, quota, quota, replace(quota, arrival_bound=timedelta(seconds=0.7))):
        if len(found) in {0, 3}:  # the others are reloads
            governor = a_governor(clock, ledger)
        through = governor.gate(a_client(again))
        found.append(await cools_since())
    assert found == pytest.approx([0.6, 2.0, 2.0, 2.0, 0.8])
    assert [shape.strict for shape in ledger.shapes] == [True]


async def test_refusals_are_logged_when_they_begin_and_when_they_are_over() -> None:
    through = a_gate(a_quota(10), VirtualClock())
    with capture_logs() as logged:
        for refused in (False, True, True, False):
            through.heed([], refused=refused)
            await anyio.sleep(WINDOW)
        await anyio.sleep(WINDOW)
        through.heed([], refused=False)
        assert len(logged) == 1
        await anyio.sleep(WINDOW)
        for _ in range(2):
            through.heed([], refused=False)
    assert [(entry["log_level"], entry["event"], entry["client_id"]) for entry in logged] == [
        ("warning", "refused within the quota", "acme"),
        ("info", "no longer refused", "acme"),
    ]
