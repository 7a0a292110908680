from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adsyncd.model.campaign import PushState
from adsyncd.model.run import Listing, Outcome
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, history, listings
from support.plans import scans
from support.records import NOON, page, run, settle


async def test_a_run_is_recorded_as_it_ended(store: Store) -> None:
    ended = replace(
        run(),
        ended_at=NOON + timedelta(hours=1),
        outcome=Outcome.PARTIAL,
        listed=4,
        pushed=1,
        skipped=1,
        dead_lettered=1,
        failed=1,
        requests=9,
        retries=3,
        refused=2,
        waited_s=1.5,
        error="503",
        note="named 5",
        listing=Listing.COMPLETE,
    )
    await store.begin(run())
    await store.finish(ended)
    [recorded] = await store.runs("acme", 10)
    assert recorded == ended
    assert recorded.outcome is Outcome.PARTIAL
    assert await store.open_runs() == []


async def test_an_open_run_is_listed_with_its_counts_up_to_now(store: Store) -> None:
    await store.begin(run())
    pushes = await store.keep_page(run(), page("c1", "c2", "c3", "c4"), PushPolicy.ALL)
    for push, state in zip(pushes, [PushState.PUSHED, PushState.FAILED, PushState.DEAD_LETTERED], strict=False):
        await settle(store, run(), push, state, attempts=2)
    [now] = await store.runs("acme", 10)
    assert now == replace(run(), listed=4, pushed=1, failed=1, dead_lettered=1, requests=7, retries=3)


async def test_runs_come_newest_first_of_one_tenant_or_of_all(store: Store) -> None:
    for given in (run("acme", 1), run("globex", 2), run("acme", 3), run("acme", 0)):
        await store.begin(given)
    assert [found.run_id for found in await store.runs("acme", 2)] == [run("acme", 3).run_id, run("acme", 1).run_id]
    assert [found.tenant for found in await store.runs(None, 3)] == ["acme", "globex", "acme"]
    assert [found.fire_time for found in await store.open_runs()] == [run(number=n).fire_time for n in range(4)]
    assert [found.run_id for found in await store.open_runs("globex")] == [run("globex", 2).run_id]
    assert await store.last_fire_times() == {"acme": run(number=3).fire_time, "globex": run(number=2).fire_time}


async def test_a_run_is_found_by_its_id(store: Store) -> None:
    await store.begin(run())
    await store.keep_page(run(), page("c1"), PushPolicy.ALL)
    assert await store.run(run().run_id) == replace(run(), listed=1, requests=1)
    assert await store.run(run("globex").run_id) is None


async def test_runs_of_a_tenant_are_those_of_a_time_and_an_outcome_newest_first(store: Store) -> None:
    for number in range(6):
        await store.begin(run(number=number))
        await store.begin(run("globex", number))
        outcome = Outcome.FAILED if number % 2 else Outcome.SUCCEEDED
        if number < 5:
            await store.finish(replace(run(number=number), ended_at=NOON, outcome=outcome))

    async def numbers(**which: Any) -> list[int]:  # noqa: ANN401 - filters
        found = await store.runs_of("acme", **which)
        assert {each.tenant for each in found} <= {"acme"}
        return [int((each.fire_time - NOON) / timedelta(minutes=15)) for each in found]

    at = [run(number=number).fire_time for number in range(6)]
    assert await numbers() == [5, 4, 3, 2, 1, 0]
    assert await numbers(limit=2) == [5, 4]
    assert await numbers(limit=2, before=at[4]) == [3, 2]
    assert await numbers(since=at[1], before=at[3]) == [2, 1]
    assert await numbers(outcome=Outcome.FAILED) == [3, 1]
    assert await numbers(outcome=Outcome.SUCCEEDED, since=at[2], limit=1) == [4]
    assert await store.runs_of("hooli") == []


async def test_of_a_run_whose_counts_are_known_none_are_made(store: Store) -> None:
    going = run()
    await store.begin(going)
    await store.keep_page(going, page("a", "b"), PushPolicy.ALL)
    name = going.run_id
    for found, counted in (
        (await store.runs_of("acme"), 2),
        (await store.runs_of("acme", going=name), 0),
        (await store.runs("acme", 1, going=name), 0),
        ([await store.run(name, going=name)], 0),
        ([await store.run(name, going="another")], 2),
    ):
        assert [one and one.listed for one in found] == [counted]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_runs_of_a_tenant_are_found_by_an_index(store: Store) -> None:
    with scans(store) as scanned:
        await store.run("r")
        await store.runs_of("acme", since=NOON, before=NOON, outcome=Outcome.FAILED)
    assert not scanned


async def test_what_several_tenants_ask_at_once_is_answered_to_each_for_itself(store: Store) -> None:
    await store.begin(run("acme"))
    await store.begin(run("globex"))
    await store.keep_page(run("globex"), replace(page("c1"), etag="x"), PushPolicy.ALL)
    asked = ["acme", "initech", "globex"]
    found = await store._read(lambda connection: history.open_runs_of(connection, asked))
    assert [[each.run_id for each in runs] for runs in found] == [[run("acme").run_id], [], [run("globex").run_id]]
    assert await store._read(lambda connection: listings.have_pages(connection, asked)) == [False, False, True]


async def test_the_last_run_of_each_tenant_is_the_latest_that_ended(store: Store) -> None:
    for given in (run("acme", 0), run("acme", 1), run("globex", 0)):
        await store.begin(given)
        await store.finish(replace(given, ended_at=given.fire_time, outcome=Outcome.SUCCEEDED))
    for still_open in (run("acme", 2), run("initech", 0)):
        await store.begin(still_open)
    last = {tenant: found.run_id for tenant, found in (await store.last_runs()).items()}
    assert last == {"acme": run("acme", 1).run_id, "globex": run("globex", 0).run_id}


async def test_a_tenant_s_campaigns_are_those_that_are_kept_or_as_many_as_its_listing_names(store: Store) -> None:
    complete = [
        ("acme", page("c1", "c2", "c3")),
        *[("acme", page("c1", "c2"))] * 2,
        ("initech", replace(page(), total=99)),
    ]
    for number, (tenant, listed) in enumerate(complete):
        began = run(tenant, number)
        await store.begin(began)
        await store.keep_page(began, listed, PushPolicy.ALL)
        await store.finish(replace(began, ended_at=NOON, outcome=Outcome.SUCCEEDED, listing=Listing.COMPLETE))
    await store.begin(run("globex"))
    await store.keep_page(run("globex"), replace(page("c1", has_more=True), total=300), PushPolicy.ALL)
    await store.begin(run("hooli"))
    known = await store.campaign_counts(["acme", "globex", "initech", "hooli"])
    assert known == {"acme": 2, "globex": 300, "initech": 0}


async def test_the_requests_of_the_last_runs_that_succeeded_are_told_by_tenant(store: Store) -> None:
    outcomes = [Outcome.SUCCEEDED] * 11 + [Outcome.PARTIAL, Outcome.SUCCEEDED]
    for number, outcome in enumerate(outcomes):
        began = run("acme", number)
        await store.begin(began)
        await store.finish(replace(began, ended_at=NOON, outcome=outcome, requests=100 + number, listed=1, pushed=1))
    await store.begin(run("globex"))
    assert await store.recent_requests(["acme", "globex"]) == {"acme": [112, *range(110, 101, -1)], "globex": []}


async def test_the_last_regular_runs_are_told_by_tenant(store: Store) -> None:
    outcomes = [Outcome.SUCCEEDED] * 10 + [Outcome.PARTIAL, Outcome.FAILED, Outcome.ABANDONED]
    for number, outcome in enumerate(outcomes):
        began = run("acme", number)
        await store.begin(began)
        await store.finish(replace(began, ended_at=NOON, outcome=outcome))
    await store.begin(run("globex"))
    regular = await store.last_regular_runs(["acme", "globex"])
    assert [found.run_id for found in regular["acme"]] == [run("acme", number).run_id for number in range(10, 0, -1)]
    assert regular["globex"] == []


async def test_the_runs_of_all_tenants_are_listed_page_after_page(store: Store) -> None:
    for tenant, number in (("acme", 0), ("Globex", 0), ("globex", 0), ("acme", 1), ("acme", 2)):
        await store.begin(run(tenant, number))
    seen, after = list[str](), None
    while page := await store.runs_after(2, after):
        seen += [one.run_id for one in page]
        after = page[-1].fire_time, page[-1].run_id
    assert len(seen) == len(set(seen)) == 5
    assert seen == [one.run_id for one in await store.runs_after(10)]
    assert seen[:2] == [run(number=2).run_id, run(number=1).run_id]
