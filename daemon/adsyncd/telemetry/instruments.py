"""Names of spans, attributes and metrics, and the functions that record them.

The names are a contract with users, who build dashboards and alerts on them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from opentelemetry.context import attach, detach
from opentelemetry.metrics import Meter
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NoOpTracer,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from adsyncd.errors import AdsyncdError, Stopping
from adsyncd.telemetry.series import Reading, SeriesTable

SPAN_RUN = "sync.run"
SPAN_LIST = "campaigns.list"
SPAN_PAGE = "campaigns.page"
SPAN_PUSH = "campaign.push"
SPAN_REPLAY = "dead_letters.replay"
SPAN_PROBE = "platform.probe"
SPAN_QUOTA_WAIT = "quota.wait"
SPAN_BREAKER_WAIT = "breaker.wait"
SPAN_RETRY_WAIT = "retry.wait"
SPAN_TOKEN = "token.refresh"  # noqa: S105 - a span's name
SPAN_CREDENTIALS = "credentials.read"
SPAN_STORE = "store.write"

TENANT = "adsyncd.tenant"
CLIENT_ID = "adsyncd.client_id"
RUN_ID = "adsyncd.run_id"
FIRE_TIME = "adsyncd.run.fire_time"  # ISO 8601
RESUMED_FROM = "adsyncd.run.resumed_from"  # the trace before a resumed run's: not every backend keeps links
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
PLATFORM = "adsyncd.platform"
WINDOW = "adsyncd.window"  # the length of a quota's window
CPU_MODE = "cpu.mode"  # semantic conventions, "process metrics"
STORE_WRITES = "adsyncd.store.writes"  # how many writes a transaction of the store held
DB_SYSTEM = "db.system.name"  # semantic conventions, "database spans" and "database metrics"
DB_OPERATION = "db.operation.name"

EVENT_FIRES = "alert.fires"  # of the run's span
EVENT_RESOLVED = "alert.resolved"

# Semantic conventions, "HTTP client spans" and "HTTP client metrics"; a span's name is its method and its template.
HTTP_METHOD = "http.request.method"
HTTP_RESEND_COUNT = "http.request.resend_count"
HTTP_STATUS = "http.response.status_code"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
URL_FULL = "url.full"
URL_TEMPLATE = "url.template"  # the path, with placeholders where its requests differ


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its kind, name, UCUM unit and description; of a histogram, the upper bounds of its buckets.

    An `up-down counter` is a number of things, of which a sum makes sense.
    """

    kind: Literal["counter", "up-down counter", "histogram", "gauge"]
    name: str
    unit: str
    description: str
    buckets: tuple[float, ...] | None = None


LISTED = Metric("counter", "adsyncd.campaigns.listed", "{campaign}", "Campaigns that runs found in listings")
PUSHED = Metric("counter", "adsyncd.campaigns.pushed", "{campaign}", "Campaigns that runs pushed")
STORED = Metric("counter", "adsyncd.campaigns.stored", "{campaign}", "Campaigns that runs stored and were not to push")
FAILED = Metric("counter", "adsyncd.campaigns.failed", "{campaign}", "Campaigns that a run could not push")
REQUESTS = Metric("counter", "adsyncd.requests", "{request}", "Metered requests sent, by tenant and status code")
RETRIES = Metric("counter", "adsyncd.retries", "{request}", "Requests that repeat one that failed")
SAVED = Metric(
    "counter",
    "adsyncd.requests.saved",
    "{request}",
    "Requests not needed: pages of a kept listing, unchanged campaigns",
)
QUOTA_WAIT = Metric("counter", "adsyncd.quota.wait", "s", "Time that a tenant's runs waited for quota")
QUOTA_PERMITS = Metric("gauge", "adsyncd.quota.permits", "{permit}", "Free permits in a tenant's bucket")
QUOTA_LIMIT = Metric(
    "gauge", "adsyncd.quota.limit", "{permit}", "Permits of a quota, by tenant or platform, and window"
)
QUOTA_USED = Metric(
    "gauge", "adsyncd.quota.used", "{permit}", "Permits of a quota that are not free, by tenant or platform, and window"
)
WAITS = Metric("counter", "adsyncd.waits", "s", "Time that runs waited, by tenant and reason; counted when a run ends")
BREAKER_OPEN = Metric("gauge", "adsyncd.breaker.open", "{breaker}", "1 while a host's circuit breaker is open, else 0")
RUN_DURATION = Metric(
    "histogram",
    "adsyncd.run.duration",
    "s",
    "How long runs took, by outcome",
    (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 2700, 3600),
)
RUNS = Metric("counter", "adsyncd.runs", "{run}", "Runs that ended, by tenant and outcome")
RUNS_OVERLAPPED = Metric(
    "counter", "adsyncd.runs.overlapped", "{run}", "Ticks skipped: a run was in progress, here or elsewhere"
)
RUNS_PAUSED = Metric("counter", "adsyncd.runs.paused", "{run}", "Ticks skipped: an operator has paused the tenant")
LAST_SUCCESS = Metric(
    "gauge", "adsyncd.last_success", "s", "Unix time at which a tenant's last run ended that met its success rate"
)
SCHEDULE_INTERVAL = Metric(
    "gauge", "adsyncd.schedule.interval", "s", "Longest time between two fire times of a tenant's schedule"
)
DEAD_LETTERS = Metric("gauge", "adsyncd.dead_letters", "{campaign}", "A tenant's dead letters")
DEAD_LETTERS_OLDEST = Metric(
    "gauge", "adsyncd.dead_letters.oldest", "s", "Unix time since which a tenant's oldest dead letter is one"
)
TOKEN_EXPIRES_IN = Metric(
    "gauge", "adsyncd.token.expires_in", "s", "Time until a tenant's access token expires, if that is known"
)
VAULT_UP = Metric("gauge", "adsyncd.vault.up", "1", "1 while Vault answers the daemon and lets it sign in, else 0")
ALERTS = Metric(
    "gauge", "adsyncd.alerts", "{alert}", "1 while an alert fires, by tenant, alert and severity; 0 once it is resolved"
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
EVENT_LOOP_LAG = Metric("gauge", "adsyncd.event_loop.lag", "s", "Longest delay of the event loop in the last minute")
# Semantic conventions, "process metrics".
CPU_TIME = Metric("counter", "process.cpu.time", "s", "CPU time of the process, by cpu.mode")
MEMORY_USAGE = Metric("up-down counter", "process.memory.usage", "By", "Physical memory of the process")
FILE_DESCRIPTORS = Metric(
    "up-down counter", "process.unix.file_descriptor.count", "{file_descriptor}", "Open files and sockets"
)
UPTIME = Metric("gauge", "process.uptime", "s", "Time since the start of the process")

METRICS = (
    LISTED, PUSHED, STORED, FAILED, REQUESTS, RETRIES, SAVED, QUOTA_WAIT, QUOTA_PERMITS, QUOTA_LIMIT, QUOTA_USED,
    WAITS, BREAKER_OPEN, RUN_DURATION, RUNS, RUNS_OVERLAPPED, RUNS_PAUSED, LAST_SUCCESS, SCHEDULE_INTERVAL,
    DEAD_LETTERS, DEAD_LETTERS_OLDEST, TOKEN_EXPIRES_IN, VAULT_UP, ALERTS, DROP_INS_REFUSED, TELEMETRY_LOST,
    LOG_LINES_DROPPED, EVENT_LOOP_LAG, CPU_TIME, MEMORY_USAGE, FILE_DESCRIPTORS, UPTIME,
)  # fmt: skip

# Semantic conventions, too: recorded by the transport that records the HTTP spans, with their attributes.
HTTP_DURATION = Metric("histogram", "http.client.request.duration", "s", "How long requests took, up to the headers")

DB_DURATION = Metric(
    "histogram",
    "db.client.operation.duration",
    "s",
    "How long transactions of the store took that write",
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
)


class span:  # noqa: N801 - it is used as a function
    """Record a span around a block, as the current one, which `with` yields.

    It has the tenant of the span above it; a root span is given its own. An exception that leaves the block ends it as
    `mark_failed` says. Do not hold a span across a `yield`: the code that runs meanwhile is not part of it. In an
    unsampled trace only the root span is made, which stands for all spans below it; without a tracer there is none.
    Neither records: ask `is_recording` before you compute attributes.
    """

    __slots__ = ("_attributes", "_kind", "_links", "_made", "_name", "_token", "_tracer")

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        attributes: Mapping[str, AttributeValue] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._attributes = attributes
        self._kind = kind
        self._links = links
        self._made: Span | None = None

    def __enter__(self) -> Span:
        if isinstance(self._tracer, NoOpTracer):
            return INVALID_SPAN
        parent = get_current_span()
        above = parent.get_span_context()
        if above.is_valid and not above.trace_flags.sampled:
            return parent
        attributes = with_tenant(self._attributes, parent)
        self._made = self._tracer.start_span(self._name, attributes=attributes, kind=self._kind, links=self._links)
        self._token = attach(set_span_in_context(self._made))
        return self._made

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._made is None:
            return
        detach(self._token)
        if error is not None:
            mark_failed(self._made, error)
        self._made.end()


def with_tenant(attributes: Mapping[str, AttributeValue] | None, above: Span) -> Mapping[str, AttributeValue] | None:
    """Return the attributes of a span below `above`: its own, and the tenant of `above`."""
    # Read from the span: a processor, or an attribute that is set later, takes the span's lock once more.
    known: Mapping[str, AttributeValue] | None = getattr(above, "attributes", None)
    if known and (tenant := known.get(TENANT)):
        return {TENANT: tenant, **attributes} if attributes else {TENANT: tenant}
    return attributes


def mark_failed(current: Span, exc: BaseException) -> None:
    """End a span as if `exc` had left its block: as an error with `error.type`, or as interrupted, which is no error.

    A stop, and the cancellation of a task whose time is not up, interrupt. The exception's text is recorded only for
    adsyncd's own exceptions, which hold no secrets; a stack trace never is.
    """
    if not current.is_recording():
        return
    kind = error_type(exc)
    if isinstance(exc, Stopping) or kind == "cancelled":
        current.set_attribute(OUTCOME, "interrupted")
        return
    current.set_status(Status(StatusCode.ERROR, str(exc) if isinstance(exc, AdsyncdError) else None))
    current.set_attribute(ERROR_TYPE, kind)


def error_type(exc: BaseException) -> str:
    """Return what `error.type` says of an exception: its class's name, `timeout` or `cancelled`."""
    if isinstance(exc, asyncio.CancelledError):
        return (
            "timeout" if "deadline exceeded" in str(exc) else "cancelled"
        )  # only the text tells the two apart in anyio
    return type(exc).__qualname__


class Instruments:
    """Adds to the metrics above. An attribute `tenant="acme"` is exported as `adsyncd.tenant`.

    Thread-safe. Counters and gauges are kept in `series`; without it nothing is. Histograms are kept by the SDK.
    """

    def __init__(self, meter: Meter, series: SeriesTable | None = None) -> None:
        self._series = series
        self._histograms = {
            metric.name: meter.create_histogram(
                metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.buckets
            )
            for metric in METRICS
            if metric.kind == "histogram"
        }

    @property
    def is_idle(self) -> bool:
        """Whether nothing is exported, so that no value need be computed."""
        return self._series is None

    def add(self, metric: Metric, amount: float, **attributes: AttributeValue) -> None:
        """Add `amount`, in the metric's unit, to a counter. Its series begins at 0: adding 0 begins it."""
        if self._series is not None:
            self._series.add(metric.name, amount, attributes)

    def record(self, metric: Metric, value: float, **attributes: AttributeValue) -> None:
        """Count `value`, in the metric's unit, in a histogram."""
        self._histograms[metric.name].record(value, {f"adsyncd.{name}": of for name, of in attributes.items()})

    def set(self, metric: Metric, value: float, **attributes: AttributeValue) -> None:
        """Set a gauge to `value`, in the metric's unit."""
        if self._series is not None:
            self._series.set(metric.name, value, attributes)

    def end(self, metric: Metric, **attributes: AttributeValue) -> None:
        """End one series."""
        if self._series is not None:
            self._series.end(metric.name, attributes)

    def forget(self, tenant: str) -> None:
        """End all series of a tenant that were added to or set."""
        if self._series is not None:
            self._series.forget(tenant)

    def observe(self, read: Callable[[], Iterable[Reading]]) -> None:
        """Export the values that `read` returns, at each export of metrics.

        A series that is absent from the result is absent from the export. `read` runs on the exporter's thread.
        """
        if self._series is not None:
            self._series.observe(read)
