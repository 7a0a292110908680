from dataclasses import replace

from opentelemetry.trace import NoOpTracer

from adsyncd.model.campaign import PushState, idempotency_key
from adsyncd.model.run import Listing, Outcome
from adsyncd.model.tenant import PushPolicy
from adsyncd.simulation.memory import memory_engine
from adsyncd.simulation.virtual_time import VirtualClock
from adsyncd.store.store import store_in
from support.inline_store import Disk
from support.records import page, run, settle


async def test_the_database_tells_what_becomes_of_runs_pushes_and_campaigns() -> None:
    told: list[tuple[object, ...]] = []
    engine = memory_engine(lambda *event: told.append(event))
    async with store_in(engine, clock=VirtualClock(), tracer=NoOpTracer(), off_loop=Disk()) as store:
        first, second, third = (run(number=number) for number in range(3))
        await store.begin(first)
        for push in await store.keep_page(first, page("c1", "c2"), PushPolicy.ALL):
            await settle(store, first, push, PushState.PUSHED)
        for each in (first, second, third):
            if each is not first:
                await store.begin(each)
                await store.keep_page(each, page("c2"), PushPolicy.CHANGED)
            ended = replace(each, ended_at=each.started_at, outcome=Outcome.SUCCEEDED)
            await store.finish(replace(ended, listing=Listing.COMPLETE))
    engine.dispose()
    assert [event[:3] for event in told] == [
        ("begun", first.run_id, "acme"),
        ("owed", first.run_id, "c1"),
        ("owed", first.run_id, "c2"),
        ("settled", first.run_id, "c1"),
        ("settled", first.run_id, "c2"),
        ("ended", first.run_id, "succeeded"),
        ("begun", second.run_id, "acme"),
        ("owed", second.run_id, "c2"),
        ("ended", second.run_id, "succeeded"),
        ("begun", third.run_id, "acme"),
        ("owed", third.run_id, "c2"),
        ("ended", third.run_id, "succeeded"),
        ("marked_deleted", "acme", "c1"),
    ]
    assert told[1][3:] == (idempotency_key("acme", "c1", first.run_id), "pending")
    assert told[7][4] == "skipped"


async def test_a_database_that_is_disposed_of_is_a_new_one() -> None:
    engine = memory_engine()
    for _ in range(2):
        async with store_in(engine, clock=VirtualClock(), tracer=NoOpTracer(), off_loop=Disk()) as store:
            assert await store.open_runs() == []
            await store.begin(run())
        engine.dispose()
