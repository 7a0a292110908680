from dataclasses import replace

import pytest

from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store
from support.plans import scans
from support.records import page, run

TRACE_ID = "5bd66ef5095369c7b0d1f8f4bd33716a"


async def begin(store: Store, *tenants: str, trace_id: str = "0" * 32) -> None:
    """Begin three runs of each tenant, a quarter of an hour after the other, from 12:00 on."""
    for tenant in tenants:
        for number in range(3):
            await store.begin(replace(run(tenant, number), trace_id=trace_id))


@pytest.mark.parametrize("text", [TRACE_ID, TRACE_ID[:8], TRACE_ID[:31]])
async def test_a_run_is_found_by_its_trace_id_or_the_beginning_of_it(store: Store, text: str) -> None:
    await begin(store, "acme", "globex")
    await store.begin(replace(run("hooli"), trace_id=TRACE_ID))
    await store.begin(replace(run("hooli", 1), trace_id="5bd66ef4" + TRACE_ID[8:]))
    assert [found.run_id for found in await store.find_runs(text)] == [run("hooli").run_id]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("acme-20261125T121500.000Z", [1]),
        ("acme-20261125T1215", [1]),
        ("acme-20261125T121", [1]),
        ("acme-20261125T12", [2, 1, 0]),
        ("acme-20261125", [2, 1, 0]),
        ("acme-2026112", [2, 1, 0]),
        ("acme-2026", [2, 1, 0]),
        ("acme-2027", []),
        ("acme-202611", [2, 1, 0]),
        ("acme-20261125T13", []),
        ("acme", []),
        ("acme-20261325", []),
        ("a%-2026", []),
        (TRACE_ID, []),
        ("0" * 32, []),  # of runs that are not traced
        ("0" * 8, []),
        ("", []),
    ],
)
async def test_runs_are_found_by_a_run_id_or_the_beginning_of_one(store: Store, text: str, found: list[int]) -> None:
    await begin(store, "acme", "acme-2026", "globex")
    assert [each.run_id for each in await store.find_runs(text)] == [run(number=number).run_id for number in found]


async def test_as_many_runs_are_found_as_are_wanted(store: Store) -> None:
    await begin(store, "acme", trace_id=TRACE_ID)
    latest = [run(number=number).run_id for number in (2, 1)]
    assert [each.run_id for each in await store.find_runs("acme-2026", limit=2)] == latest
    assert [each.run_id for each in await store.find_runs(TRACE_ID, limit=2)] == latest


async def test_the_tenants_with_a_campaign_are_found_by_its_exact_id(store: Store) -> None:
    assert await store.find_campaign("c1") == []
    for tenant, ids in {"acme": ["c1", "c2"], "globex": ["c1x"], "hooli": ["c2"], "initech": ["c2", "c3"]}.items():
        await store.begin(run(tenant))
        await store.keep_page(run(tenant), page(*ids), PushPolicy.ALL)
    assert await store.find_campaign("c2") == ["acme", "hooli", "initech"]
    assert await store.find_campaign("c2", limit=2) == ["acme", "hooli"]
    assert [await store.find_campaign(other) for other in ("c1", "c3", "c4", "")] == [["acme"], ["initech"], [], []]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_nothing_is_scanned_for_it(store: Store) -> None:
    await begin(store, "acme")
    with scans(store) as scanned:
        await store.find_runs(TRACE_ID)
        await store.find_runs("acme-2026")
        await store.find_campaign("c2")
    assert not scanned
