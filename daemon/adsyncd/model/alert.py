"""Alerts: one problem of one tenant, of a few kinds, from its start to its end."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal


class AlertName(StrEnum):
    """The kinds of alerts. Their names are a contract with users; docs/alerts.md explains them."""

    LOW_SUCCESS_RATE = "low_success_rate"
    RUNS_FAILING = "runs_failing"
    SIGN_IN_FAILING = "sign_in_failing"
    NO_SUCCESS = "no_success"
    LATE = "late"
    DEAD_LETTERS_GROWING = "dead_letters_growing"
    DEAD_LETTERS_AGEING = "dead_letters_ageing"
    LISTING_COLLAPSED = "listing_collapsed"

    @property
    def severity(self) -> Literal["critical", "warning"]:
        """Critical: nothing is synced. Warning: most is, or an operator has to decide."""
        return "critical" if self in _CRITICAL else "warning"


_CRITICAL = {AlertName.RUNS_FAILING, AlertName.SIGN_IN_FAILING, AlertName.NO_SUCCESS}

AlertKey = tuple[str, AlertName]


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert of one kind for one tenant; it fires until `resolved_at`.

    `summary` describes the problem when it began. `told`: the current state is delivered, or there is no receiver.
    """

    tenant: str
    name: AlertName
    since: datetime
    summary: str
    resolved_at: datetime | None = None
    told: bool = False

    @property
    def key(self) -> AlertKey:
        """The identity: a tenant has at most one alert of each kind."""
        return self.tenant, self.name

    @property
    def fires(self) -> bool:
        """Whether the alert is unresolved."""
        return self.resolved_at is None
