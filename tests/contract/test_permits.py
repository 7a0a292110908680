"""What the governor asks of a ledger: the store keeps it on both databases, and so does the tests' own in memory."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import anyio
import pytest
from opentelemetry.trace import NoOpTracer
from sqlalchemy import text

from adsyncd.clock import SystemClock
from adsyncd.rate import Gate, Governor, PermitLedger
from adsyncd.rate.ledger import Claim, PermitRecord, ShapeRecord
from adsyncd.rate.quota import Shape
from adsyncd.store import Store, open_store, permits, schema, sql
from support.gates import MemoryLedger, a_client, a_quota, recorded
from support.postgres import Postgres
from support.records import NOON, HandClock


@pytest.fixture(params=["store", "memory"])
async def ledger(request: pytest.FixtureRequest, url: str) -> AsyncIterator[PermitLedger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store:
        yield store


def claim(number: int = 0, *, owner: str = "one", free_at: float = 100.0, at: float = 30.0, **more: str | int) -> Claim:
    record = PermitRecord("mixo", "acme", 60_000, number, free_at, "this boot", owner)
    return Claim(replace(record, **more), at)  # type: ignore[arg-type]  # fields of a record


async def records(ledger: PermitLedger) -> set[PermitRecord]:
    if isinstance(ledger, MemoryLedger):
        return set(ledger.records.values())
    assert isinstance(ledger, Store)
    return set(await ledger.permits())


async def test_a_permit_that_nobody_has_is_granted_and_on_record(ledger: PermitLedger) -> None:
    assert not await ledger.claim_permits([claim(0), claim(1)])
    assert await records(ledger) == {claim(0).record, claim(1).record}


async def test_one_that_another_process_has_is_not_and_none_of_those_that_were_asked_for_with_it(
    ledger: PermitLedger,
) -> None:
    await ledger.claim_permits([claim(1)])
    taken = await ledger.claim_permits([claim(0, owner="other"), claim(1, owner="other"), claim(2, owner="other")])
    assert set(taken) == {claim(1).record} == await records(ledger)


async def test_one_s_own_is_granted_again_whenever_he_asks(ledger: PermitLedger) -> None:
    await ledger.claim_permits([claim(free_at=100.0)])
    assert not await ledger.claim_permits([claim(free_at=200.0, at=31.0)])
    assert await records(ledger) == {claim(free_at=200.0).record}


async def test_another_s_is_granted_from_the_instant_on_at_which_it_is_free(ledger: PermitLedger) -> None:
    await ledger.claim_permits([claim(free_at=100.0)])
    assert await ledger.claim_permits([claim(owner="other", free_at=200.0, at=99.999)])
    assert not await ledger.claim_permits([claim(owner="other", free_at=200.0, at=100.0)])
    assert await ledger.claim_permits([claim(free_at=200.0, at=101.0)])


async def test_of_another_boot_one_is_granted_only_if_it_is_still_as_it_was_seen(ledger: PermitLedger) -> None:
    old = claim(boot_id="another boot", owner="other", free_at=5.0)
    await ledger.claim_permits([old])
    assert await ledger.claim_permits([claim(at=1e9)])
    for otherwise in (replace(old.record, free_at=4.0), replace(old.record, owner="a third")):
        assert await ledger.claim_permits([replace(claim(at=1e9), seen=otherwise)])
    assert not await ledger.claim_permits([replace(claim(), seen=old.record)])


async def test_a_note_says_when_one_s_own_is_free_and_leaves_another_s_as_it_is(ledger: PermitLedger) -> None:
    await ledger.claim_permits([claim(0), claim(1, owner="other")])
    ledger.note_permits([claim(0, free_at=70.0), claim(1, free_at=70.0)])
    for _ in range(100):
        if claim(0, free_at=70.0).record in await records(ledger):
            break
        await anyio.sleep(0.01)
    assert await records(ledger) == {claim(0, free_at=70.0).record, claim(1, owner="other").record}


async def test_a_record_is_forgotten_if_it_is_still_as_it_was(ledger: PermitLedger) -> None:
    await ledger.claim_permits([claim(0), claim(1), claim(2)])
    ledger.forget_permits([claim(0).record, claim(1, free_at=99.0).record, claim(2, owner="other").record])
    for _ in range(100):
        if claim(0).record not in await records(ledger):
            break
        await anyio.sleep(0.01)
    assert await records(ledger) == {claim(1).record, claim(2).record}


async def test_windows_client_ids_and_platforms_are_told_apart(ledger: PermitLedger) -> None:
    others = [claim(window_ms=1), claim(client_id=""), claim(platform="other")]
    await ledger.claim_permits(others)
    assert not await ledger.claim_permits([claim(owner="another")])
    assert await records(ledger) == {claim(owner="another").record, *(other.record for other in others)}


async def test_the_records_of_one_client_id_or_of_the_platform_itself_can_be_read(ledger: PermitLedger) -> None:
    mine, own = [claim(0), claim(1, owner="other")], claim(client_id="")
    await ledger.claim_permits([*mine, own, claim(client_id="another"), claim(platform="other")])
    assert set(await ledger.read_permits("mixo", "acme")) == {one.record for one in mine}
    assert set(await ledger.read_permits("mixo", "")) == {own.record}


async def ends(ledger: PermitLedger, owner: str) -> set[tuple[str, int, float]]:
    return {(each.client_id, each.window_ms, each.free_at) for each in await records(ledger) if each.owner == owner}


async def test_a_costly_request_has_all_of_its_permits_on_record_or_none_and_they_cool_together(
    ledger: PermitLedger,
) -> None:
    def process(owner: str, known: Iterable[PermitRecord] = ()) -> Gate:
        quota = a_quota(5, 60.0, (9, 600.0))
        return Governor(SystemClock(), ledger, owner, known).gate(a_client(quota, a_quota(7, 60.0), costs=(2, 3)))

    one, other = process("one"), process("other")
    first = await recorded(one, cost=3)
    assert Counter((each.client_id, each.window_ms) for each in await records(ledger)) == {
        ("acme", 60_000): 3,
        ("acme", 600_000): 3,
        ("", 60_000): 3,
    }
    second = await other.acquire(cost=3)  # it knows of no other process
    assert not await second.put_on_record(5.0)
    assert {each.owner for each in await records(ledger)} == {"one"}
    assert other.free == 2
    await recorded(other, cost=2)
    assert Counter(each.owner for each in await records(ledger)) == {"one": 9, "other": 6}
    out = await ends(ledger, "one")
    first.cool()
    for _ in range(100):
        if not out & await ends(ledger, "one"):
            break
        await anyio.sleep(0.01)
    cooling = await ends(ledger, "one")
    assert len(cooling) == 3
    assert max(end for *_, end in cooling) < max(end for *_, end in out)
    assert process("after both were killed", await records(ledger)).free == 0


async def test_many_processes_that_ask_at_once_get_each_permit_once(url: str) -> None:
    won: list[int] = []

    async def process(owner: str) -> None:
        async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store, anyio.create_task_group() as tasks:

            async def ask(number: int) -> None:
                if not await store.claim_permits([claim(number, owner=owner), claim(number + 1, owner=owner)]):
                    won.append(number)

            for number in range(0, 60, 2):
                tasks.start_soon(ask, number)

    async with anyio.create_task_group() as processes:
        for owner in ("one", "two", "three"):
            processes.start_soon(process, owner)
    assert sorted(won) == list(range(0, 60, 2))


def test_processes_that_note_their_own_permits_and_ask_for_each_other_s_never_wait_for_each_other(
    postgres: Postgres,
) -> None:
    with postgres.database() as place:
        engine = sql.engine(place.render_as_string(hide_password=False), connections=2)
        with engine.begin() as connection:
            schema.upgrade(connection)
            permits.claim(connection, [[claim(0, owner="one")], [claim(1, owner="two")]])
        with engine.begin() as one, engine.begin() as two:
            permits.note(one, [[claim(0, owner="one", free_at=90.0)]])
            permits.note(two, [[claim(1, owner="two", free_at=90.0)]])
            assert permits.claim(one, [[claim(1, owner="one")]]) != [()]
            assert permits.claim(two, [[claim(0, owner="two")]]) != [()]
        engine.dispose()


def test_claims_lock_their_rows_in_one_order_whatever_the_order_of_the_claims(postgres: Postgres) -> None:
    """A claim that waits for row 0 must not hold row 1 yet: another one may have them the other way round."""
    with postgres.database() as place:
        engine = sql.engine(place.render_as_string(hide_password=False), connections=3)
        with engine.begin() as connection:
            schema.upgrade(connection)
            permits.claim(connection, [[claim(0), claim(1)]])

        def claim_both() -> None:
            with engine.begin() as connection:
                permits.claim(connection, [[claim(1), claim(0)]])

        locked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        with ThreadPoolExecutor() as threads, engine.begin() as first:
            permits.note(first, [[claim(0)]])
            claiming = threads.submit(claim_both)
            with engine.connect() as observer:
                while not observer.scalar(text(locked)):
                    observer.rollback()
                    assert not claiming.done()
                observer.execute(text("SELECT FROM permits WHERE number = 1 FOR UPDATE NOWAIT"))
                observer.rollback()
            first.rollback()
            claiming.result()
        engine.dispose()


async def test_what_was_found_out_of_counting_is_remembered(url: str) -> None:
    found = ShapeRecord("mixo", "acme", "10/60s", Shape.PACED, strict=True, since=NOON)
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store:
        store.note_shape(replace(found, shape=Shape.BURST))
        store.note_shape(found)
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store:
        assert await store.shapes() == [found]
