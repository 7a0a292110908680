"""What is wrong with a tenant, in words for an operator, and what would fix it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    """Critical: nothing is synced. Warning: most is, or an operator has to decide. Note: as an operator wants it."""

    CRITICAL = "critical"
    WARNING = "warning"
    NOTE = "note"


class Trouble(StrEnum):
    """What is wrong with a tenant, the worst first.

    `REFUSED`: its files are invalid. `FAILING`: its last run failed, or no run can be recorded. `LATE`: runs take
    longer than its schedule allows. `PARTIAL`: some campaigns were not pushed. `THROTTLED`: the platform answers 429
    within the quota. `PAUSED`: by an operator.
    """

    REFUSED = "files refused"
    FAILING = "failing"
    LATE = "late"
    PARTIAL = "partial"
    THROTTLED = "throttled"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict about a tenant with a trouble.

    `sentence`: what is wrong, with the tenant's name: `acme is late: every second tick is skipped.` `reason`: the same
    for a list, without the name and with no number that differs between tenants of the same cause, which it groups.
    `causes`: sentences with the numbers that explain it. `fixes`: alternatives, each a sentence or a setting, with
    numbers. `since`: when it began, if that is known.
    """

    tenant: str
    trouble: Trouble
    severity: Severity
    sentence: str
    reason: str
    causes: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    since: datetime | None = None
