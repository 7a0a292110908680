"""Names of spans, attributes and metrics, and the functions that record them.

The names are a contract with users, who build dashboards and alerts on them.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.metrics import _Gauge as Gauge
from opentelemetry.trace import INVALID_SPAN, NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from opentelemetry.util.types import AttributeValue

from adsyncd.errors import AdsyncdError

SPAN_RUN = "sync.run"
SPAN_LIST = "campaigns.list"
SPAN_PAGE = "campaigns.page"
SPAN_PUSH = "campaign.push"
SPAN_REPLAY = "dead_letters.replay"
SPAN_QUOTA_WAIT = "quota.wait"
SPAN_BREAKER_WAIT = "breaker.wait"
SPAN_RETRY_WAIT = "retry.wait"
SPAN_TOKEN = "token.refresh"  # noqa: S105 - a span's name
SPAN_CREDENTIALS = "credentials.read"
SPAN_STORE = "store.write"

TENANT = "adsyncd.tenant"
CLIENT_ID = "adsyncd.client_id"
RUN_ID = "adsyncd.run_id"
CAMPAIGN_ID = "adsyncd.campaign_id"
PAGE = "adsyncd.page"  # counted from 1
LISTED_FROM = "adsyncd.listed_from"  # platform, unchanged (the platform said so) or cache
ATTEMPT = "adsyncd.attempt"
CREDENTIALS_SOURCE = "adsyncd.credentials.source"  # vault, systemd or environment
OUTCOME = "adsyncd.outcome"
WAIT_REASON = "adsyncd.wait.reason"  # the reason for a request's wait
WAIT_UNTIL = "adsyncd.wait.until"  # the expected end of the wait when it began; ISO 8601
ERROR_TYPE = "error.type"
ALERT = "adsyncd.alert"  # an alert's name
STORE_WRITES = "adsyncd.store.writes"  # how many writes a transaction of the store held
DB_SYSTEM = "db.system.name"  # semantic conventions, "database spans"

EVENT_FIRES = "alert.fires"  # of the run's span
EVENT_RESOLVED = "alert.resolved"

# Semantic conventions, "HTTP client spans" and "HTTP client metrics"; a span's name is its method.
HTTP_METHOD = "http.request.method"
HTTP_RESEND_COUNT = "http.request.resend_count"
HTTP_STATUS = "http.response.status_code"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
URL_FULL = "url.full"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its kind, name, UCUM unit and description."""

    kind: Literal["counter", "histogram", "gauge"]
    name: str
    unit: str
    description: str


LISTED = Metric("counter", "adsyncd.campaigns.listed", "{campaign}", "Campaigns that runs found in listings")
PUSHED = Metric("counter", "adsyncd.campaigns.pushed", "{campaign}", "Campaigns that runs pushed")
FAILED = Metric("counter", "adsyncd.campaigns.failed", "{campaign}", "Campaigns that a run could not push")
REQUESTS = Metric("counter", "adsyncd.requests", "{request}", "Metered requests sent, by tenant and status class")
RETRIES = Metric("counter", "adsyncd.retries", "{request}", "Requests that repeat one that failed")
SAVED = Metric(
    "counter",
    "adsyncd.requests.saved",
    "{request}",
    "Requests not needed: pages of a kept listing, unchanged campaigns",
)
QUOTA_WAIT = Metric("counter", "adsyncd.quota.wait", "s", "Time that a tenant's runs waited for quota")
QUOTA_PERMITS = Metric("gauge", "adsyncd.quota.permits", "{permit}", "Free permits in a tenant's bucket")
BREAKER_OPEN = Metric("gauge", "adsyncd.breaker.open", "{breaker}", "1 while a host's circuit breaker is open, else 0")
RUN_DURATION = Metric("histogram", "adsyncd.run.duration", "s", "How long runs took, by outcome")
RUNS = Metric("counter", "adsyncd.runs", "{run}", "Runs that ended, by tenant and outcome")
RUNS_OVERLAPPED = Metric(
    "counter", "adsyncd.runs.overlapped", "{run}", "Ticks skipped: a run was in progress, here or elsewhere"
)
RUNS_PAUSED = Metric("counter", "adsyncd.runs.paused", "{run}", "Ticks skipped: an operator has paused the tenant")
DEAD_LETTERS = Metric("gauge", "adsyncd.dead_letters", "{campaign}", "A tenant's dead letters")
TOKEN_EXPIRES_IN = Metric(
    "gauge", "adsyncd.token.expires_in", "s", "Time until a tenant's access token expires, if that is known"
)
VAULT_UP = Metric("gauge", "adsyncd.vault.up", "1", "1 while Vault answers the daemon and lets it sign in, else 0")
ALERTS = Metric(
    "gauge", "adsyncd.alerts", "{alert}", "1 while an alert fires, by tenant and alert; 0 once it is resolved"
)
DROP_INS_REFUSED = Metric(
    "gauge",
    "adsyncd.drop_ins.refused",
    "{tenant}",
    "Tenants with invalid drop-ins; invalid settings count as one more",
)
TELEMETRY_LOST = Metric(
    "counter", "adsyncd.telemetry.lost", "{item}", "Spans and log records that could not be exported, by signal"
)
LOG_LINES_DROPPED = Metric(
    "counter", "adsyncd.log.dropped", "{line}", "Log lines that were not written: their reader stalled or was gone"
)

METRICS = (
    LISTED, PUSHED, FAILED, REQUESTS, RETRIES, SAVED, QUOTA_WAIT, QUOTA_PERMITS, BREAKER_OPEN,
    RUN_DURATION, RUNS, RUNS_OVERLAPPED, RUNS_PAUSED, DEAD_LETTERS, TOKEN_EXPIRES_IN,
    VAULT_UP, ALERTS, DROP_INS_REFUSED, TELEMETRY_LOST,
    LOG_LINES_DROPPED,
)  # fmt: skip

# Semantic conventions, too: recorded by the transport that records the HTTP spans, with their attributes.
HTTP_DURATION = Metric("histogram", "http.client.request.duration", "s", "How long requests took, up to the headers")


@contextmanager
def span(
    tracer: Tracer,
    name: str,
    attributes: Mapping[str, AttributeValue] | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
) -> Iterator[Span]:
    """Record a span around the body, as the current one, and yield it.

    An exception that leaves the body makes it an error with `error.type`. The exception's text is recorded only for
    adsyncd's own exceptions, which hold no secrets; a stack trace never is. Do not hold a span across a `yield`: the
    code that runs meanwhile is not part of it. In an unsampled trace only the root span is made, which stands for all
    spans below it; without a tracer there is none.
    """
    if isinstance(tracer, NoOpTracer):
        yield INVALID_SPAN
        return
    parent = get_current_span()
    if parent.get_span_context().is_valid and not parent.get_span_context().trace_flags.sampled:
        yield parent
        return
    with tracer.start_as_current_span(
        name, attributes=attributes, kind=kind, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as exc:
            mark_failed(current, exc)
            raise


def mark_failed(current: Span, exc: BaseException) -> None:
    """Make a span an error, as if `exc` had left its body."""
    current.set_status(Status(StatusCode.ERROR, str(exc) if isinstance(exc, AdsyncdError) else None))
    current.set_attribute(ERROR_TYPE, error_type(exc))


def error_type(exc: BaseException) -> str:
    """Return what `error.type` says of an exception: its class's name, `timeout` or `cancelled`."""
    if isinstance(exc, asyncio.CancelledError):
        return (
            "timeout" if "deadline exceeded" in str(exc) else "cancelled"
        )  # only the text tells the two apart in anyio
    return type(exc).__qualname__


class Instruments:
    """Adds to the metrics above. An attribute `tenant="acme"` is exported as `adsyncd.tenant`.

    Thread-safe. Without an exporter each call does nothing.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._counters = {
            metric.name: meter.create_counter(metric.name, metric.unit, metric.description)
            for metric in METRICS
            if metric.kind == "counter"
        }
        self._histograms = {
            metric.name: meter.create_histogram(metric.name, metric.unit, metric.description)
            for metric in METRICS
            if metric.kind == "histogram"
        }
        self._gauges: dict[str, Gauge] = {}  # made on first use: a gauge is either set or observed

    def add(self, metric: Metric, amount: float, **attributes: AttributeValue) -> None:
        """Add `amount`, in the metric's unit, to a counter."""
        self._counters[metric.name].add(amount, _prefixed(attributes))

    def record(self, metric: Metric, value: float, **attributes: AttributeValue) -> None:
        """Count `value`, in the metric's unit, in a histogram."""
        self._histograms[metric.name].record(value, _prefixed(attributes))

    def set(self, metric: Metric, value: float, **attributes: AttributeValue) -> None:
        """Set a gauge to `value`, in the metric's unit."""
        if metric.name not in self._gauges:
            self._gauges[metric.name] = self._meter.create_gauge(metric.name, metric.unit, metric.description)
        self._gauges[metric.name].set(value, _prefixed(attributes))

    def observe(self, metric: Metric, read: Callable[[], Mapping[str, float]]) -> None:
        """Export the value that `read` returns for each tenant id, at each export of metrics.

        A tenant absent from the result is absent from the export. `read` runs on the exporter's thread and must return
        a mapping that nothing changes.
        """

        def callback(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, {TENANT: tenant}) for tenant, value in read().items()]

        self._meter.create_observable_gauge(metric.name, [callback], metric.unit, metric.description)


def _prefixed(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {f"adsyncd.{name}": value for name, value in attributes.items()}
