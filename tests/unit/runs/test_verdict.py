"""What is wrong with a tenant, in words, situation by situation. Those of late tenants are in test_lateness."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adsyncd.errors import Problem
from adsyncd.model.run import Listing, Outcome
from adsyncd.model.tenant import SystemdRef, VaultRef
from adsyncd.model.verdict import Severity, Trouble, Verdict
from adsyncd.runs.facts import Facts
from adsyncd.runs.plan import plan
from adsyncd.runs.verdict import verdict
from support.judged import ACME, NOW, judged, ran
from support.records import NOON

MINUTE = timedelta(minutes=1)
PROBLEM = Problem(Path("acme.toml"), 3, "quota", "is no table", "write quota = { ... }")
FAILED = replace(ran(skipped_ticks=0), outcome=Outcome.FAILED, listed=0, pushed=0)
REFUSED = "the platform refused email and password; fix them where the drop-in's credentials point"


def test_a_tenant_without_trouble_has_no_verdict() -> None:
    assert judged() is None
    assert judged(ran(skipped_ticks=0), FAILED) is None


@pytest.mark.parametrize(
    ("error", "changes", "sentence", "reason", "fix"),
    [
        (
            REFUSED, {}, "acme fails: its last run failed.", "the platform refused email and password",
            "write the right credentials to Vault, at adsyncd/acme; the next run signs in again",
        ),
        (
            "ads-7.example did not answer within 10 s", {}, "acme fails: its last run failed.",
            "ads-7.example did not answer within …",
            "contact mixo; no action is needed here, since adsyncd goes on by itself",
        ),
        (
            "the platform answered 503 to page 17", {}, "acme fails: its last run failed.",
            "the platform answered 503 to page …",
            "contact mixo; no action is needed here, since adsyncd goes on by itself",
        ),
        (
            "Vault has nothing at secret/adsyncd/acme; write email and password there", {},
            "acme fails: its last run failed.", "Vault has nothing at secret/adsyncd/…",
            "write email and password there",
        ),
        (
            "not done within run_deadline (30m): was waiting for the quota", {"outcome": Outcome.ABANDONED},
            "acme fails: its last run did not end within sync.run_deadline.",
            "not done within run_deadline (…): was waiting for the quota",
            "raise sync.run_deadline; see what the runs wait for: adsyncd runs acme --json",
        ),
        (
            "internal error: see the log", {}, "acme fails: its last run failed.", "internal error: see the log",
            "see the trace of the run: adsyncd runs acme",
        ),
    ],
)  # fmt: skip
def test_a_tenant_whose_last_run_failed_says_why_and_what_to_do(
    error: str, changes: dict[str, Any], sentence: str, reason: str, fix: str
) -> None:
    failed = replace(FAILED, error=error, **changes)
    found = judged(failed, ran(skipped_ticks=0), tenant=replace(ACME, credentials=VaultRef("adsyncd/acme")))
    assert found
    assert (found.trouble, found.severity, found.since) == (Trouble.FAILING, Severity.CRITICAL, failed.ended_at)
    assert (found.sentence, found.reason, found.fixes) == (sentence, reason, (fix,))
    assert found.causes == (f"{error[0].upper()}{error[1:]}.", "The last run that succeeded ended 4m ago.")


def test_tenants_that_fail_for_the_same_reason_have_the_same_one() -> None:
    both = []
    for name in ("acme", "globex"):
        tenant = replace(ACME, id=name, client_id=f"{name}-7")
        error = f"the platform answered 404 to {name}-7 of {name} after {len(name)}.5 s"
        found = verdict(Facts(name, NOW, tenant, [replace(FAILED, error=error)]))
        assert found
        both.append(found.reason)
    assert both[0] == both[1] == "the platform answered 404 to … of … after …"


def test_runs_that_fail_in_a_row_are_counted_and_where_they_began_is_known_or_not() -> None:
    older = replace(FAILED, ended_at=NOON - MINUTE)
    found = judged(FAILED, older, ran())
    assert found
    assert (found.sentence, found.since) == ("acme fails: its last 2 runs failed.", older.ended_at)
    assert judged(FAILED, older).since is None  # type: ignore[union-attr]  # it fails


def test_an_abandoned_run_that_waited_for_quota_gets_the_fixes_of_the_plan() -> None:
    abandoned = replace(FAILED, outcome=Outcome.ABANDONED, error="not done: was waiting for the quota")
    [planned] = plan([ACME], {"acme": 60}, {}, NOW).tenants
    found = judged(abandoned, plan=planned)
    assert found
    assert found.fixes == planned.fixes


@pytest.mark.parametrize(
    ("credentials", "place"),
    [(SystemdRef("acme.json"), "the systemd credential acme.json"), (ACME.credentials, "the variables ACME_*")],
)
def test_refused_credentials_are_fixed_where_they_are_kept(credentials: Any, place: str) -> None:  # noqa: ANN401 - any of three
    found = judged(replace(FAILED, error=REFUSED), tenant=replace(ACME, credentials=credentials))
    assert found
    assert found.fixes == (f"write the right credentials to {place}; the next run signs in again",)


def test_a_run_that_can_not_be_recorded_is_worse_than_a_late_one() -> None:
    found = judged(ran(), ran(), unrecorded="adsyncd.db: the disk is full")
    assert found
    assert (found.trouble, found.severity) == (Trouble.FAILING, Severity.CRITICAL)
    assert (found.sentence, found.causes) == (
        "acme fails: no run can be recorded.",
        ("Adsyncd.db: the disk is full.",),
    )


PARTIAL = replace(
    ran(skipped_ticks=0), outcome=Outcome.PARTIAL, pushed=57, dead_lettered=2, failed=1,
    error="3 of 60 campaigns were not pushed, the first because the platform answered 422: over budget",
)  # fmt: skip


def test_campaigns_that_were_not_pushed_are_counted_with_the_reason_and_the_replay() -> None:
    found = judged(PARTIAL, ran(skipped_ticks=0))
    assert found == Verdict(
        "acme",
        Trouble.PARTIAL,
        Severity.WARNING,
        "acme is partial: 3 of 60 campaigns were not pushed.",
        "the platform answered 422: over budget",
        (
            "Of these, 2 dead letters, 1 failed.",
            "The first one because the platform answered 422: over budget.",
        ),
        (
            "fix the cause at mixo, then: adsyncd dead-letters replay --tenant acme",
            "wait: the next run pushes the 1 failed campaign again",
        ),
        PARTIAL.ended_at,
    )


def test_a_listing_that_collapsed_is_partial_though_nothing_was_lost() -> None:
    error = "20 of 60 campaigns are missing from the listing: none is marked deleted unless the next listing agrees"
    found = judged(replace(PARTIAL, pushed=60, dead_lettered=0, failed=0, listing=Listing.COLLAPSED, error=error))
    assert found
    assert (found.sentence, found.fixes) == (
        f"acme is partial: {error}.",
        ("adsyncd pause acme, if the listing of mixo is wrong",),
    )


def test_a_late_tenant_is_late_before_it_is_partial() -> None:
    found = judged(replace(PARTIAL, skipped_ticks=1), ran())
    assert found
    assert found.trouble is Trouble.LATE
    assert found.causes[1].startswith("Its last run was partial 4m ago: 3 of 60 campaigns were not pushed")


def test_answers_of_429_within_the_quota_are_somebody_s_fault() -> None:
    found = judged(ran(skipped_ticks=0, refused=7))
    assert found
    assert (found.trouble, found.severity) == (Trouble.THROTTLED, Severity.WARNING)
    assert found.sentence == "acme is answered 429 within its quota: 7 of 66 requests."
    [cause] = found.causes
    assert cause == (
        "adsyncd sent no more than 10 requests per 20s. "
        "So mixo allows less, or another program uses the client id acme."
    )


def test_a_paused_tenant_is_paused_whatever_went_before() -> None:
    found = judged(replace(FAILED, error="503"), paused_since=NOON)
    assert found == Verdict(
        "acme",
        Trouble.PAUSED,
        Severity.NOTE,
        "acme is paused: an operator paused it 6m 2s ago.",
        "paused by an operator",
        ("Its last run was failed 4m ago: 503.",),
        ("adsyncd resume acme",),
        NOON,
    )
    assert judged(ran(), ran(), paused_since=NOON).trouble is Trouble.PAUSED  # type: ignore[union-attr]  # there is one


def test_refused_files_name_their_problems_and_whether_the_last_good_ones_are_in_force() -> None:
    never = verdict(Facts("acme", NOW, refused=[PROBLEM]))
    assert never == Verdict(
        "acme",
        Trouble.REFUSED,
        Severity.CRITICAL,
        "acme does not run: 1 problem in its files.",
        "files refused: no run starts",
        ("acme.toml:3: quota: is no table; write quota = { ... }",),
        ("write quota = { ... }",),
    )
    runs_on = judged(ran(skipped_ticks=0), refused=[PROBLEM] * 5)
    assert runs_on
    assert (runs_on.severity, len(runs_on.causes), len(runs_on.fixes)) == (Severity.WARNING, 5, 1)
    assert runs_on.sentence == "acme runs with its last good settings: 5 problems in its files."
    failing = judged(replace(FAILED, error="503"), refused=[PROBLEM])
    assert failing
    assert failing.trouble is Trouble.FAILING  # nothing is synced, which is worse
