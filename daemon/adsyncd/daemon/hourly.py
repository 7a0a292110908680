"""Once an hour, logs what is broken now and what was done: the log of the last hour tells it, whatever was logged."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import anyio
import structlog

from adsyncd.control.overview import Cause
from adsyncd.model.selection import Show
from adsyncd.model.verdict import Severity
from adsyncd.telemetry.repetition import HOUR_S
from adsyncd.tenants.run_log import RunLog

_log = structlog.stdlib.get_logger(__name__)

MOST = 20  # causes that are logged at a time
_EVENTS = {
    Show.REFUSED: "tenants' files are refused",
    Show.FAILING: "tenants are failing",
    Show.LATE: "tenants are late",
    Show.PARTIAL: "tenants are partly synced",
    Show.NEAR_QUOTA: "tenants are throttled",
}


async def look_hourly(causes: Callable[[], Awaitable[Sequence[Cause]]], run_log: RunLog) -> None:
    """Log what is wrong now and at each hour from now on, then with the sum of the runs, until cancelled."""
    due = anyio.current_time()
    while True:
        try:
            warn(await causes())
        except Exception:  # noqa: BLE001 - a bug in what is told must not stop what is done
            _log.exception("causes of trouble can't be told")
        due += HOUR_S
        await anyio.sleep_until(due)
        run_log.sum_up()


def warn(causes: Sequence[Cause]) -> None:
    """Log a warning for each cause that is more than a note, the worst first."""
    troubles = [cause for cause in causes if cause.severity is not Severity.NOTE]
    for cause in islice(troubles, MOST):
        _log.warning(
            _EVENTS.get(cause.trouble, "tenants are in trouble"),
            number=cause.number,
            tenants=list(cause.tenants),
            reason=cause.reason,
            fix=cause.fix,
            since=cause.since.isoformat(timespec="seconds") if cause.since else None,
        )
    if rest := troubles[MOST:]:
        _log.warning("more causes of trouble", causes=len(rest), tenants=sum(cause.number for cause in rest))
