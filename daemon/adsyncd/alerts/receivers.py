"""Who is told of alerts outside of the log, and in which words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

from adsyncd.model.alert import Alert

_OUTLIVES = 4  # repetitions that may be lost before Alertmanager takes an alert for resolved; Prometheus allows as many


class Receiver(Protocol):
    """Somewhere to POST alerts to. `url` may hold a secret: it shows in no log."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    @property
    def url(self) -> str:
        """Where to POST to."""

    @property
    def repeat(self) -> timedelta | None:
        """How often it wants to hear again of alerts that fire; None: once."""

    def body(self, alerts: Sequence[Alert], now: datetime) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON that says how alerts stand."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Hears once of each change. `text` is what Slack's and Mattermost's webhooks show, the rest is for programs."""

    name: ClassVar[str] = "webhook"
    repeat: ClassVar[None] = None
    url: str = field(repr=False)

    def body(self, alerts: Sequence[Alert], now: datetime) -> dict[str, Any]:  # noqa: ARG002 - a Receiver's signature
        """Return `{text, alerts: [{alert, tenant, severity, status, summary, since, resolved_at}]}`."""
        return {"text": "\n".join(map(_line, alerts)), "alerts": list(map(_entry, alerts))}


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Prometheus's Alertmanager, by version 2 of its API: `postableAlerts` in its api/v2/openapi.yaml.

    It takes an alert for resolved when it has not heard of it until the `endsAt` that it heard last, so that it has to
    hear of it again and again. An alert is known by its labels: they stay the same as long as it fires.
    """

    name: ClassVar[str] = "alertmanager"
    base_url: str
    repeat: timedelta

    @property
    def url(self) -> str:
        """Where alerts are taken."""
        return f"{self.base_url}/api/v2/alerts"

    def body(self, alerts: Sequence[Alert], now: datetime) -> list[dict[str, Any]]:
        """Return the alerts as `postableAlerts`."""
        return [self._postable(alert, now) for alert in alerts]

    def _postable(self, alert: Alert, now: datetime) -> dict[str, Any]:
        starts_at = min(alert.since, now)  # though the clock was set back: Alertmanager refuses an end before the start
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
