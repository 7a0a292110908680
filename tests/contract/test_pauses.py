from datetime import timedelta

from opentelemetry.trace import NoOpTracer

from adsyncd.store import Store, open_store
from support.records import NOON, HandClock


async def test_a_pause_is_kept_until_the_tenant_is_resumed(store: Store) -> None:
    await store.pause("acme", NOON)
    await store.pause("globex", NOON + timedelta(minutes=1))
    assert await store.pauses() == {"acme": NOON, "globex": NOON + timedelta(minutes=1)}
    await store.resume("acme")
    assert await store.pauses() == {"globex": NOON + timedelta(minutes=1)}


async def test_a_pause_survives_a_restart(url: str, clock: HandClock) -> None:
    async with open_store(url, clock=clock, tracer=NoOpTracer()) as store:
        await store.pause("acme", NOON)
    async with open_store(url, clock=clock, tracer=NoOpTracer()) as store:
        assert await store.pauses() == {"acme": NOON}


async def test_the_latest_word_on_a_pause_counts(store: Store) -> None:
    await store.pause("acme", NOON)
    await store.pause("acme", NOON + timedelta(hours=1))
    assert await store.pauses() == {"acme": NOON + timedelta(hours=1)}


async def test_resuming_a_tenant_that_does_not_rest_changes_nothing(store: Store) -> None:
    await store.resume("acme")
    assert await store.pauses() == {}
