"""Why a tenant is late, in words, situation by situation."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.config.profile_file import shipped_profile
from adsyncd.model.run import Outcome, Run, Wait
from adsyncd.model.tenant import Cron, Platform, PushPolicy
from adsyncd.model.verdict import Severity, Trouble, Verdict
from adsyncd.rate.quota import Quota, Window
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.plan import plan
from support.judged import ACME, NOW, going, judged, late, ran
from support.records import NOON

MINUTE = timedelta(minutes=1)
Q, P, B, STORE = WaitReason.QUOTA, WaitReason.PLATFORM_QUOTA, WaitReason.BREAKER, WaitReason.STORE


UNCHANGED = "Nothing fails: 4 of 60 campaigns were pushed, and the others had not changed, 4m ago."
EXPLAINED = (
    "It is due every 2m, and a run takes 2m 2s. Of that, 1m 59s (98 %) waits for the quota of 10 requests per 20s, "
    "which its 66 requests use up six times over."
)

# Because of the quota


def test_a_tenant_whose_quota_is_too_small_is_late_with_its_numbers_and_the_fixes() -> None:
    found = late(*[ran()] * 10)
    assert found == Verdict(
        "acme",
        Trouble.LATE,
        Severity.WARNING,
        "acme is late: every second tick is skipped.",
        "late: runs wait for the quota of their client id",
        (EXPLAINED, "Nothing fails: all 60 campaigns were pushed 4m ago."),
        ('schedule = { every = "3m" } or less often', "have the platform allow 17 requests per 20s",
         'sync.push = "changed"'),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("skipped", "words"),
    [
        ([1], "its last run skipped 1 tick"),
        ([2], "its last run skipped 2 ticks"),
        ([1, 1], "every second tick is skipped"),
        ([2, 2, 2], "2 of 3 ticks are skipped"),
        ([1, 3, 1], "5 of the last 8 ticks were skipped"),
        ([1, 1, 0, 1], "every second tick is skipped"),
    ],
)
def test_the_sentence_says_which_ticks_are_skipped(skipped: Sequence[int], words: str) -> None:
    assert late(*[ran(skipped_ticks=ticks) for ticks in skipped]).sentence == f"acme is late: {words}."


def test_lateness_began_with_the_first_of_the_runs_in_a_row_if_all_of_them_are_known() -> None:
    well = replace(ran(skipped_ticks=0), started_at=NOON - timedelta(hours=2))
    first = replace(ran(), started_at=NOON - timedelta(hours=1))
    assert late(ran(), first, well).since == first.started_at
    assert late(ran(), first).since is None


def test_one_tick_that_a_run_by_hand_caused_makes_nobody_late() -> None:
    assert judged(ran(60)) is None
    assert judged(ran(60, skipped_ticks=0), ran()) is None
    assert late(ran(60), ran(60)).sentence == "acme is late: every second tick is skipped."


def test_the_plan_of_a_tenant_knows_who_shares_its_quota() -> None:
    other = replace(ACME, id="other")
    [planned, _] = plan([ACME, other], {"acme": 60, "other": 60}, {}, NOW).tenants
    assert late(ran(), plan=planned).fixes == planned.fixes
    assert planned.fixes != late(ran()).fixes
    assert 'schedule = { every = "' not in "".join(planned.fixes)  # together they need more than there is
    [alone] = plan([ACME], {"acme": 60}, {}, NOW).tenants
    assert alone.fixes == late(ran()).fixes


@pytest.mark.parametrize(
    ("quota", "requests", "words"),
    [
        (Quota(10, 20 * MINUTE / 60), 15, "10 requests per 20s, which its 15 requests exceed."),
        (Quota(10, 20 * MINUTE / 60), 29, "10 requests per 20s, which its 29 requests use up twice over."),
        (Quota(10, 20 * MINUTE / 60), 990, "10 requests per 20s, which its 990 requests use up 99 times over."),
        (Quota(100, MINUTE), 66, "100 requests per 1m."),
        (
            Quota(100, MINUTE, also=(Window(30, timedelta(hours=1)),)),
            66,
            "100 requests per 1m and 30 requests per 1h, which its 66 requests use up twice over.",
        ),
    ],
)
def test_the_cause_names_the_quota_and_how_often_a_run_uses_it_up(quota: Quota, requests: int, words: str) -> None:
    found = late(ran(requests=requests), tenant=replace(ACME, quota=quota))
    assert found.causes[0].endswith(f"waits for the quota of {words}")


def test_a_crontab_has_a_shortest_time_between_its_ticks() -> None:
    cron = replace(ACME, schedule=Cron("0,2 * * * *", "UTC"))
    assert late(ran(), tenant=cron).causes[0].startswith("It is due as often as every 2m, and a run takes 2m 2s.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pushed": 4, "skipped": 56}, UNCHANGED),
        ({"pushed": 0, "stored": 60}, "Nothing fails: all 60 campaigns were stored 4m ago."),
        ({"outcome": Outcome.PARTIAL, "error": "1 of 60 campaigns were not pushed"},
         "Its last run was partial 4m ago: 1 of 60 campaigns were not pushed."),
    ],
)  # fmt: skip
def test_a_late_tenant_says_what_its_last_run_achieved(changes: dict[str, Any], words: str) -> None:
    assert late(ran(**changes)).causes[1] == words


# For another reason: nobody is told to buy quota

MIXO = replace(ACME.platform, quota=Quota(500, MINUTE))


@pytest.mark.parametrize(
    ("found", "clause", "reason", "fixes"),
    [
        (
            ran(waits={P: 100}),
            "1m 40s (82 %) waits for the quota of 500 requests per 1m that all tenants of mixo share",
            "late: runs wait for the quota that all tenants of mixo share",
            ["have mixo allow more to all its tenants together; adsyncd plan says how much",
             'schedule = { every = "3m" } or less often', 'sync.push = "changed"'],
        ),
        (
            ran(waits={Q: 40, WaitReason.RETRY_AFTER: 30, WaitReason.FEEDBACK: 30}),
            "1m (49 %) passes because mixo asked for it, by Retry-After or by the limits that it states",
            "late: mixo asks for waits",
            ["ask mixo which limit it applies, and state that as the quota",
             'schedule = { every = "3m" } or less often'],
        ),
        (
            ran(waits={B: 110}),
            "1m 50s (90 %) passes because mixo answered nobody, so that its circuit breaker was open",
            "late: mixo fails, and its circuit breaker is open",
            ["contact mixo; no action is needed here, since adsyncd goes on by itself"],
        ),
        (
            ran(waits={WaitReason.BACKOFF: 70, WaitReason.RETRY_BUDGET: 20}, retries=30),
            "1m 30s (74 %) passes between attempts: 30 of its 66 requests repeat failed ones",
            "late: requests to mixo fail and are repeated",
            ["contact mixo; no action is needed here, since adsyncd goes on by itself"],
        ),
        (
            ran(waits={STORE: 90}),
            "1m 30s (74 %) waits for the database",
            "late: runs wait for the database",
            ["see why the database is slow: its disk, or the network to it"],
        ),
        (
            ran(waits={WaitReason.CREDENTIALS: 90}),
            "1m 30s (74 %) waits for credentials or for a sign-in",
            "late: runs wait for credentials",
            ["see why Vault or the sign-in is slow: adsyncd status"],
        ),
        (
            ran(waits={WaitReason.RESOURCES: 90}),
            "1m 30s (74 %) waits for resources of this machine, such as open files",
            "late: this machine lacks resources",
            ["let the service open more files (LimitNOFILE)"],
        ),
        (
            ran(waits={Q: 2}),
            "2m (98 %) passes until mixo has answered its 66 requests",
            "late: mixo answers slowly",
            ["ask mixo why it answers slowly", "sync.concurrency = 7", 'schedule = { every = "3m" } or less often'],
        ),
        (
            ran(waits={Q: 100}, listed=600, pushed=3, skipped=597, requests=63),
            "1m 40s (82 %) waits for the quota: 60 of its 63 requests list pages of 10 campaigns",
            "late: pages are small",
            ["sync.page_size = 600", 'schedule = { every = "3m" } or less often'],
        ),
        (
            ran(waits={Q: 1}, listed=600, pushed=3, skipped=597, requests=63),
            "2m 1s (99 %) passes until mixo has answered: 60 of its 63 requests list pages of 10 campaigns",
            "late: pages are small",
            ["sync.page_size = 600", 'schedule = { every = "3m" } or less often'],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("late") else "",
)  # fmt: skip
def test_a_tenant_that_is_late_for_another_reason_than_its_quota_says_so_and_gets_other_fixes(
    found: Run, clause: str, reason: str, fixes: list[str]
) -> None:
    tenant = replace(ACME, platform=MIXO)
    said = late(found, found, tenant=tenant, plan=plan([ACME], {"acme": 60}, {}, NOW).tenants[0])
    assert said.causes[0] == f"It is due every 2m, and a run takes 2m 2s. Of that, {clause}."
    assert (said.reason, list(said.fixes)) == (reason, fixes)


def test_a_platform_with_small_pages_leaves_no_page_size_to_raise() -> None:
    profile = shipped_profile()
    small = replace(profile, listing=replace(profile.listing, page_size=(1, 10)))
    tenant = replace(ACME, platform=Platform("mixo", "http://ads.invalid", small))
    found = late(ran(listed=600, pushed=3, skipped=597, requests=63), tenant=tenant)
    assert found.reason == "late: runs wait for the quota of their client id"
    assert not any("page_size" in fix for fix in found.fixes)


def test_a_run_in_progress_that_has_skipped_no_more_than_others_is_not_over_yet() -> None:
    found = late(ran(), ran(), progress=going(1, {B: 350}))
    assert found.sentence == "acme is late: every second tick is skipped."
    assert found.causes[0] == EXPLAINED


def test_a_run_in_progress_that_skips_more_than_any_is_the_one_to_look_at() -> None:
    found = late(ran(), progress=going(3, {B: 350}), wait=Wait(B))
    assert found.sentence == "acme is late: its run in progress has skipped 3 ticks."
    assert found.causes[0] == (
        "It is due every 2m, and its run in progress has taken 6m 2s so far. "
        "Of that, 5m 50s (97 %) passes because mixo answered nobody, so that its circuit breaker was open."
    )
    assert found.fixes == ("contact mixo; no action is needed here, since adsyncd goes on by itself",)
    assert late(progress=going(3, {Q: 350})).since == NOON
    assert late(progress=going(3, {Q: 350})).fixes == ("see adsyncd plan",)
    assert "a run takes 2m 2s" in late(ran(), ran(), progress=going(0, {B: 350})).causes[0]
    assert judged(progress=going(0, {Q: 350})) is None


REASONS = st.dictionaries(st.sampled_from(WaitReason), st.floats(0, 40), max_size=10)


@given(waits=REASONS, requests=st.integers(0, 2000), listed=st.integers(0, 2000), took_s=st.floats(0, 400),
       skipped=st.integers(1, 9), push=st.sampled_from(PushPolicy))  # fmt: skip
def test_there_are_words_for_each_late_tenant(
    waits: dict[WaitReason, float], requests: int, listed: int, took_s: float, skipped: int, push: PushPolicy
) -> None:
    tenant = replace(ACME, sync=replace(ACME.sync, push=push))
    runs = [ran(took_s, skipped, waits, requests=requests, listed=listed)] * 2
    for found in (late(*runs, tenant=tenant), late(progress=going(skipped + 1, waits), tenant=tenant)):
        assert found.causes
        assert found.fixes
        assert not set("".join(found.reason)) & set("0123456789{}")
        if not waits.get(Q):
            assert not [fix for fix in found.fixes if fix.startswith("have the platform allow")]
