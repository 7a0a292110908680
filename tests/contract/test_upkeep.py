from dataclasses import replace
from datetime import timedelta

import pytest

from adsyncd.model.run import Outcome
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, ending, pruning, tables, upkeep
from adsyncd.store.upkeep import Upkeep
from support.records import NOON, HandClock, page, rows, run

A_DAY = 24 * 4  # quarters of an hour


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in small pieces without a pause, and keep few runs."""
    monkeypatch.setattr(pruning, "PIECE", 4)
    monkeypatch.setattr(pruning, "_OLD", pruning.old_runs(piece=4, latest=1, latest_alike=1))
    monkeypatch.setattr(upkeep, "_PAUSE_S", 0)


async def test_what_is_not_kept_is_removed_of_every_tenant_and_the_rest_stays(store: Store, clock: HandClock) -> None:
    clock.instant = NOON + timedelta(days=40)
    numbers = [*range(6), *(A_DAY * day for day in (9, 10, 37, 40))]
    for tenant in ("acme", "globex"):
        for number in numbers:
            await store.begin(run(tenant, number))
            await store.finish(
                replace(run(tenant, number), ended_at=run(tenant, number).started_at, outcome=Outcome.SUCCEEDED)
            )
    await Upkeep(store, clock, keep_runs=timedelta(days=3), keep_history=timedelta(days=30)).prune()
    for tenant in ("acme", "globex"):
        kept = [each.run_id for each in await store.runs(tenant, 99)]
        assert kept == [run(tenant, A_DAY * day).run_id for day in (40, 37)]
        assert [(NOON + timedelta(days=40)).date() - day.day for day in await store.days(tenant)] == [
            timedelta(days=ago) for ago in (30, 3, 0)
        ]


async def test_a_run_becomes_old_while_the_daemon_runs(store: Store, clock: HandClock) -> None:
    for number in range(3):
        await store.begin(run(number=number))
        await store.finish(replace(run(number=number), ended_at=NOON, outcome=Outcome.SUCCEEDED))
    pruned = Upkeep(store, clock, keep_runs=timedelta(days=3), keep_history=timedelta(days=30))
    for days, left in ((3, 3), (3.49, 3), (3.5, 1)):  # noon is half a day before the day is over
        clock.instant = NOON + timedelta(days=days)
        await pruned.prune()
        assert len(await store.runs("acme", 9)) == left


async def test_the_pushes_that_a_large_run_left_are_removed(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PIECE", 2)
    for tenant in ("acme", "globex", "hooli"):
        await store.begin(run(tenant))
        await store.keep_page(run(tenant), page(*(f"c{number}" for number in range(7))), PushPolicy.ALL)
    for tenant in ("acme", "hooli"):
        await store.finish(replace(run(tenant), ended_at=NOON))
    assert len(await rows(store, tables.pushes)) == 5 + 7 + 5
    await Upkeep(store, clock, timedelta(days=3), timedelta(days=30)).prune()
    assert {push.run_id for push in await rows(store, tables.pushes)} == {run("globex").run_id}
