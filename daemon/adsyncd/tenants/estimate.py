"""Estimates when a run in progress will be done."""

from datetime import MAXYEAR, datetime, timedelta

from adsyncd.model.run import Tally
from adsyncd.model.status import remaining_permits
from adsyncd.model.tenant import Tenant
from adsyncd.rate import Gate


def done_at(tally: Tally, tenant: Tenant, gate: Gate, now: datetime) -> datetime | None:
    """Return when a run will be done if nothing but the quota holds it up; None if no calendar has that date."""
    remaining = remaining_permits(tally, tenant)
    if remaining is None:
        return None
    try:
        end = now + timedelta(seconds=gate.forecast_s(remaining, tenant.usual_cost))
    except OverflowError:  # the platform claims to have so many campaigns
        return None
    return end if end.year < MAXYEAR else None  # readers put it into their own time zone
