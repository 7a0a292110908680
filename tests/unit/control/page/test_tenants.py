"""What the page of all tenants says of them, as values."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from adsyncd.control.overview import Cause, TenantsPage
from adsyncd.control.page.tenants import TenantItem, TenantsView, does, quota, tenant_path, tenants_view
from adsyncd.control.page.trail import trail
from adsyncd.model.selection import Show
from adsyncd.model.status import Export, State, VaultState, VaultStatus
from support.drawn import CAUSES, HISTORY, ROWS, UP, a_row
from support.records import NOON

COUNTS = {Show.ALL: 200, Show.WAITING: 4, Show.RUNNING: 11, Show.LATE: 8}


def view(causes: Sequence[Cause] = CAUSES, counts: dict[Show, int] | None = None, **more: object) -> TenantsView:
    page = TenantsPage(ROWS, 200, COUNTS if counts is None else counts, None)
    return tenants_view(UP, page, causes, HISTORY, NOON, **more)  # type: ignore[arg-type]


def rows() -> dict[str, TenantItem]:
    return {row.id: row for row in view().rows}


def said(shown: TenantsView) -> str:
    return "".join(words for words, _ in shown.lede)


def test_a_sentence_says_how_many_need_attention_and_the_next_one_how_the_rest_is() -> None:
    shown = view()
    assert shown.sentence == "15 of 200 tenants need attention."
    assert said(shown) == ("184 keep their schedule. 11 run now, 4 wait. Vault is up, the database is up.")


@pytest.mark.parametrize(
    ("causes", "number", "sentence"),
    [
        (CAUSES, 200, "15 of 200 tenants need attention."),
        (CAUSES[:1], 1, "1 of 1 tenant needs attention."),
        (CAUSES[3:], 200, "All 200 tenants are well."),
        ((), 1, "The tenant is well."),
        ((), 0, "There are no tenants."),
    ],
)
def test_the_sentence_fits_the_number(causes: Sequence[Cause], number: int, sentence: str) -> None:
    assert view(causes, {Show.ALL: number}).sentence == sentence


def test_without_tenants_it_says_how_to_add_one() -> None:
    shown = tenants_view(UP, TenantsPage((), 0, {Show.ALL: 0}, None), (), [], NOON)
    assert "drop-in" in shown.empty
    assert said(shown) == "Vault is up, the database is up."
    assert [fact.value for fact in shown.facts] == ["0", "0", "0", "0", "0 s"]


@pytest.mark.parametrize(
    ("telemetry", "said_of_it"),
    [
        ({"traces": Export(succeeded=True), "logs": Export(succeeded=True)}, ", telemetry is exported."),
        ({"traces": Export(cause="HTTP 503"), "logs": Export(succeeded=True)}, "."),
        ({"traces": Export(succeeded=True), "logs": Export()}, "."),
        ({}, "."),
    ],
)
def test_telemetry_is_said_to_be_exported_only_if_all_of_it_was(telemetry: dict[str, Export], said_of_it: str) -> None:
    shown = tenants_view(replace(UP, telemetry=telemetry), TenantsPage((), 0, {}, None), (), [], NOON)
    assert said(shown) == f"Vault is up, the database is up{said_of_it}"


def test_what_is_down_is_not_said_to_be_up() -> None:
    ill = replace(UP, store="the disk is full", vault=VaultStatus(VaultState.DOWN, NOON, "start it"))
    shown = tenants_view(ill, TenantsPage(ROWS, 8, {Show.ALL: 8}, None), (), [], NOON)
    assert "up" not in said(shown)
    assert len(shown.notices) == 2


def test_the_facts_are_sums_of_the_last_day() -> None:
    assert [(fact.label, fact.value, fact.small) for fact in view().facts] == [
        ("Pushed in 24 h", "184,462", ""),
        ("Not pushed", "136", "< 0.1 %"),
        ("Ticks skipped", "120", "of 19,320"),
        ("Answered 429", "22", "of 213,600"),
        ("Waited for quota", "35h 40m", ""),
    ]


def test_a_cause_has_its_tenants_its_fix_and_the_list_of_all() -> None:
    failing, late, refused, paused = view().causes
    assert (failing.severity, failing.extent, failing.tenants.more) == ("critical", "1 tenant", 0)
    assert failing.since
    assert failing.since.words == "52m"
    assert (late.tenants.names, late.tenants.more, late.tenants.href) == (
        ["acme", "cyberdyne", "duff-us"],
        5,
        "/?show=late",
    )
    assert refused.since is None
    assert (paused.severity, paused.reason) == ("note", "Paused")


def test_a_row_says_what_the_tenant_does_and_what_is_wrong() -> None:
    found = rows()
    assert (found["soylent"].does.words, found["soylent"].does.sign) == ("failing", "failing")
    assert (found["acme"].does.words, found["acme"].does.sign) == ("waits for quota", "waiting")
    assert (found["acme"].pushed, found["umbrella"].pushed, found["fresh"].pushed) == ("44/60", "21/25", "\N{EM DASH}")
    assert found["broken"].quota is None
    assert found["oscorp"].wrong.short == ""
    assert found["acme"].wrong.short == "late: every second tick is skipped"


def test_only_idle_tenants_are_shown_as_failing() -> None:
    row = ROWS[0]
    assert does(row.status, row.verdict).words == "failing"
    assert does(replace(row.status, state=State.RUNNING), row.verdict).words == "running"


@pytest.mark.parametrize(
    ("index", "words", "kind"), [(0, "41 %", ""), (1, "110 %", "badt"), (4, "93 %", "warnt"), (6, "\N{EM DASH}", "")]
)
def test_a_quota_that_is_close_or_too_small_stands_out(index: int, words: str, kind: str) -> None:
    shown = quota(ROWS[index].load)
    assert shown
    assert (shown.words, shown.kind) == (words, kind)


def test_filters_have_counts_and_lead_to_their_lists() -> None:
    links = view(show=Show.LATE).filters
    assert [(one.label, one.href, one.count) for one in links[:3]] == [
        ("All", "/", "200"), ("Failing", "/?show=failing", "0"), ("Late", "/?show=late", "8"),
    ]  # fmt: skip
    assert [one.label for one in links if one.current] == ["Late"]


def test_an_empty_list_says_which_one_it_is() -> None:
    page = TenantsPage((), 0, COUNTS, None)
    assert tenants_view(UP, page, (), [], NOON, show=Show.PAUSED).empty == "No tenant is in the list “Paused”."


def test_the_next_page_keeps_the_list() -> None:
    page = TenantsPage([a_row(f"t{one}") for one in range(100)], 250, COUNTS, "abc")
    pager = tenants_view(UP, page, (), [], NOON, show=Show.LATE, trail=trail("xyz")).pager
    assert pager
    assert (pager.words, pager.next) == ("101 to 200 of 250", "/?show=late&after=xyz~abc")
    assert tenant_path("a/b") == "/tenants/a%2Fb"


def test_the_last_success_is_known_from_the_last_run_or_the_last_day() -> None:
    found = {name: row.success and row.success.words for name, row in rows().items()}
    assert found["acme"] == "2m ago"
    assert found["soylent"] == "1h ago"
    assert (found["umbrella"], rows()["umbrella"].overdue) == ("none in 24 h", True)
    assert (found["fresh"], rows()["fresh"].overdue) == (None, False)


def test_only_a_cause_that_is_about_quotas_leads_to_them() -> None:
    late = [replace(CAUSES[1], reason=reason) for reason in ("late: runs wait for quota", "late: the database")]
    assert [cause.see and cause.see.href for cause in view(late).causes] == ["/quotas", None]


def test_alerts_that_fire_are_counted() -> None:
    assert "2 alerts fire. " in said(view(alerts=2))
    assert "1 alert fires. " in said(view(alerts=1))
