"""The receivers of alerts, beside the log, and the format that each expects."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

from adsyncd.model.alert import Alert

_OUTLIVES = 4  # repetitions; Alertmanager resolves an alert after so many lost ones, as with Prometheus


class Receiver(Protocol):
    """A destination that alerts are POSTed to. `url` may hold a secret: never log it."""

    @property
    def name(self) -> str:
        """Its name in the log."""

    @property
    def url(self) -> str:
        """The address to POST to."""

    @property
    def repeat(self) -> timedelta | None:
        """The interval at which firing alerts are sent again; None: once."""

    def body(self, alerts: Sequence[Alert], now: datetime) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON with the states of `alerts`."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Gets each change once. Slack's and Mattermost's webhooks show `text`; the rest is for programs."""

    name: ClassVar[str] = "webhook"
    repeat: ClassVar[None] = None
    url: str = field(repr=False)

    def body(self, alerts: Sequence[Alert], now: datetime) -> dict[str, Any]:  # noqa: ARG002 - a Receiver's signature
        """Return `{text, alerts: [{alert, tenant, severity, status, summary, since, resolved_at}]}`."""
        return {"text": "\n".join(map(_line, alerts)), "alerts": list(map(_entry, alerts))}


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Prometheus's Alertmanager, by version 2 of its API: `postableAlerts` in its api/v2/openapi.yaml.

    It resolves an alert at the last `endsAt` that it got, so firing alerts are sent repeatedly. The labels identify an
    alert: they stay the same as long as it fires.
    """

    name: ClassVar[str] = "alertmanager"
    base_url: str
    repeat: timedelta

    @property
    def url(self) -> str:
        """The address to POST to."""
        return f"{self.base_url}/api/v2/alerts"

    def body(self, alerts: Sequence[Alert], now: datetime) -> list[dict[str, Any]]:
        """Return the alerts as `postableAlerts`."""
        return [self._postable(alert, now) for alert in alerts]

    def _postable(self, alert: Alert, now: datetime) -> dict[str, Any]:
        starts_at = min(alert.since, now)  # a clock may be set back, and Alertmanager rejects an end before the start
        ends_at = now + _OUTLIVES * self.repeat if alert.resolved_at is None else alert.resolved_at
        return {
            "labels": {
                "alertname": alert.name,
                "service": "adsyncd",
                "severity": alert.name.severity,
                "tenant": alert.tenant,
            },
            "annotations": {"summary": alert.summary},
            "startsAt": _rfc3339(starts_at),
            "endsAt": _rfc3339(ends_at),
        }


def _line(alert: Alert) -> str:
    state = alert.name.severity if alert.fires else "resolved"
    return f"adsyncd: {state}: {alert.tenant}: {alert.name}: {alert.summary}"


def _entry(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "tenant": alert.tenant,
        "severity": alert.name.severity,
        "status": "firing" if alert.fires else "resolved",
        "summary": alert.summary,
        "since": _rfc3339(alert.since),
        "resolved_at": alert.resolved_at and _rfc3339(alert.resolved_at),
    }


def _rfc3339(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds")
