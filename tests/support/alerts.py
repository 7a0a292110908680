"""Alerts, and runs that give rise to them, of which a test says only what it is about."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from adsyncd.model.alert import Alert, AlertName
from adsyncd.model.run import Outcome, Run
from support.records import NOON, run


def an_alert(tenant: str = "acme", name: AlertName = AlertName.RUNS_FAILING, since: datetime = NOON) -> Alert:
    """Return an alert that fires, and of which nobody was told."""
    return Alert(tenant, name, since, "3 runs in a row failed, the last because 503")


def ended(outcome: Outcome, number: int = 0, tenant: str = "acme", **counts: Any) -> Run:  # noqa: ANN401 - a run's fields
    """Return a run that ended a minute after it began; `number` counts quarters of an hour from noon."""
    begun = run(tenant, number)
    error = None if outcome is Outcome.SUCCEEDED else "503"
    return replace(
        begun, outcome=outcome, ended_at=begun.started_at + timedelta(minutes=1), **{"error": error, **counts}
    )
