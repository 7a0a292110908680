from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adsyncd.model.campaign import DeadLetter, Push, PushState, idempotency_key
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, tables
from support.records import NOON, HandClock, campaign, page, rows, run, settle

ALL, CHANGED = PushPolicy.ALL, PushPolicy.CHANGED
TRACE = "f" * 32


async def died(store: Store, *ids: str, tenant: str = "acme", number: int = 0, reason: str = "422: no") -> None:
    """Let a run find campaigns that all become dead letters."""
    this = run(tenant, number)
    await store.begin(this)
    for push in await store.keep_page(this, page(*ids), ALL):
        await settle(store, this, push, PushState.DEAD_LETTERED, attempts=2, error=reason)
    await store.finish(replace(this, ended_at=NOON))


async def owed(store: Store, number: int, *ids: str, policy: PushPolicy = ALL) -> list[Push]:
    """Return what a later run owes to campaigns."""
    await store.begin(run(number=number))
    return await store.keep_page(run(number=number), page(*ids), policy)


async def test_a_dead_letter_is_found_with_all_that_its_replay_needs(store: Store, clock: HandClock) -> None:
    clock.instant += timedelta(seconds=9)
    await died(store, "c1")
    assert await store.dead_letters() == [
        DeadLetter(
            tenant="acme",
            campaign_id="c1",
            run_id=run().run_id,
            idempotency_key=idempotency_key("acme", "c1", run().run_id),
            content_hash=(await rows(store, tables.campaigns))[0].content_hash,
            reason="422: no",
            attempts=2,
            failures=1,
            owed_at=clock.instant,
            dead_at=clock.instant,
            replayed_at=None,
            trace_id=run().trace_id,
            payload=campaign("c1").payload,
        )
    ]


async def test_dead_letters_are_selected_by_tenant_campaign_and_reason(store: Store, clock: HandClock) -> None:
    await died(store, "c1", reason="422: 100% Budget_x")
    clock.instant -= timedelta(hours=1)
    await died(store, "c1", "c2", tenant="globex", reason="503")

    async def found(**selection: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - what can be selected by
        return [(letter.tenant, letter.campaign_id) for letter in await store.dead_letters(**selection)]

    assert await found() == [("globex", "c1"), ("globex", "c2"), ("acme", "c1")]
    assert await found(tenant="acme") == [("acme", "c1")]
    assert await found(tenant="globex", campaign_id="c2") == [("globex", "c2")]
    assert await found(reason="budget") == [("acme", "c1")]
    assert await found(reason="_") == await found(reason="%") == [("acme", "c1")]  # no wildcards
    assert await found(tenant="globex", reason="budget") == []


async def test_dead_letters_are_listed_page_after_page(store: Store, clock: HandClock) -> None:
    await died(store, "c1", "c2", "C3")
    await died(store, "c1", "c2", tenant="globex")
    clock.instant += timedelta(microseconds=1)
    await died(store, "c0", number=1)
    everything = await store.dead_letters()
    seen, after = list[DeadLetter](), None
    while page := await store.dead_letters(limit=2, after=after):
        seen += page
        after = page[-1].dead_at, page[-1].tenant, page[-1].campaign_id
    assert seen == everything
    assert [letter.campaign_id for letter in await store.dead_letters("globex", after=(NOON, "globex", "c1"))] == ["c2"]


async def test_a_replay_that_succeeds_closes_the_dead_letter_with_its_campaign(store: Store, clock: HandClock) -> None:
    await died(store, "c1", "c2")
    [letter, _] = await store.dead_letters()
    clock.instant += timedelta(seconds=5)
    for _ in range(2):
        await store.settle_replay(letter, attempts=1, error=None, trace_id=TRACE)
        assert [left.campaign_id for left in await store.dead_letters()] == ["c2"]
        kept = await rows(store, tables.campaigns)
        assert {each.campaign_id: each.synced_at for each in kept} == {"c1": clock.instant, "c2": None}


async def test_a_replay_that_fails_leaves_the_dead_letter_with_its_news(store: Store, clock: HandClock) -> None:
    await died(store, "c1", "c2")
    [before, other] = await store.dead_letters()
    clock.instant += timedelta(seconds=5)
    await store.settle_replay(before, attempts=3, error="503", trace_id=TRACE)
    assert await store.dead_letters() == [
        replace(before, reason="503", attempts=5, replayed_at=clock.instant, trace_id=TRACE),
        other,
    ]
    assert await owed(store, 1, "c1") == [Push("c1", PushState.DEAD_LETTERED)]


@pytest.mark.parametrize("error", [None, "503"])
async def test_a_replay_settles_no_other_death_of_its_campaign(store: Store, error: str | None) -> None:
    await died(store, "c1")
    [early] = await store.dead_letters()
    await store.discard([early])
    await died(store, "c1", number=1)
    [late] = await store.dead_letters()
    await store.settle_replay(early, attempts=1, error=error, trace_id=TRACE)
    assert await store.dead_letters() == [late]


async def test_the_oldest_dead_letter_of_each_tenant_is_told_with_their_number(store: Store, clock: HandClock) -> None:
    assert await store.oldest_dead_letters() == {}
    first = clock.now()
    await died(store, "c1")
    clock.instant += timedelta(hours=1)
    await died(store, "c2", "c3", number=1)
    await died(store, "c1", tenant="globex")
    assert await store.oldest_dead_letters() == {"acme": (3, first), "globex": (1, first + timedelta(hours=1))}
