from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import pytest

from adsyncd.alerts.rules import runs_needed
from adsyncd.config.tenant_file import AlertsTable
from adsyncd.model.campaign import PushState
from adsyncd.model.day import Day, by_day
from adsyncd.model.run import Outcome, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, ending, history, pruning, tables
from adsyncd.store.pruning import RollUp
from support.records import NOON, page, rows, run, settle

A_DAY = timedelta(days=1)
TODAY = NOON.date()
EVER = date(1, 1, 1)
SUCCEEDED, FAILED = Outcome.SUCCEEDED, Outcome.FAILED


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep fewer runs, and work in smaller pieces."""
    monkeypatch.setattr(pruning, "_OLD", pruning.old_runs(piece=4, latest=3, latest_alike=2))


async def ended(store: Store, number: int, outcome: Outcome = SUCCEEDED, tenant: str = "acme") -> Run:
    """Record a run that ended; `number` counts quarters of an hour."""
    began = run(tenant, number)
    done = replace(
        *(began,),
        ended_at=began.started_at + timedelta(seconds=abs(number)),
        outcome=outcome,
        listed=7,
        pushed=4,
        stored=2,
        failed=1,
        requests=7,
        waited_s=0.5,
        error=f"error {number}" if outcome is FAILED else None,
    )
    await store.begin(began)
    await store.finish(done)
    return done


async def rolled_up(store: Store, tenant: str = "acme", first_day: date = EVER) -> Sequence[str]:
    """Sum up all old runs of a tenant, and return the ids of the others."""
    while (old := await store.old(tenant[:-1], NOON, first_day)) and (old.run_ids or old.outdated):
        assert old.tenant == tenant
        assert len(old.run_ids) <= 4
        await store.roll_up(RollUp(tenant, old.run_ids, first_day))
    return [each.run_id for each in reversed(await store.runs(tenant, 99))]


async def test_old_runs_become_a_sum_of_each_day_and_the_latest_ones_stay(store: Store) -> None:
    runs = [await ended(store, number, FAILED if number == -60 else SUCCEEDED) for number in range(-70, -40)]
    whole = await store.days("acme")
    assert whole == by_day([], runs)
    assert await rolled_up(store) == [runs[10].run_id, *(each.run_id for each in runs[-3:])]
    assert await store.days("acme") == whole
    summed = {row.day: row for row in await rows(store, tables.days)}
    assert summed.keys() == {TODAY - A_DAY, TODAY}
    assert sum(row.runs_succeeded for row in summed.values()) == 26


async def test_runs_that_are_not_old_stay(store: Store) -> None:
    runs = [await ended(store, number) for number in range(-4, 6)]
    assert await rolled_up(store) == [each.run_id for each in runs[4:]]


async def test_the_latest_runs_of_each_outcome_stay_however_many_of_another_came_after_them(store: Store) -> None:
    runs = [await ended(store, number - 99, SUCCEEDED if number < 5 else FAILED) for number in range(20)]
    assert await rolled_up(store) == [each.run_id for each in [*runs[3:5], *runs[-3:]]]
    assert await store.recent_requests(["acme"]) == {"acme": [7, 7]}


async def test_an_open_run_stays_open_however_old_it_is(store: Store) -> None:
    await store.begin(run(number=-99))
    [push, _] = await store.keep_page(run(number=-99), page("c1", "c2"), PushPolicy.ALL)
    await settle(store, run(number=-99), push, PushState.PUSHED)
    for number in range(-90, -80):
        await ended(store, number)
    assert run(number=-99).run_id in await rolled_up(store)
    assert [owed.campaign_id for owed in (await store.begin(run(number=-99))).owed] == ["c2"]
    assert (await store.days("acme"))[0].runs == 10


async def test_a_run_is_counted_once_though_two_processes_sum_it_up(store: Store) -> None:
    for number in range(-20, -10):
        await ended(store, number)
    old = await store.old("", NOON, EVER)
    assert old
    for _ in range(2):
        await store.roll_up(RollUp("acme", old.run_ids, EVER))
    [day] = await store.days("acme")
    assert (day.runs, day.requests) == (10, 70)


async def test_a_run_with_pushes_is_not_summed_up_before_they_are_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PIECE", 2)
    await store.begin(run(number=-99))
    await store.keep_page(run(number=-99), page("c1", "c2", "c3", "c4", "c5"), PushPolicy.ALL)
    for number in range(-99, -90):
        await ended(store, number)
    assert run(number=-99).run_id in await rolled_up(store)
    for left in (3, 1):
        assert await store.ended_with_pushes() == [run(number=-99).run_id]
        assert len(await rows(store, tables.pushes)) == left
        await store.remove_pushes(run(number=-99).run_id)
    assert await store.ended_with_pushes() == []
    assert run(number=-99).run_id not in await rolled_up(store)


async def test_what_a_run_did_not_push_is_removed_with_it_a_bounded_piece_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "UNPUSHED", 4)
    monkeypatch.setattr(pruning, "MOST_UNPUSHED", 3)
    runs = [run(number=number) for number in range(-99, -91)]
    for began in runs:
        await store.begin(began)
        for push in await store.keep_page(began, page("c1", "c2"), PushPolicy.ALL):
            await settle(store, began, push, PushState.FAILED, error="503")
        many = 2 if began != runs[1] else 9  # of which as many are kept as of any run
        await store.finish(replace(began, ended_at=NOON, outcome=FAILED, failed=many + 5, untried=5))
    pieces, left = [], 16
    while (old := await store.old("", NOON, EVER)) and old.run_ids:
        pieces.append(([runs.index(began) for began in runs if began.run_id in old.run_ids], old.more))
        await store.roll_up(RollUp("acme", old.run_ids, EVER))
        left -= 2 * len(old.run_ids)
        kept = await rows(store, tables.unpushed)
        assert len(kept) == left
        assert not {row.run_id for row in kept} & set(old.run_ids)
    assert pieces == [([0], True), ([1], True), ([2, 3], True), ([4], False)]


async def test_what_another_process_has_summed_up_is_not_forgotten_of_an_open_run(store: Store) -> None:
    await store.begin(run(number=-99))
    await store.roll_up(RollUp("acme", (run(number=-99).run_id,), EVER))
    assert [each.run_id for each in await store.open_runs()] == [run(number=-99).run_id]


async def test_pushes_of_open_runs_are_not_those_of_ended_ones(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "PIECE", 1)
    for tenant in ("acme", "globex", "hooli", "initech"):
        await store.begin(run(tenant))
        await store.keep_page(run(tenant), page("c1", "c2"), PushPolicy.ALL)
    for tenant in ("globex", "initech"):
        await store.finish(replace(run(tenant), ended_at=NOON))
    assert sorted(await store.ended_with_pushes()) == [run("globex").run_id, run("initech").run_id]


async def test_sums_of_days_are_removed_when_they_are_too_old(store: Store) -> None:
    for number in range(-4 * 24 * 5, -50, 48):
        await ended(store, number)
    before = [day.day for day in await store.days("acme")]
    assert before == [TODAY - A_DAY * ago for ago in (5, 4, 3, 2, 1)]
    await rolled_up(store, first_day=TODAY - 2 * A_DAY)
    assert [day.day for day in await store.days("acme")] == before[3:]


async def test_tenants_are_looked_at_one_by_one(store: Store) -> None:
    for tenant in ("globex", "acme"):
        for number in range(-20, -10):
            await ended(store, number, tenant=tenant)
    assert await rolled_up(store, "globex") == [run("globex", number).run_id for number in (-13, -12, -11)]
    assert len(await store.runs("acme", 99)) == 10
    first, second = await store.old("", NOON, EVER), await store.old("acme", NOON, EVER)
    assert [old and (old.tenant, len(old.run_ids), old.outdated) for old in (first, second)] == [
        ("acme", 4, False),
        ("globex", 0, False),
    ]
    assert await store.old("globex", NOON, EVER) is None


async def test_tenants_of_which_nothing_is_old_are_passed_over_but_not_too_many_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant in ("acme", "globex", "hooli"):
        await ended(store, 1, tenant=tenant)
    for number in range(-20, -10):
        await ended(store, number, tenant="hooli")
    for looks, tenant in ((1, "acme"), (2, "globex"), (3, "hooli"), (99, "hooli")):
        monkeypatch.setattr(pruning, "_LOOKS", looks)
        old = await store.old("", NOON, EVER)
        assert old
        assert (old.tenant, len(old.run_ids)) == (tenant, 4 if tenant == "hooli" else 0)


def test_as_many_runs_are_kept_as_alerts_and_plans_need() -> None:
    [most] = [bound.le for bound in AlertsTable.model_fields["failures"].metadata if hasattr(bound, "le")]
    settings = AlertsTable(failures=most)
    assert runs_needed(settings) <= pruning.LATEST  # type: ignore[arg-type]  # it has what a tenant's settings have
    assert history._RECENT <= pruning.LATEST_ALIKE


def test_a_day_of_the_database_is_a_day_of_the_program() -> None:
    assert [column.name for column in tables.days.columns] == list(Day.__slots__)
