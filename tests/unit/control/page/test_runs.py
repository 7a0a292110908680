"""Rows of runs: lateness, waits, traces."""

from datetime import timedelta

import pytest

from adsyncd.control.page import runs
from adsyncd.model.run import Outcome
from adsyncd.model.status import RunProgress
from adsyncd.rate.wait import WaitReason
from support.drawn import a_run
from support.records import NOON

WAITED = {WaitReason.QUOTA: 119.0, WaitReason.BACKOFF: 2.0}


def test_a_late_run_says_by_how_much_and_what_took_its_time() -> None:
    row = runs.run_item(a_run("acme", late_s=122.4, skipped_ticks=1, waits=WAITED), NOON)
    assert (row.late, row.skipped, row.took, row.mostly) == ("2m 02s", "1 tick", "2m 00s", "99 % quota")
    assert 'aria-label="took 2m 00s; waited 1m 59s for quota, 2 s for backoff"' in row.times
    assert (row.outcome, row.sign, row.path) == ("succeeded", "idle", "/tenants/acme/runs/acme-20261125T115600.000Z")


def test_a_run_that_did_not_wait_says_so() -> None:
    row = runs.run_item(a_run("acme", late_s=0.4), NOON)
    assert (row.late, row.skipped, row.mostly) == ("", "", "")
    assert "without waits" in row.times


@pytest.mark.parametrize("waits", [{}, WAITED, {WaitReason.STORE: 1e9}])
def test_waits_never_take_more_than_the_whole(waits: dict[WaitReason, float]) -> None:
    run = a_run("acme", waits=waits)
    assert 0 <= runs.waited_share(run, NOON) <= 1
    assert runs.waited_share(a_run("acme", ended_at=run.started_at, waits=waits), NOON) == 0
    runs.run_item(run, NOON)


def test_a_run_in_progress_has_the_counts_of_this_process() -> None:
    run = a_run("acme", ended_at=None, outcome=None, pushed=10, listed=20)
    own = RunProgress(run.run_id, run.started_at, 60, 60, 44, 0, 0, 0, 0, 50, 0, 0, 110.0, None)
    row = runs.run_item(runs.in_progress(run, own), NOON)
    assert (row.outcome, row.sign, row.pushed, row.requests) == ("running", "running", "44/60", "50")
    other = runs.in_progress(run, RunProgress("other", NOON, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 1.0, None))
    assert other == run
    assert runs.in_progress(run, None) == run


def test_a_trace_is_a_link_if_traces_are_shown_anywhere() -> None:
    run = a_run("acme")
    assert runs.trace(run, None).href == ""
    url = "https://traces.example.com/trace/{trace_id}"
    assert runs.trace(run, url).href == f"https://traces.example.com/trace/{run.trace_id}"


def test_what_failed_stands_out() -> None:
    row = runs.run_item(a_run("acme", outcome=Outcome.PARTIAL, failed=1, dead_lettered=3, refused=2), NOON)
    assert (row.not_pushed, row.refused, row.sign) == (4, 2, "partial")
    assert runs.duration_s(a_run("acme", ended_at=NOON - timedelta(days=9)), NOON) == 0
