"""The latest runs of some tenants, of a time, with some outcomes; without a scan."""

from dataclasses import replace
from datetime import timedelta

import pytest

from adsyncd.model.run import Outcome
from adsyncd.store import Store, run_selection
from adsyncd.store.run_selection import RunSelection
from support.plans import scans, steps
from support.records import NOON, run

QUARTER = timedelta(minutes=15)
OUTCOMES = (Outcome.SUCCEEDED, Outcome.FAILED, None, Outcome.PARTIAL)
TENANTS = ("acme", "globex", "hooli")


@pytest.fixture
async def store(store: Store) -> Store:
    """A store in which each tenant has a run for each of the outcomes, one each quarter of an hour; None is open."""
    for tenant in TENANTS:
        for number, outcome in enumerate(OUTCOMES):
            began = run(tenant, number)
            await store.begin(began)
            if outcome:
                await store.finish(replace(began, ended_at=began.fire_time + QUARTER, outcome=outcome))
    return store


async def found(store: Store, selection: RunSelection, limit: int = 100) -> list[tuple[str, int]]:
    """Return the tenants and the numbers of runs, in the order in which they are found."""
    runs = await store.latest_runs(selection, limit)
    return [(one.tenant, (one.fire_time - NOON) // QUARTER) for one in runs]


ALL = [(tenant, number) for number in (3, 2, 1, 0) for tenant in ("hooli", "globex", "acme")]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (RunSelection(), ALL),
        (RunSelection(TENANTS), ALL),
        (RunSelection(()), []),
        (RunSelection(("acme", "hooli", "gone")), [one for one in ALL if one[0] != "globex"]),
        (RunSelection(("acme",), NOON + QUARTER, NOON + 3 * QUARTER), [("acme", 2), ("acme", 1)]),
        (RunSelection(None, NOON + 2 * QUARTER), ALL[:6]),
        (RunSelection(None, before=NOON + QUARTER), ALL[9:]),
        (RunSelection(outcomes=frozenset({Outcome.FAILED})), ALL[6:9]),
        (RunSelection(("acme",), outcomes=frozenset({Outcome.FAILED, Outcome.PARTIAL})), [("acme", 3), ("acme", 1)]),
        (RunSelection(outcomes=frozenset({None, Outcome.PARTIAL})), ALL[:6]),
        (RunSelection(("globex",), outcomes=frozenset({None})), [("globex", 2)]),
        (RunSelection(outcomes=frozenset({Outcome.ABANDONED})), []),
    ],
)
async def test_runs_satisfy_each_condition_newest_first(
    store: Store, selection: RunSelection, expected: list[tuple[str, int]]
) -> None:
    assert await found(store, selection) == expected
    for limit in range(1, len(expected) + 1):
        assert await found(store, selection, limit) == expected[:limit]


async def test_many_runs_are_read_piece_by_piece(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_selection, "_PIECE", 2)
    assert await found(store, RunSelection(TENANTS), 7) == ALL[:7]


async def test_an_open_run_has_its_current_counts(store: Store) -> None:
    [opened] = await store.latest_runs(RunSelection(("acme",), outcomes=frozenset({None})), 1)
    assert opened == await store.run(opened.run_id)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_indexes_lead_to_the_runs(store: Store) -> None:
    with scans(store) as scanned:
        await found(store, RunSelection(TENANTS, NOON, outcomes=frozenset({Outcome.FAILED})))
        await found(store, RunSelection(None, NOON, outcomes=frozenset({Outcome.FAILED})))
    assert not scanned
    with scans(store) as scanned:
        await found(store, RunSelection())
    assert scanned <= {"runs USING INDEX runs_fire_time"}  # up to the limit


@pytest.mark.parametrize("few", [0, 10])
async def test_some_of_many_tenants_with_an_outcome_are_found_among_all_of_that_outcome(
    store: Store, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(run_selection, "_FEW", few)
    for outcomes in ({Outcome.FAILED}, {Outcome.FAILED, None}, {Outcome.SUCCEEDED, Outcome.PARTIAL}):
        selection = RunSelection(("acme", "hooli"), NOON, NOON + 3 * QUARTER, frozenset(outcomes))
        expected = [one for one in ALL if one[0] != "globex" and one[1] < 3 and OUTCOMES[one[1]] in outcomes]
        for limit in (1, 2, 100):
            assert await found(store, selection, limit) == expected[:limit]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_an_index_leads_to_the_latest_runs_that_did_not_succeed_and_to_open_ones(store: Store) -> None:
    with steps(store) as taken:
        await found(store, RunSelection(outcomes=frozenset({Outcome.FAILED, Outcome.ABANDONED, None})))
    assert "SEARCH runs USING INDEX runs_unsuccessful (outcome=? AND fire_time>? AND fire_time<?)" in taken
    assert not [step for step in taken if "runs_fire_time" in step]
    with steps(store) as taken:
        await store.open_runs()
        await store.open_runs("acme")
        await store.last_runs()
    assert {"SCAN runs USING INDEX runs_open", "SEARCH runs USING INDEX runs_open (tenant=?)"} <= taken
    assert "SCAN runs USING COVERING INDEX sqlite_autoindex_runs_2" in taken  # the latest of each tenant
    assert not [step for step in taken if "runs_fire_time" in step]


@pytest.mark.parametrize(
    ("selection", "narrowed"),
    [
        (RunSelection(), False),
        (RunSelection(("acme",)), False),
        (RunSelection(since=NOON), True),
        (RunSelection(outcomes=frozenset({None})), True),
    ],
)
def test_tenants_alone_narrow_no_time(selection: RunSelection, narrowed: bool) -> None:
    assert selection.narrowed is narrowed
