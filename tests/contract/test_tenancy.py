"""What is stored of a tenant is counted, removed in pieces that are each consistent, or given to another name."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Table

from adsyncd.clock import SystemClock
from adsyncd.errors import CommandRefused, LeaseLost, StoreError
from adsyncd.model.alert import Alert, AlertName
from adsyncd.model.campaign import PushState, idempotency_key
from adsyncd.model.lease import Lease
from adsyncd.model.run import Outcome, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.rate.ledger import Claim, PermitRecord, ShapeRecord
from adsyncd.rate.quota import Shape
from adsyncd.store import Store, open_reader, pruning, tables, tenancy
from adsyncd.store.checkup import check_up
from adsyncd.store.tenancy import Permits, Records, Tenancy, open_tenancy
from support.records import NOON, HandClock, campaign, page, rows, run, settle

PUSHED, FAILED, DEAD = PushState.PUSHED, PushState.FAILED, PushState.DEAD_LETTERED
ALL_OF_IT = Records(
    campaigns=5, dead_letters=1, runs=2, unpushed=2, owed=5, days=1, listing_pages=1, pauses=1
)  # fmt: skip


@pytest.fixture
async def tenants(store: Store, url: str, clock: HandClock) -> AsyncIterator[Tenancy]:  # noqa: ARG001 - it migrates
    async with open_tenancy(url, clock=clock) as opened:
        yield opened


def ended(this: Run, outcome: Outcome = Outcome.PARTIAL, **counts: int) -> Run:
    return replace(this, ended_at=this.fire_time + timedelta(minutes=1), outcome=outcome, **counts)  # type: ignore[arg-type]  # counts


async def fill(store: Store, tenant: str = "acme") -> None:
    """Let a tenant have something of each kind: an old day, an ended run, and an open one that owes a push."""
    old = run(tenant)
    await store.begin(old)
    await store.finish(ended(old, Outcome.SUCCEEDED))
    await store.roll_up(pruning.RollUp(tenant, (old.run_id,), NOON.date()))
    first = run(tenant, 1)
    await store.begin(first)
    listed = page("c1", "c2", campaign("c3", "Größe"), "c4")
    one, two, three, four = await store.keep_page(first, replace(listed, etag='"v1"', source="ads"), PushPolicy.ALL)
    await settle(store, first, one, PUSHED, attempts=1)
    await settle(store, first, two, FAILED, attempts=5, error="503")
    await settle(store, first, three, DEAD, attempts=1, error="422")
    await settle(store, first, four, PUSHED, attempts=1)
    await store.finish(ended(first, listed=4, pushed=2, failed=1, dead_lettered=1))
    await store.begin(run(tenant, 2))
    await store.keep_page(run(tenant, 2), page("c1", "c2", campaign("c3", "Größe"), "c4", "c5"), PushPolicy.ALL)
    await store.pause(tenant, NOON)


async def lease(tenants: Tenancy, tenant: str, owner: str = "me") -> Lease:
    return await tenants.take_lease(tenant, owner)


async def tenants_in(store: Store, table: Table) -> set[str]:
    return {row.tenant for row in await rows(store, table)}


async def test_a_tenant_is_counted_by_kinds_of_records_and_others_are_not(store: Store) -> None:
    await fill(store)
    await fill(store, "acme-2")
    counted = await store._read(lambda connection: tenancy.count(connection, "acme"))
    assert counted == ALL_OF_IT
    none = await store._read(lambda connection: tenancy.count(connection, "acm"))
    assert (none, bool(none)) == (Records(), False)
    assert await store.stored_tenants() == ["acme", "acme-2"]


async def test_all_of_a_tenant_is_removed_in_pieces_that_are_each_consistent_and_nothing_of_another(
    store: Store, tenants: Tenancy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenancy, "_REMOVED", {kind: _one_at_a_time(kind) for kind in tenancy._REMOVED})
    await fill(store)
    await fill(store, "acme-2")
    other = {
        table.name: await tenants_in(store, table) for table in tables.metadata.tables.values() if "tenant" in table.c
    }
    assert other["runs"] == {"acme", "acme-2"}
    mine = await lease(tenants, "acme")
    removed = dict.fromkeys(tenancy._REMOVED, 0)
    while piece := await tenants.remove_some(mine):
        kind, number = piece
        removed[kind] += number
        assert not check_up(url).problems
        assert await store.open_runs("acme") == []
    assert Records(**removed) == ALL_OF_IT
    for table in tables.metadata.tables.values():
        if "tenant" in table.c:
            assert await tenants_in(store, table) <= {"acme-2"}, table.name
        elif "run_id" in table.c:
            assert {row.run_id.rsplit("-", 1)[0] for row in await rows(store, table)} == {"acme-2"}, table.name
    assert await store._read(lambda connection: tenancy.count(connection, "acme-2")) == ALL_OF_IT


def _one_at_a_time(kind: str) -> object:
    table = tables.pushes if kind == "owed" else tables.metadata.tables[kind]
    if kind in {"runs", "pauses"}:
        return tenancy._REMOVED[kind]
    return tenancy._some(table, tenancy._OF_TENANT[kind], 1)


async def test_alerts_that_fire_are_resolved_so_that_the_daemon_tells_their_receivers(
    store: Store, tenants: Tenancy, clock: HandClock
) -> None:
    fires = Alert("acme", AlertName.NO_SUCCESS, NOON, "no run succeeded", told=True)
    resolved = Alert("acme", AlertName.RUNS_FAILING, NOON, "3 runs failed", NOON, told=False)
    for alert in (fires, resolved):
        await store.keep_alert(alert)
    clock.instant += timedelta(hours=1)
    assert await tenants.remove_some(await lease(tenants, "acme")) is None
    assert sorted(await store.alerts(), key=lambda alert: alert.name) == [
        replace(fires, resolved_at=clock.instant, told=False),
        resolved,
    ]


async def test_a_process_that_took_the_tenant_over_loses_nothing(store: Store, tenants: Tenancy) -> None:
    await fill(store)
    lost = await lease(tenants, "acme")
    await lease(tenants, "acme-2")
    taken = await tenants.take_lease("acme", "another", lost)
    assert taken.owner == "another"
    with pytest.raises(LeaseLost):
        await tenants.remove_some(lost)
    with pytest.raises(LeaseLost):
        await tenants.rename(lost, await lease(tenants, "apex"))
    assert await store._read(lambda connection: tenancy.count(connection, "acme")) == ALL_OF_IT


async def test_a_renamed_tenant_has_all_that_was_stored_and_its_pushes_and_letters_keep_their_keys(
    store: Store, tenants: Tenancy, url: str
) -> None:
    await fill(store)
    await fill(store, "acme-2")
    [letter] = await store.dead_letters("acme")
    listing = await store.kept_page("acme", "ads", 1)
    days = await store.days("acme")
    moved = await tenants.rename(await lease(tenants, "acme"), await lease(tenants, "apex"))
    assert moved == ALL_OF_IT
    assert await store._read(lambda connection: tenancy.count(connection, "acme")) == Records()
    assert await store._read(lambda connection: tenancy.count(connection, "apex")) == ALL_OF_IT
    assert await store._read(lambda connection: tenancy.count(connection, "acme-2")) == ALL_OF_IT
    assert not check_up(url).problems
    named = [one.run_id for one in await store.runs("apex", 10)]
    assert named == [run("apex", 2).run_id, run("apex", 1).run_id]
    assert [one.run_id for one in await store.find_runs("apex-2026")] == named
    assert {one.campaign_id for one in await store.unpushed(run("apex", 1).run_id)} == {"c2", "c3"}
    new_letter = replace(letter, tenant="apex", run_id=run("apex", 1).run_id)
    assert await store.dead_letters("apex") == [new_letter]
    assert await store.kept_page("apex", "ads", 1) == listing
    assert await store.days("apex") == [replace(day, tenant="apex") for day in days]
    assert await store.pauses() == {"apex": NOON, "acme-2": NOON}
    assert {row.tenant for row in await rows(store, tables.leases)} == {"apex"}
    await store.settle_replay(new_letter, attempts=1, error=None, trace_id="t")
    assert await store.dead_letters("apex") == []


async def test_the_open_run_of_a_renamed_tenant_is_resumed_and_owes_each_push_under_its_first_key(
    store: Store, tenants: Tenancy
) -> None:
    await fill(store)
    await tenants.rename(await lease(tenants, "acme"), await lease(tenants, "apex"))
    resumed = run("apex", 2)
    point = await store.begin(resumed)
    owed = {push.campaign_id: push.key for push in point.owed}
    assert owed == {name: idempotency_key("acme", name, run("acme", 2).run_id) for name in ("c1", "c2", "c4", "c5")}
    for push in point.owed:
        await settle(store, resumed, push, PUSHED, attempts=1)
    await store.finish(ended(resumed, Outcome.SUCCEEDED, listed=5, pushed=4, dead_lettered=1))
    later = run("apex", 3)
    await store.begin(later)
    fresh = await store.keep_page(later, page("c1", "c2", campaign("c3", "Größe"), "c4", "c5"), PushPolicy.CHANGED)
    states = {push.campaign_id: push.state for push in fresh}
    assert states == dict.fromkeys(("c1", "c2", "c4", "c5"), PushState.SKIPPED) | {"c3": DEAD}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("acm", "apex", "nothing is stored of acm"),
        ("acme", "acme-2", "there are records of acme-2 already; if they are of no use: adsyncd forget acme-2"),
    ],
)
async def test_a_tenant_without_records_is_not_renamed_and_none_takes_the_name_of_one_with_records(
    store: Store, tenants: Tenancy, old: str, new: str, said: str
) -> None:
    await fill(store)
    await fill(store, "acme-2")
    held = [await lease(tenants, name) for name in (old, new)]
    with pytest.raises(CommandRefused, match=said):
        await tenants.rename(*held)
    for table in (tables.campaigns, tables.runs, tables.days, tables.pauses):
        assert await tenants_in(store, table) == {"acme", "acme-2"}


async def claim(store: Store, client_id: str, ago_s: float, boot_id: str) -> None:
    """Record a permit of a window of 60 s that was free so long ago."""
    free_at = SystemClock().since_boot() - ago_s
    await store.claim_permits([Claim(PermitRecord("mixo", client_id, 60_000, 0, free_at, boot_id, "p"), free_at)])


async def test_permits_of_client_ids_that_are_in_use_or_may_still_count_stay(store: Store, url: str) -> None:
    clock = SystemClock()
    for client_id, ago_s in {"gone": 70, "shared": 70, "recent": 50, "out": -30, "": 70}.items():
        await claim(store, client_id, ago_s, clock.boot_id)
    await claim(store, "rebooted", 70, "another boot")
    for client_id in ("gone", "shared", "learned"):
        store.note_shape(ShapeRecord("mixo", client_id, "q", Shape.PACED, strict=False, since=NOON))
    await store.pause("acme", NOON)  # after what was only queued
    async with open_tenancy(url, clock=clock) as tenants, open_reader(url, clock=clock) as reader:
        of_this_boot = await reader.spent_permits({("mixo", "rebooted")})
        permits = await tenants.remove_permits({("mixo", "shared"), ("other", "gone")})
    assert permits == Permits(removed=1, kept=3, kept_s=None)
    assert (of_this_boot.removed, of_this_boot.kept) == (2, 2)
    assert of_this_boot.kept_s == pytest.approx(90, abs=5)
    assert {record.client_id for record in await store.permits()} == {"shared", "recent", "out", "rebooted", ""}
    assert {record.client_id for record in await store.shapes()} == {"shared"}


def test_no_database_is_made_for_it(tmp_path: Path) -> None:
    async def opened() -> None:
        async with open_tenancy(f"sqlite:///{tmp_path}/adsyncd.db", clock=HandClock()):
            pytest.fail("it opened")

    with pytest.raises(StoreError, match="there is no database"):
        anyio.run(opened)
    assert list(tmp_path.iterdir()) == []
