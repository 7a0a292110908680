"""What the pages and the lists of the API show of all tenants: who needs attention, the last day, quotas, failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum

from adsyncd.model.selection import Show
from adsyncd.model.status import TenantStatus
from adsyncd.model.verdict import Severity, Verdict

CLOSE = 0.85  # share of a quota above which a client id is close to its limit


class Mark(IntEnum):
    """The worst that happened to a tenant in half an hour."""

    NOTHING = 0
    SUCCEEDED = 1
    LATE = 2
    PARTIAL = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Load:
    """How much of its quota a client id needs and uses, as shares: above 1 the quota is not enough.

    `needed`: by the schedules, in the long run, or None before the first listing; `used`: in the last hour.
    """

    needed: float | None
    used: float


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant in a list. `day`: its marks of the last 24 h, oldest first, one for each half hour."""

    status: TenantStatus
    verdict: Verdict | None
    day: Sequence[Mark]
    load: Load | None


@dataclass(frozen=True, slots=True)
class TenantsPage:
    """A page of tenants. `counts`: how many there are of each kind; `next`: `after` of the next page."""

    rows: Sequence[TenantRow]
    total: int
    counts: Mapping[Show, int]
    next: str | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Tenants with the same trouble for the same reason: `reason` and `fix` as in their verdicts.

    `tenants`: the first ones; `number`: of all. `trouble`: the list that has them. `since`: the earliest.
    """

    severity: Severity
    trouble: Show
    reason: str
    fix: str
    tenants: Sequence[str]
    number: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """The runs whose fire times are in a span of time from `at` on, summed up: see Run. `runs_*`: by outcome."""

    at: datetime
    runs_succeeded: int = 0
    runs_partial: int = 0
    runs_failed: int = 0
    runs_abandoned: int = 0
    listed: int = 0
    pushed: int = 0
    not_pushed: int = 0
    requests: int = 0
    refused: int = 0
    skipped_ticks: int = 0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class QuotaRow:
    """A tenant's share of its client id's quota. `quota`: in words. `waited_s` and `refused`: in the last 24 h."""

    tenant: str
    platform: str
    client_id: str
    load: Load
    quota: str
    free: int
    waited_s: float
    refused: int
    schedule: str
    fixes: Sequence[str]


@dataclass(frozen=True, slots=True)
class PlatformRow:
    """A platform: its quota in words, or None without one of its own; `breaker`: why its circuit breaker is open."""

    platform: str
    tenants: int
    quota: str | None
    load: Load | None
    free: int | None
    breaker: str | None


@dataclass(frozen=True, slots=True)
class QuotasPage:
    """Platforms, and a page of client ids' tenants, the one nearest to its limit first.

    `over`: how many need more than their quota; `close`: how many need more than 85 % of it.
    """

    platforms: Sequence[PlatformRow]
    rows: Sequence[QuotaRow]
    total: int
    over: int
    close: int
    next: str | None


class Failed(StrEnum):
    """What failed for a reason: campaigns that are dead letters, campaigns of last runs, or whole last runs."""

    DEAD_LETTERS = "dead letters"
    PUSHES = "pushes"
    RUNS = "runs"


@dataclass(frozen=True, slots=True)
class Reason:
    """What failed for one reason, across tenants.

    `campaigns`: None for whole runs. `tenants`: the first ones; `number`: of all. `then`: what happens next, in words.
    """

    failed: Failed
    reason: str
    campaigns: int | None
    tenants: Sequence[str]
    number: int
    since: datetime | None
    then: str
