"""The sums of half hours, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest

from adsyncd.model.half_hour import HALF_HOUR, HalfHour
from adsyncd.model.run import Outcome, Run, run_id
from adsyncd.store import Store
from support.plans import scans
from support.records import NOON, run


async def ended(store: Store, tenant: str, after: timedelta, outcome: Outcome, **counts: float) -> None:
    """Record a run whose fire time is so long after noon."""
    fire_time = NOON + after
    this = Run(tenant, run_id(tenant, fire_time), fire_time, fire_time, "0" * 32)
    await store.begin(this)
    await store.finish(replace(this, ended_at=fire_time, outcome=outcome, **counts))  # type: ignore[arg-type]  # counts of a Run


async def test_the_runs_of_a_half_hour_are_summed_up_by_tenant(store: Store) -> None:
    minute = timedelta(minutes=1)
    counts = {"requests": 7, "refused": 2, "waited_s": 1.5, "skipped_ticks": 3, "listed": 9, "pushed": 4}
    await ended(store, "acme", 0 * minute, Outcome.SUCCEEDED, **counts, failed=3, dead_lettered=2)
    await ended(store, "acme", 29 * minute + timedelta(seconds=59.999), Outcome.ABANDONED, requests=1)
    await ended(store, "globex", 10 * minute, Outcome.FAILED)
    await ended(store, "globex", 20 * minute, Outcome.PARTIAL, waited_s=0.25)
    await store.begin(run("globex", number=1))
    for outside in (-timedelta(milliseconds=1), HALF_HOUR):
        await ended(store, "acme", outside, Outcome.FAILED, requests=1000)
    found = sorted(await store.half_hour(NOON), key=lambda one: one.tenant)
    assert found == [
        HalfHour(
            "acme",
            runs_succeeded=1,
            runs_abandoned=1,
            listed=9,
            pushed=4,
            not_pushed=5,
            requests=8,
            refused=2,
            skipped_ticks=3,
            waited_s=1.5,
        ),
        HalfHour("globex", runs_failed=1, runs_partial=1, open=1, waited_s=0.25),
    ]
    assert await store.half_hour(NOON + 2 * HALF_HOUR) == []


async def test_dead_letters_are_counted_of_the_tenants_that_are_asked_about(store: Store) -> None:
    assert await store.dead_letter_counts([]) == {}
    assert await store.dead_letter_counts(["acme"]) == {}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_half_hour_and_the_letters_of_some_tenants_are_found_by_indexes(store: Store) -> None:
    with scans(store) as scanned:
        await store.half_hour(NOON)
        await store.dead_letter_counts(["acme", "globex"])
    assert not scanned
