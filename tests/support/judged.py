"""Tenants that are judged by runs of which a test says only what they are about."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from adsyncd.model.run import Outcome, Run
from adsyncd.model.status import RunProgress
from adsyncd.model.tenant import Every, Tenant
from adsyncd.model.verdict import Severity, Trouble, Verdict
from adsyncd.rate.quota import Quota
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.facts import Facts
from adsyncd.runs.verdict import verdict
from support.records import NOON, run
from support.tenants import a_tenant

ACME = a_tenant(quota=Quota(10, timedelta(seconds=20)), schedule=Every(timedelta(minutes=2)))
NOW = NOON + timedelta(minutes=6, seconds=2)


def ran(
    took_s: float = 122,
    skipped_ticks: int = 1,
    waits: Mapping[WaitReason, float] | None = None,
    **changes: Any,  # noqa: ANN401 - a run's fields
) -> Run:
    """Return a run of acme that began at noon and pushed 60 campaigns with 66 requests."""
    counts: dict[str, Any] = {"listed": 60, "pushed": 60, "requests": 66, "outcome": Outcome.SUCCEEDED}
    counts |= {"skipped_ticks": skipped_ticks, "waits": {WaitReason.QUOTA: 119.4} if waits is None else waits} | changes
    return replace(run(), ended_at=NOON + timedelta(seconds=took_s), **counts)


def going(skipped_ticks: int, waits: Mapping[WaitReason, float]) -> RunProgress:
    """Return the progress of a run that began at noon."""
    counts = dict.fromkeys(("announced", "listed", "pushed", "skipped", "stored", "dead_lettered", "failed"), 0)
    counts |= {"requests": 9, "retries": 0, "refused": 0}
    return RunProgress("acme-1", NOON, waited_s=0.0, done_at=None, skipped_ticks=skipped_ticks, waits=waits, **counts)


def judged(*runs: Run, tenant: Tenant | None = ACME, **known: Any) -> Verdict | None:  # noqa: ANN401 - facts
    """Judge acme by its runs, the newest first."""
    return verdict(Facts("acme", NOW, tenant, runs, **known))


def late(*runs: Run, **known: Any) -> Verdict:  # noqa: ANN401 - facts
    """Judge acme, which is late."""
    found = judged(*runs, **known)
    assert found
    assert (found.tenant, found.trouble, found.severity) == ("acme", Trouble.LATE, Severity.WARNING)
    return found
