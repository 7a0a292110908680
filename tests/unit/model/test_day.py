from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta, timezone

from adsyncd.model.day import Day, by_day
from adsyncd.model.run import Outcome, Run

MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)
DAY = date(2026, 11, 25)


def ended(hours: float, outcome: Outcome, **counts: object) -> Run:
    at = MIDNIGHT + timedelta(hours=hours)
    began = Run("acme", f"acme-{hours}", at, at, "t", ended_at=at + timedelta(seconds=60 * hours), outcome=outcome)
    return replace(began, **counts)  # type: ignore[arg-type]  # fields of a run


def test_the_runs_of_a_day_are_summed_up_whatever_their_order() -> None:
    runs = [
        ended(1, Outcome.SUCCEEDED, listed=10, pushed=7, skipped=3, requests=8),
        ended(2, Outcome.PARTIAL, listed=10, pushed=7, failed=2, dead_lettered=1, requests=9, retries=4, error="503"),
        ended(3, Outcome.FAILED, refused=5, waited_s=1.5, error="no connection"),
        ended(4, Outcome.ABANDONED, waited_s=2.25, error="too late"),
        ended(4.5, Outcome.SUCCEEDED, listed=10, stored=10, requests=1),
    ]
    expected = Day(
        *("acme", DAY),
        *(2, 1, 1, 1),
        *(30, 14, 3, 10, 1, 2, 18, 4, 5),
        waited_s=3.75,
        longest_s=270.0,
        error="too late",
    )
    assert by_day([], runs) == by_day([], reversed(runs)) == [expected]
    assert expected.runs == 5


def test_days_begin_at_midnight_in_utc_wherever_the_time_is_read() -> None:
    runs = [ended(hours, Outcome.SUCCEEDED) for hours in (-0.001, 0, 23.999, 24)]
    elsewhere = [replace(run, fire_time=run.fire_time.astimezone(timezone(timedelta(hours=-9)))) for run in runs]
    assert [(day.day.day, day.runs) for day in by_day([], elsewhere)] == [(24, 1), (25, 2), (26, 1)]


def test_later_runs_are_added_to_a_day_and_each_tenant_has_its_own() -> None:
    [earlier] = by_day([], [ended(5, Outcome.FAILED, listed=1, error="first")])
    later = [ended(6, Outcome.FAILED, listed=2), replace(ended(7, Outcome.FAILED, listed=4), tenant="globex")]
    acme, globex = by_day([earlier], later)
    assert (acme.listed, acme.runs_failed, acme.longest_s, acme.error) == (3, 2, 360.0, "first")
    assert (globex.tenant, globex.listed) == ("globex", 4)


def test_every_count_of_a_run_is_in_its_day() -> None:
    counts = {field.name for field in fields(Run) if field.type in {int, float}}
    others = {"late_s", "untried"}  # how late a run began is no count, and untried campaigns are among the failed ones
    assert counts - others <= {field.name for field in fields(Day)}
