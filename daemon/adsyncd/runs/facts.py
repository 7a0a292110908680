"""What is known of a tenant when it is judged, and words for it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adsyncd.duration import format_duration
from adsyncd.errors import Problem
from adsyncd.model.run import Run, Wait
from adsyncd.model.status import RunProgress, counted
from adsyncd.model.tenant import Tenant
from adsyncd.rate.quota import Quota
from adsyncd.runs.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the tenant `id`.

    `tenant`: None if its files were never valid. `runs`: its latest ended runs, newest first, one or many. `progress`
    and `wait`: its run in progress, and what that waits for. `plan`: what its schedule needs, if that was computed.
    `refused`: the problems of its files. `unrecorded`: why no run can be recorded.
    """

    id: str
    now: datetime
    tenant: Tenant | None = None
    runs: Sequence[Run] = ()
    paused_since: datetime | None = None
    unrecorded: str | None = None
    progress: RunProgress | None = None
    wait: Wait | None = None
    plan: TenantPlan | None = None
    refused: Sequence[Problem] = ()

    @property
    def last(self) -> Run | None:
        """The latest run that ended."""
        return self.runs[0] if self.runs else None

    def ago(self, instant: datetime | None) -> str:
        """Return how long ago an instant was, for the end of a sentence."""
        past_s = (self.now - instant).total_seconds() if instant else 0.0
        return f"{in_words(past_s)} ago" if past_s >= 1 else "just now"


def in_words(seconds: float) -> str:
    """Return a duration to the second, in its two largest units: `1m 59s`."""
    whole = timedelta(seconds=max(1, round(seconds)))
    return " ".join(re.findall(r"\d+[a-z]+", format_duration(whole))[:2])


def quota_in_words(quota: Quota) -> str:
    """Return the windows of a quota: `10 requests per 20s`."""
    return " and ".join(
        f"{counted(window.requests, 'request')} per {format_duration(window.per)}" for window in quota.windows
    )


def as_sentence(text: str) -> str:
    """Return a text as a sentence of its own."""
    return text[:1].upper() + text[1:].rstrip(".") + "."
