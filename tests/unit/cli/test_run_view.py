"""`adsyncd runs show`, called in this process as the shell calls it."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from adsyncd.model.campaign import PushState
from adsyncd.model.run import Outcome, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.rate.wait import WaitReason
from adsyncd.store import Store
from support.commands import Call, add_tenant
from support.migrated import in_store, sqlite_file
from support.records import campaign, page, run, settle

TRACE_ID = "5bd66ef5095369c7b0d1f8f4bd33716a"
SALE = "Spring [red]sale[/]"
SAID = """\
acme-20261125T120000.000Z: partial, 1 of 4 campaigns pushed
tenant     acme
started    2026-11-25 13:00:00+01:00, 4m10s late
skipped    2 ticks of its tenant while it was in progress
took       2m3s; waited: 1m40s quota, 20s backoff, 3s without a wait
campaigns  4 listed, 1 pushed, 1 failed, 1 dead, 1 never tried
requests   9, 5 of them retries, 3 answered 429
error      not done within run_deadline
trace      5bd66ef5095369c7b0d1f8f4bd33716a

not pushed, the latest first:
campaign name                state         attempts since (+01:00)      reason
c1       Spring [red]sale[/] dead lettered        1 2026-11-25 13:00:00 422: over budget
c2                           failed               5 2026-11-25 13:00:00 503: gone
"""


def record(folder: Path, *runs: Run) -> None:
    """Keep runs of four campaigns: of those that ended, one campaign is pushed, one dead, one failed and one owed."""

    async def keep(store: Store) -> None:
        states = (PushState.DEAD_LETTERED, 1, "422: over budget"), (PushState.FAILED, 5, "503: gone")
        for each in runs:
            await store.begin(replace(each, ended_at=None, outcome=None))
            listed = page(campaign("c1", SALE), "c2", "c3", "c4")
            pushes = await store.keep_page(each, listed, PushPolicy.ALL)
            for push, (state, attempts, error) in zip(pushes, states, strict=False):
                await settle(store, each, push, state, attempts=attempts, error=error)
            if each.outcome:
                await settle(store, each, pushes[2], PushState.PUSHED, attempts=1)
                await store.finish(each)

    in_store(sqlite_file(folder), keep)


def a_run(tenant: str = "acme", number: int = 0, **changes: object) -> Run:
    began = run(tenant, number)
    ended = replace(
        began,
        trace_id=TRACE_ID if number == 0 else began.trace_id,
        ended_at=began.started_at + timedelta(minutes=2, seconds=3.4),
        outcome=Outcome.ABANDONED,
        listed=4,
        pushed=1,
        failed=2,
        dead_lettered=1,
        untried=1,
        requests=9,
        retries=5,
        refused=3,
        late_s=250.4,
        skipped_ticks=2,
        waits={WaitReason.BACKOFF: 20.0, WaitReason.QUOTA: 100.4, WaitReason.STORE: 0.1},
        error="not done within run_deadline",
    )
    return replace(ended, **changes)  # type: ignore[arg-type]  # fields of a run


@pytest.mark.parametrize("name", [run().run_id, TRACE_ID, TRACE_ID[:8], "acme-20261125"])
def test_a_run_is_shown_in_words_with_what_it_did_not_push(call: Call, folder: Path, name: str) -> None:
    record(folder, a_run(outcome=Outcome.PARTIAL), a_run("globex", 1))
    said = call("runs", "show", name)
    assert (said.code, said.err) == (0, "")
    assert [line.rstrip() for line in said.out.splitlines()] == SAID.splitlines()


def test_without_a_terminal_the_error_is_one_line(call: Call, folder: Path) -> None:
    record(folder, a_run(error="e" * 300))
    said = call("runs", "show", run().run_id).out.splitlines()
    assert f"error      {'e' * 300}" in said


def test_a_run_as_json_has_the_keys_of_the_contract(call: Call, folder: Path) -> None:
    record(folder, a_run())
    listed = json.loads(call("runs", "--json").out)[0]
    shown = json.loads(call("runs", "show", run().run_id, "--json").out)
    assert shown == {
        "run": listed | {"untried": 1},
        "unpushed": [
            {
                "campaign_id": "c1",
                "name": SALE,
                "state": "dead_lettered",
                "reason": "422: over budget",
                "attempts": 1,
                "since": shown["unpushed"][0]["since"],
            },
            {
                "campaign_id": "c2",
                "name": "",
                "state": "failed",
                "reason": "503: gone",
                "attempts": 5,
                "since": shown["unpushed"][1]["since"],
            },
        ],
        "more": 0,
    }
    assert shown["unpushed"][0]["since"].endswith("+00:00")


def test_as_many_campaigns_are_shown_as_are_wanted_and_the_others_are_counted(call: Call, folder: Path) -> None:
    record(folder, a_run())
    said = call("runs", "show", run().run_id, "--limit", "1").out.splitlines()
    assert said[-2].startswith("c1 ")
    assert said[-1] == "1 more"


def test_campaigns_of_a_run_that_an_earlier_version_recorded_have_no_reasons(call: Call, folder: Path) -> None:
    record(folder, a_run(failed=5, untried=0, number=1))
    said = call("runs", "show", run(number=1).run_id).out.splitlines()
    assert said[-1] == "4 more"


def test_an_open_run_shows_what_it_has_not_pushed_so_far(call: Call, folder: Path) -> None:
    record(folder, a_run(outcome=None, ended_at=None))
    said = call("runs", "show", run().run_id).out
    assert said.startswith(f"{run().run_id}: open, 0 of 4 campaigns pushed\n")
    assert "requests" not in said
    assert "c2 " in said


@pytest.mark.parametrize("name", ["acme-20261125T130000.000Z", "amce", "ffffffff", "x [red]y[/]"])
def test_no_such_run_is_a_mistake_with_its_fix(call: Call, folder: Path, name: str) -> None:
    record(folder, a_run())
    said = call("runs", "show", name)
    fix = "adsyncd runs --json lists the latest with their ids, and older ones are not kept"
    assert (said.code, said.out, said.err) == (1, "", f"error: there is no run {name}; {fix}\n")


def test_of_several_runs_one_has_to_be_named(call: Call, folder: Path) -> None:
    record(folder, a_run(), a_run(number=1))
    said = call("runs", "show", "acme-2026")
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        f"error: several runs begin with acme-2026: write one of them in full: {run(number=1).run_id}, {run().run_id}\n"
    )


def test_show_without_a_run_is_a_tenant_or_a_mistake(call: Call, folder: Path) -> None:
    record(folder, a_run())
    assert (call("runs", "show").code, call("runs", "acme", "x").code) == (2, 2)
    assert call("runs", "show", "x", "--daily").code == 2
    assert "adsyncd runs show RUN" in call("runs", "show").err
    record(folder, a_run("show"))
    assert [each["tenant"] for each in json.loads(call("runs", "show", "--json").out)] == ["show"]


def test_a_tenant_that_is_called_show_has_no_runs_yet(call: Call, folder: Path) -> None:
    record(folder)
    add_tenant(folder, "show")
    assert call("runs", "show").out == "no runs of show yet\n"
