"""What the page of one tenant says, as values."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from adsyncd.control.overview import TenantRow
from adsyncd.control.page.frame import Notice
from adsyncd.control.page.tenant import Story, TenantView, tenant_view
from adsyncd.control.page.trail import trail
from adsyncd.model.alert import Alert, AlertName
from adsyncd.model.run import Outcome
from adsyncd.model.status import State, TenantStatus
from adsyncd.model.tenant import EnvRef, Every, PushPolicy, SystemdRef, VaultRef
from support.drawn import ROWS, UP, a_row, a_run
from support.records import NOON
from support.tenants import a_tenant

ROW = {row.status.id: row for row in ROWS}
EVERY = a_tenant(schedule=Every(timedelta(minutes=2)))
RUNS = [a_run("acme", 4 * number, skipped_ticks=1) for number in range(15)]
NONE = Story((), ())


def view(row: TenantRow = ROW["acme"], story: Story = NONE, **more: object) -> TenantView:
    return tenant_view(UP, row, story, NOON, **more)  # type: ignore[arg-type]


def test_a_late_tenant_says_why_and_what_would_help() -> None:
    shown = view()
    assert shown.sentence == "acme is late: every second tick is skipped."
    assert shown.severity == "warning"
    assert shown.causes[0] == "It is due every 2m, and a run takes 2m 02s."
    assert shown.fixes[0].startswith("schedule")
    assert "44 of 60 campaigns are done" in " ".join(shown.now)
    assert "It waits for the quota until 12:00:09." in shown.now


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (a_row("acme"), "acme is well."),
        (ROW["fresh"], "fresh has not run yet."),
        (TenantRow(TenantStatus("off", State.DISABLED), None, [], None), "off is disabled."),
    ],
)
def test_a_tenant_without_a_trouble_is_well(row: TenantRow, sentence: str) -> None:
    assert view(row).sentence == sentence


@pytest.mark.parametrize(
    ("row", "labels"),
    [
        (a_row("acme"), ["Run now", "Pause"]),
        (ROW["acme"], ["Pause"]),
        (a_row("acme", state=State.PAUSED, paused_since=NOON), ["Resume"]),
        (a_row("acme", state=State.DISABLED), []),
        (ROW["broken"], []),
    ],
)
def test_the_commands_that_a_tenant_would_refuse_are_not_offered(row: TenantRow, labels: list[str]) -> None:
    assert [button.label for button in view(row).buttons] == labels
    assert view(row, reads_only=True).buttons == []


def test_a_sentence_ends_with_one_full_stop() -> None:
    row = ROW["acme"]
    assert row.verdict
    ended = replace(row, verdict=replace(row.verdict, sentence="acme is late: its last run skipped 1 tick."))
    assert view(ended).sentence == "acme is late: its last run skipped 1 tick."


def test_skipped_ticks_are_drawn_where_the_schedule_has_them() -> None:
    drawn = view(story=Story(RUNS, RUNS), tenant=EVERY).hour
    assert 'aria-label="the last hour: 15 ticks ran, 15 skipped; 15 runs"' in drawn
    assert "15 skipped" in view(story=Story(RUNS, RUNS)).hour


def test_a_tick_that_is_still_to_come_is_not_skipped() -> None:
    run = a_run("acme", 0, ended_at=None, outcome=None, skipped_ticks=99)
    assert "0 skipped" in view(story=Story((), [run]), tenant=a_tenant(schedule=Every(timedelta(hours=5)))).hour


def test_runs_are_paged_by_their_fire_times_and_keep_the_outcome() -> None:
    shown = view(story=Story(RUNS, (), more=True, outcome=Outcome.FAILED, trail=trail("x")))
    assert shown.pager
    assert shown.pager.words == "26 to 40"
    assert shown.pager.next.startswith("/tenants/acme?outcome=failed&after=x~2026-11-25T")
    assert [link.label for link in shown.filters if link.current] == ["Failed"]


def test_an_alert_that_fires_is_shown_with_its_tenant_alone() -> None:
    alerts = [Alert(name, AlertName.LATE, NOON, "three ticks in a row") for name in ("acme", "globex")]
    assert [one.summary for one in view(alerts=alerts).alerts] == ["three ticks in a row"]


def test_the_result_of_a_command_is_told_and_no_other_word_of_the_address() -> None:
    assert view(done="pause").notices[0].kind == "good"
    assert view(done="<b>x").notices == []
    refused = Notice("bad", "acme is paused", "resume it")
    assert view(done="pause", refused=refused).notices == [refused]


@pytest.mark.parametrize(
    ("ref", "place"),
    [
        (VaultRef("adsyncd/acme", "reader"), "Vault adsyncd/acme, role reader"),
        (EnvRef("ACME"), "environment, ACME_EMAIL and so on"),
        (SystemdRef("acme"), "systemd credential acme"),
    ],
)
def test_of_credentials_the_place_alone_is_shown(ref: VaultRef | EnvRef | SystemdRef, place: str) -> None:
    shown = view(tenant=replace(EVERY, credentials=ref), file=Path("/etc/adsyncd/tenants.d/acme.toml"))
    settings = {pair.name: pair.value for pair in shown.settings}
    assert settings["Credentials"] == place
    assert settings["File"] == "/etc/adsyncd/tenants.d/acme.toml"
    assert settings["Schedule"] == "every 2m"
    assert settings["Free now"] == "13 of 20 permits"


def test_campaigns_that_were_not_pushed_lead_to_their_run() -> None:
    pairs = {pair.name: pair for pair in view(ROW["umbrella"]).campaigns}
    assert (pairs["In step"].value, pairs["Not pushed"].value) == ("21", "4")
    assert pairs["Not pushed"].href.startswith("/tenants/umbrella/runs/umbrella-")
    assert (pairs["Dead letters"].value, pairs["Dead letters"].href) == ("3", "/failures")
    assert view(ROW["fresh"]).campaigns[0].value == "not yet"


@pytest.mark.parametrize("push", PushPolicy)
def test_what_a_tenant_pushes_is_said_in_words(push: PushPolicy) -> None:
    assert "Pushes" in {pair.name for pair in view(tenant=a_tenant(push=push)).settings}
