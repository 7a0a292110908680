"""At each hour the log says what is broken, also where nothing has run since."""

from datetime import UTC, datetime

import anyio
import pytest
from structlog.testing import capture_logs

from adsyncd.control.overview import Cause
from adsyncd.daemon.hourly import MOST, look_hourly, warn
from adsyncd.model.selection import Show
from adsyncd.model.verdict import Severity
from adsyncd.tenants.run_log import RunLog
from support.virtual_time import BACKEND

FIVE = datetime(2026, 1, 1, 5, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> object:
    return BACKEND


def a_cause(reason: str = "the platform answered 503", severity: Severity = Severity.CRITICAL) -> Cause:
    return Cause(severity, Show.FAILING, reason, "wait", ["acme", "globex"], 40, FIVE)


async def test_what_fails_is_told_at_the_start_and_each_hour_with_the_sum_of_the_runs() -> None:
    asked = 0

    async def causes() -> list[Cause]:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RuntimeError("a bug")
        return [a_cause()]

    with capture_logs() as logged, anyio.move_on_after(2 * 3600 + 1):
        await look_hourly(causes, RunLog())
    assert [entry["event"] for entry in logged] == [
        "tenants are failing",
        "runs of the last hour",
        "causes of trouble can't be told",
        "runs of the last hour",
        "tenants are failing",
    ]
    first = logged[0]
    assert (first["log_level"], first["number"], first["tenants"]) == ("warning", 40, ["acme", "globex"])
    assert (first["reason"], first["since"]) == ("the platform answered 503", "2026-01-01T05:00:00+00:00")


def test_a_note_is_not_told_and_there_is_a_line_for_all_causes_that_are_too_many() -> None:
    with capture_logs() as logged:
        warn([a_cause(f"reason {number}") for number in range(MOST + 3)] + [a_cause("paused", Severity.NOTE)])
    assert [entry["event"] for entry in logged] == ["tenants are failing"] * MOST + ["more causes of trouble"]
    assert (logged[-1]["causes"], logged[-1]["tenants"]) == (3, 120)
