from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.alerts import rules
from adsyncd.model.alert import AlertName
from adsyncd.model.run import Listing, Outcome, Run
from adsyncd.model.tenant import AlertSettings, Cron, Every
from adsyncd.runs.facts import Facts
from adsyncd.runs.success import got_through
from support.alerts import ended
from support.judged import ACME, NOW, going, ran
from support.records import NOON
from support.tenants import a_tenant

SETTINGS = AlertSettings(min_success_rate=0.9, failures=3)
FAILED, ABANDONED, PARTIAL, SUCCEEDED = Outcome.FAILED, Outcome.ABANDONED, Outcome.PARTIAL, Outcome.SUCCEEDED


def judged(
    *runs: Run,
    settings: AlertSettings = SETTINGS,
    sign_in_error: str | None = None,
    oldest: datetime | None = None,
    now: datetime = NOON,
    retried: bool = False,
) -> rules.Verdicts:
    """Judge by runs, the newest first."""
    return rules.judge(settings, rules.Facts(runs, sign_in_error, oldest, retried), now)


def history(outcomes: Sequence[Outcome]) -> list[Run]:
    """Runs that ended so, the newest first."""
    return [ended(outcome, -number) for number, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("outcome", "listed", "pushed", "skipped", "verdict"),
    [
        (PARTIAL, 10, 8, 0, "fires"),
        (PARTIAL, 10, 9, 0, "fine"),
        (PARTIAL, 10, 4, 5, "fine"),
        (PARTIAL, 2, 1, 0, "unknown"),
        (PARTIAL, rules.SAMPLE - 1, 0, 0, "unknown"),
        (PARTIAL, 2, 2, 0, "fine"),
        (FAILED, 50, 10, 0, "fires"),
        (ABANDONED, 50, 10, 0, "fires"),
        (FAILED, 0, 0, 0, "unknown"),
        (PARTIAL, 0, 0, 0, "unknown"),
        (SUCCEEDED, 0, 0, 0, "fine"),
        (SUCCEEDED, 50, 50, 0, "fine"),
    ],
)
def test_the_success_rate_rings_on_a_sample_and_is_well_again_on_any(
    outcome: Outcome, listed: int, pushed: int, skipped: int, verdict: str
) -> None:
    verdicts = judged(ended(outcome, listed=listed, pushed=pushed, skipped=skipped))
    wrong = verdicts.get(AlertName.LOW_SUCCESS_RATE, "unknown")
    assert (wrong if wrong == "unknown" else "fine" if wrong is None else "fires") == verdict


@pytest.mark.parametrize(("stored", "verdict"), [(20, None), (18, None), (17, "17 of 20 campaigns succeeded")])
def test_what_a_run_that_only_stores_has_stored_is_a_success(stored: int, verdict: str | None) -> None:
    wrong = judged(ended(PARTIAL, listed=20, stored=stored))[AlertName.LOW_SUCCESS_RATE]
    assert wrong == (verdict and f"{verdict}, and alerts.min_success_rate is 0.9")


def test_a_low_success_rate_says_what_got_through_and_what_was_asked_for() -> None:
    verdicts = judged(ended(PARTIAL, listed=20, pushed=10, skipped=7))
    assert verdicts[AlertName.LOW_SUCCESS_RATE] == ("17 of 20 campaigns succeeded, and alerts.min_success_rate is 0.9")


def test_a_listing_that_collapsed_rings_until_a_complete_one_is_believed() -> None:
    gap = "20 of 20 campaigns are missing from the listing"
    verdicts = judged(replace(ended(PARTIAL), listing=Listing.COLLAPSED, error=gap))
    assert verdicts[AlertName.LISTING_COLLAPSED] == f"the listing has lost more than half: {gap}"
    for silent in (None, Listing.KEPT):
        assert AlertName.LISTING_COLLAPSED not in judged(replace(ended(SUCCEEDED), listing=silent))
    assert judged(replace(ended(FAILED), listing=Listing.COMPLETE))[AlertName.LISTING_COLLAPSED] is None


@given(hundredths=st.integers(0, 100), listed=st.integers(rules.SAMPLE, 2000), data=st.data())
def test_a_rate_that_is_met_exactly_is_met(hundredths: int, listed: int, data: st.DataObject) -> None:
    through = data.draw(st.integers(0, listed))
    settings = AlertSettings(min_success_rate=float(f"{hundredths / 100:.2f}"), failures=3)
    verdicts = judged(ended(PARTIAL, listed=listed, pushed=through), settings=settings)
    met = Fraction(through, listed) >= Fraction(hundredths, 100)
    assert (verdicts[AlertName.LOW_SUCCESS_RATE] is None) == met


def test_runs_that_fail_say_how_many_and_why_the_last() -> None:
    runs = [ended(FAILED, error="no connection"), *history([FAILED, FAILED])]
    assert judged(*runs)[AlertName.RUNS_FAILING] == "3 runs in a row failed, the last because no connection"


@pytest.mark.parametrize("failures", [1, 3, 20])
def test_how_many_runs_may_fail_is_the_tenant_s_to_say_and_as_many_are_asked_for(failures: int) -> None:
    settings = AlertSettings(min_success_rate=0.9, failures=failures)
    assert rules.runs_needed(settings) >= failures
    assert judged(*history([FAILED] * failures), settings=settings)[AlertName.RUNS_FAILING]
    assert not judged(*history([FAILED] * (failures - 1) + [PARTIAL]), settings=settings)[AlertName.RUNS_FAILING]


def test_a_refused_sign_in_rings_with_the_run_that_it_made_fail() -> None:
    verdicts = judged(ended(FAILED), sign_in_error="the platform refused email and password")
    said = "the run failed without a sign-in: the platform refused email and password"
    assert verdicts[AlertName.SIGN_IN_FAILING] == said


@pytest.mark.parametrize("failures", [1, 3])
def test_a_sign_in_that_a_retry_may_fix_rings_only_when_as_many_runs_failed_as_may(failures: int) -> None:
    settings = AlertSettings(min_success_rate=0.9, failures=failures)
    for failed in range(1, 5):
        runs = history([FAILED] * failed + [PARTIAL])
        verdicts = judged(*runs, settings=settings, sign_in_error="Vault is sealed", retried=True)
        assert (AlertName.SIGN_IN_FAILING in verdicts) == (failed >= failures)


def test_a_sign_in_that_fails_while_the_token_at_hand_is_good_neither_rings_nor_resolves() -> None:
    for outcome in (SUCCEEDED, PARTIAL, ABANDONED):
        assert AlertName.SIGN_IN_FAILING not in judged(ended(outcome), sign_in_error="Vault is sealed")


def test_a_good_sign_in_is_the_end_of_it_even_in_a_run_that_failed() -> None:
    assert judged(ended(FAILED))[AlertName.SIGN_IN_FAILING] is None


@pytest.mark.parametrize(
    ("letters", "fires"),
    [
        ([4, 3, 2, 1], True),
        ([4, 3, 2], False),
        ([4, 3, 3, 1], False),
        ([4, 4, 3, 2, 1], False),
        ([9, 3, 2, 1, 8], True),
        ([0, 0, 0, 0], False),
    ],
)
def test_dead_letters_grow_when_each_of_some_runs_in_a_row_left_more(letters: list[int], fires: bool) -> None:
    runs = [ended(PARTIAL, -number, dead_lettered=count) for number, count in enumerate(letters)]
    assert (judged(*runs)[AlertName.DEAD_LETTERS_GROWING] is not None) is fires


def test_a_run_that_failed_says_nothing_of_dead_letters() -> None:
    growing = [ended(PARTIAL, -number, dead_lettered=4 - number) for number in range(rules.GROWING_RUNS + 1)]
    between = [growing[0], ended(FAILED, dead_lettered=0), *growing[1:]]
    expected = "4 campaigns are dead letters, 3 more than 3 runs ago"
    assert judged(*growing)[AlertName.DEAD_LETTERS_GROWING] == expected
    assert judged(*between)[AlertName.DEAD_LETTERS_GROWING] == expected


def test_dead_letters_age_by_the_oldest() -> None:
    for age, fires in ((rules.AGED - timedelta(seconds=1), False), (rules.AGED, True)):
        wrong = judged(ended(SUCCEEDED), oldest=NOON, now=NOON + age)[AlertName.DEAD_LETTERS_AGEING]
        assert (wrong is not None) is fires
    assert wrong == "a campaign is a dead letter since 2026-11-25 12:00 UTC; replay or discard it"
    assert judged(ended(SUCCEEDED))[AlertName.DEAD_LETTERS_AGEING] is None


@pytest.mark.parametrize(
    ("run", "through"),
    [
        (ended(SUCCEEDED, listed=0), True),
        (ended(PARTIAL, listed=1000, pushed=999), True),
        (ended(PARTIAL, listed=2, pushed=1), False),
        (ended(PARTIAL, listed=0), False),
        (ended(FAILED, listed=100, pushed=99), False),
        (ended(ABANDONED, listed=100, pushed=99), False),
    ],
)
def test_a_run_gets_through_that_comes_to_its_end_and_meets_the_rate_however_small(run: Run, through: bool) -> None:
    assert got_through(SETTINGS, run) is through
    assert (AlertName.NO_SUCCESS in judged(run)) is through
    assert judged(run).get(AlertName.NO_SUCCESS) is None


def test_a_tenant_is_overdue_one_interval_after_the_runs_that_may_fail_and_the_length_of_one() -> None:
    tenant = a_tenant(schedule=Every(timedelta(minutes=15)))
    assert rules.overdue_at(tenant, NOON, timedelta(minutes=2)) == NOON + timedelta(minutes=60 + 2)
    impatient = replace(tenant, alerts=AlertSettings(0.9, failures=1))
    assert rules.overdue_at(impatient, NOON, timedelta()) == NOON + timedelta(minutes=30)


def test_intervals_are_those_of_the_crontab() -> None:
    weekdays = a_tenant(schedule=Cron("0 9 * * mon-fri", "UTC"))  # noon is a Wednesday's
    assert rules.overdue_at(weekdays, NOON, timedelta()) == datetime.fromisoformat("2026-12-01T09:00:00+00:00")


def test_a_schedule_that_has_no_end_in_sight_is_never_overdue() -> None:
    never = a_tenant(schedule=Cron("0 0 31 2 *", "UTC"))
    assert rules.overdue_at(never, NOON, timedelta()) is None


def test_no_success_says_since_when_and_for_how_many_intervals() -> None:
    assert rules.no_success(a_tenant(), NOON) == (
        "no run has met alerts.min_success_rate since 2026-11-25 12:00 UTC, for 4 intervals"
    )


@given(st.lists(st.sampled_from(Outcome), min_size=1, max_size=12), st.integers(1, 12))
def test_an_alert_for_runs_that_fail_begins_and_ends_with_the_run_that_makes_it_true(
    outcomes: list[Outcome], failures: int
) -> None:
    settings = AlertSettings(min_success_rate=0.9, failures=failures)
    in_a_row = 0
    for number, outcome in enumerate(outcomes):
        in_a_row = in_a_row + 1 if outcome in (FAILED, ABANDONED) else 0
        runs = history(outcomes[number::-1])[: rules.runs_needed(settings)]
        assert (judged(*runs, settings=settings)[AlertName.RUNS_FAILING] is not None) == (in_a_row >= failures)


@pytest.mark.parametrize(
    ("runs", "in_progress", "state"),
    [
        ([1, 1, 1], None, "fires"),
        ([1, 2, 1, 0], None, "fires"),
        ([1, 1, 0], None, "unknown"),
        ([1, 1], None, "unknown"),
        ([0, 1, 1, 1], None, "fine"),
        ([3], None, "fires"),
        ([2], None, "unknown"),
        ([0], None, "fine"),
        ([], None, "fine"),
        ([0], 3, "fires"),
        ([], 3, "fires"),
        ([0], 2, "unknown"),
        ([1, 1, 1], 0, "fires"),
        ([0, 3], 0, "fine"),
    ],
)
def test_a_tenant_rings_as_late_after_three_runs_in_a_row_or_one_that_skipped_three_ticks(
    runs: list[int], in_progress: int | None, state: str
) -> None:
    progress = None if in_progress is None else going(in_progress, {})
    found = rules.late(Facts("acme", NOW, ACME, [ran(skipped_ticks=ticks) for ticks in runs], progress=progress))
    said = found.get(AlertName.LATE, "unknown")
    assert (said if said == "unknown" else "fine" if said is None else "fires") == state


def test_the_summary_of_a_late_tenant_is_its_verdict() -> None:
    assert rules.late(Facts("acme", NOW, ACME, [ran()] * 3)) == {
        AlertName.LATE: "acme is late: every second tick is skipped. It is due every 2m, and a run takes 2m 2s. "
        "Of that, 1m 59s (98 %) waits for the quota of 10 requests per 20s, which its 66 requests use up six times "
        "over."
    }
