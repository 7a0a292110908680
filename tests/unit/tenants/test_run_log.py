"""How runs end is logged at each change, and once an hour while they do not succeed."""

from dataclasses import replace

from structlog.testing import capture_logs

from adsyncd.model.run import Outcome, Run
from adsyncd.telemetry.repetition import HOUR_S, Repetition
from adsyncd.tenants.run_log import RunLog
from support.records import run as a_run

MINUTE_S = 60.0


def ended(outcome: Outcome | None, error: str | None = None, pushed: int = 0) -> Run:
    return replace(a_run(), outcome=outcome, error=error, pushed=pushed)


def levels(*runs: Run, each_s: float = MINUTE_S) -> list[str]:
    """Return the levels at which runs are logged that end one after another."""
    log, said = RunLog(), Repetition()
    with capture_logs() as logged:
        for number, run in enumerate(runs):
            log.ended(run, said, number * each_s)
    return [entry["log_level"] for entry in logged]


def test_a_failure_that_repeats_is_a_warning_once_an_hour() -> None:
    runs = [ended(Outcome.FAILED, f"no answer within {number} s") for number in range(181)]
    found = levels(*runs)
    assert [number for number, level in enumerate(found) if level == "warning"] == [0, 60, 120, 180]
    assert set(found) == {"warning", "debug"}


def test_a_changed_reason_or_outcome_is_logged_at_once() -> None:
    down, refused = ended(Outcome.FAILED, "no connection"), ended(Outcome.FAILED, "the platform answered 403")
    assert levels(down, refused, refused, ended(Outcome.PARTIAL, "1 of 9 campaigns were not pushed")) == [
        "warning",
        "warning",
        "debug",
        "warning",
    ]
    assert levels(down, ended(Outcome.SUCCEEDED), down) == ["warning", "info", "warning"]


def test_successes_that_repeat_are_summed_up_alone() -> None:
    assert levels(*[ended(Outcome.SUCCEEDED)] * 4, each_s=HOUR_S) == ["info", "debug", "debug", "debug"]


def test_a_cancelled_or_interrupted_run_is_no_warning() -> None:
    assert levels(ended(Outcome.ABANDONED), ended(None, "the database is locked")) == ["info", "debug"]


def test_the_sum_counts_by_outcome_and_begins_anew() -> None:
    log, said = RunLog(), Repetition()
    for run in [ended(Outcome.SUCCEEDED, pushed=4), ended(Outcome.SUCCEEDED, pushed=3), ended(Outcome.FAILED, "down")]:
        log.ended(run, said, 0)
    log.ended(ended(None, "the database is locked", pushed=9), said, 0)
    with capture_logs() as logged:
        log.sum_up()
        log.sum_up()
    first, second = ({name: entry[name] for name in ("succeeded", "failed", "pushed")} for entry in logged)
    assert first == {"succeeded": 2, "failed": 1, "pushed": 7}
    assert second == {"succeeded": 0, "failed": 0, "pushed": 0}
    assert {entry["event"] for entry in logged} == {"runs of the last hour"}
