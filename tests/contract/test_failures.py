from dataclasses import replace
from datetime import timedelta

import pytest

from adsyncd.model.campaign import PushState
from adsyncd.model.failure import SharedReason
from adsyncd.model.run import Outcome, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, failures
from support.plans import scans
from support.records import NOON, HandClock, bury, page, run, settle

BUDGET, NAME, GONE = "422: over budget", "422: no name", "503: gone"
A_MINUTE = timedelta(minutes=1)


async def test_dead_letters_are_grouped_by_reason_those_of_the_most_campaigns_first(
    store: Store, clock: HandClock
) -> None:
    assert await store.reasons(9) == []
    for tenant, ids, reason in (("globex", ["c1", "c2"], BUDGET), ("hooli", ["c1"], NAME), ("acme", ["c1"], BUDGET)):
        clock.instant += A_MINUTE
        await bury(store, tenant, *ids, reason=reason)
    budget = SharedReason(BUDGET, 3, ["acme", "globex"], 2, NOON + A_MINUTE)
    assert await store.reasons(9) == [budget, SharedReason(NAME, 1, ["hooli"], 1, NOON + 2 * A_MINUTE)]
    assert await store.reasons(1) == [budget]


async def test_the_first_tenants_of_a_reason_are_named(store: Store) -> None:
    for tenant in "gfedcba":
        await bury(store, tenant, "c1")
    [found] = await store.reasons(9)
    assert (found.campaigns, found.tenants, found.number) == (7, ["a", "b", "c", "d", "e"], 7)


async def test_of_very_many_dead_letters_the_latest_are_grouped(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST", 3)
    for tenant, reason in (("acme", BUDGET), ("globex", NAME)):
        await bury(store, tenant, "c1", "c2", reason=reason)
        clock.instant += A_MINUTE
    assert [(one.reason, one.campaigns) for one in await store.reasons(9)] == [(NAME, 2), (BUDGET, 1)]


async def fail(store: Store, this: Run, errors: list[str]) -> None:
    """Let a campaign of a run be a dead letter, and others fail with these errors."""
    await store.begin(this)
    campaigns = ["dead", *(f"c{place}" for place in range(len(errors)))]
    pushes = {push.campaign_id: push for push in await store.keep_page(this, page(*campaigns), PushPolicy.ALL)}
    for campaign_id, error in zip(campaigns, [BUDGET, *errors], strict=True):
        state = PushState.DEAD_LETTERED if campaign_id == "dead" else PushState.FAILED
        if pushes[campaign_id].state is PushState.PENDING:
            await settle(store, this, pushes[campaign_id], state, attempts=1, error=error)
    await store.finish(replace(this, ended_at=NOON, outcome=Outcome.PARTIAL, failed=len(errors), dead_lettered=1))


async def test_failures_of_given_runs_are_grouped_by_reason_and_their_dead_letters_are_not(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "CHUNK", 2)
    failed = {"acme": [GONE, GONE, NAME], "globex": [GONE], "hooli": [BUDGET], "initech": []}
    for number in range(2):
        for tenant, errors in failed.items():
            clock.instant += A_MINUTE
            await fail(store, run(tenant, number), errors)
    found = await store.last_failures([run(tenant, 1).run_id for tenant in failed], 9)
    assert found == [
        SharedReason(GONE, 3, ["acme", "globex"], 2, NOON + 5 * A_MINUTE),
        SharedReason(NAME, 1, ["acme"], 1, NOON + 5 * A_MINUTE),
        SharedReason(BUDGET, 1, ["hooli"], 1, NOON + 7 * A_MINUTE),
    ]
    assert [one.reason for one in await store.last_failures([run("acme", 0).run_id, "unknown"], 9)] == [GONE, NAME]
    assert await store.last_failures([], 9) == []


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_the_latest_dead_letters_are_read_in_the_order_of_an_index(store: Store) -> None:
    await bury(store, "acme", "c1")
    with scans(store) as scanned:
        await store.reasons(9)
        await store.last_failures([run().run_id], 9)
        await store.dead_letters(limit=1)
    assert scanned == {"dead_letters USING INDEX dead_letters_dead_at"}
