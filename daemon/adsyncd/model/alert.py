"""What an operator is told of: a tenant's trouble, from when to when, in one alert of a few kinds."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal


class AlertName(StrEnum):
    """The kinds of trouble. Their names are part of the contract with users, and docs/alerts.md explains them."""

    LOW_SUCCESS_RATE = "low_success_rate"
    RUNS_FAILING = "runs_failing"
    SIGN_IN_FAILING = "sign_in_failing"
    NO_SUCCESS = "no_success"
    DEAD_LETTERS_GROWING = "dead_letters_growing"
    DEAD_LETTERS_AGEING = "dead_letters_ageing"
    LISTING_COLLAPSED = "listing_collapsed"

    @property
    def severity(self) -> Literal["critical", "warning"]:
        """Critical: nothing is synced. Warning: most is, or it waits for somebody's decision."""
        return "critical" if self in _CRITICAL else "warning"


_CRITICAL = {AlertName.RUNS_FAILING, AlertName.SIGN_IN_FAILING, AlertName.NO_SUCCESS}

AlertKey = tuple[str, AlertName]


@dataclass(frozen=True, slots=True)
class Alert:
    """One kind of trouble of one tenant, which fires until `resolved_at`.

    `summary` says what was wrong when it began. `told`: the webhook knows that it stands like this, or there is none.
    """

    tenant: str
    name: AlertName
    since: datetime
    summary: str
    resolved_at: datetime | None = None
    told: bool = False

    @property
    def key(self) -> AlertKey:
        """What it is known by: of its kind, a tenant has one at most."""
        return self.tenant, self.name

    @property
    def fires(self) -> bool:
        """Whether the trouble goes on."""
        return self.resolved_at is None
