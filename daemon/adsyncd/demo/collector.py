"""A small OTLP/HTTP collector in this process: the demo draws its traces, tests check the exports.

It can be told to fail or to hang, to see that nothing waits for it.
"""

import gzip
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus

import anyio
import uvicorn
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adsyncd.tasks import beside

Attributes = Mapping[str, str | bool | int | float]


@dataclass(frozen=True, slots=True)
class ExportedSpan:
    """A received span. Ids are in hex, `parent_id` is None for a root; `message` describes an error.

    `links`: the trace and span ids of linked spans.
    """

    resource: Attributes
    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    error: bool
    message: str

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True)
class ExportedPoint:
    """One received series of a metric; of a histogram, `value` is the sum and `count` the number of values."""

    resource: Attributes
    name: str
    unit: str
    attributes: Attributes
    value: float
    count: int


@dataclass(frozen=True, slots=True)
class ExportedLog:
    """A received log record. Ids are in hex, empty outside a span."""

    resource: Attributes
    trace_id: str
    span_id: str
    logger: str
    severity: str
    event: str
    attributes: Attributes


@dataclass(slots=True)
class Collector:
    """The received exports, in order. It answers with `status`; while `hanging`, only once it is closed."""

    endpoint: str
    spans: list[ExportedSpan] = field(default_factory=list)
    points: list[ExportedPoint] = field(default_factory=list)
    logs: list[ExportedLog] = field(default_factory=list)
    requests: int = 0
    status: int = HTTPStatus.OK
    hanging: bool = False
    _arrived: anyio.Event = field(default_factory=anyio.Event)
    _closing: anyio.Event = field(default_factory=anyio.Event)

    async def wait_for(self, ready: Callable[["Collector"], bool], timeout_s: float = 10) -> None:
        """Return once `ready()` is true, checked after each request. Raises `TimeoutError`."""
        with anyio.fail_after(timeout_s):
            while not ready(self):
                await self._arrived.wait()

    def close(self) -> None:
        """Answer the hanging requests."""
        self._closing.set()

    async def receive(self, request: Request) -> Response:
        """Receive one export."""
        body = await request.body()
        self.requests += 1
        if self.status == HTTPStatus.OK and not self.hanging:
            if request.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            match request.path_params["signal"]:
                case "traces":
                    self.spans += _spans(ExportTraceServiceRequest.FromString(body))
                case "metrics":
                    self.points += _points(ExportMetricsServiceRequest.FromString(body))
                case "logs":
                    self.logs += _logs(ExportLogsServiceRequest.FromString(body))
        self._arrived.set()
        self._arrived = anyio.Event()
        if self.hanging:
            await self._closing.wait()
        return Response(status_code=self.status, media_type="application/x-protobuf")


@asynccontextmanager
async def open_collector() -> AsyncIterator[Collector]:
    """Listen on 127.0.0.1 and a free port; `OTEL_EXPORTER_OTLP_ENDPOINT` is the collector's `endpoint`."""
    listener = socket.create_server(("127.0.0.1", 0))
    collector = Collector(f"http://127.0.0.1:{listener.getsockname()[1]}")
    app = Starlette(routes=[Route("/v1/{signal}", collector.receive, methods=["POST"])])
    server = _CollectorServer(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1))

    async def serve() -> None:
        with anyio.CancelScope(shield=True):  # ends in order, by `should_exit`
            await server.serve([listener])

    async with beside(serve):
        try:
            yield collector
        finally:
            collector.close()
            server.should_exit = True


class _CollectorServer(uvicorn.Server):
    """A server that leaves signals to its program."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        """Capture none."""
        return nullcontext()


def _spans(request: ExportTraceServiceRequest) -> Iterator[ExportedSpan]:
    for group in request.resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                yield ExportedSpan(
                    resource=_attributes(group.resource.attributes),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex() or None,
                    name=span.name,
                    kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    events=tuple(event.name for event in span.events),
                    links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    error=span.status.code == Status.STATUS_CODE_ERROR,
                    message=span.status.message,
                )


def _points(request: ExportMetricsServiceRequest) -> Iterator[ExportedPoint]:
    for group in request.resource_metrics:
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                for attributes, value, count in _values(metric):
                    yield ExportedPoint(
                        resource=_attributes(group.resource.attributes),
                        name=metric.name,
                        unit=metric.unit,
                        attributes=attributes,
                        value=value,
                        count=count,
                    )


def _values(metric: Metric) -> Iterator[tuple[Attributes, float, int]]:
    for point in metric.histogram.data_points:
        yield _attributes(point.attributes), point.sum, point.count
    for number in (*metric.sum.data_points, *metric.gauge.data_points):
        value = number.as_int if number.WhichOneof("value") == "as_int" else number.as_double
        yield _attributes(number.attributes), value, 1


def _logs(request: ExportLogsServiceRequest) -> Iterator[ExportedLog]:
    for group in request.resource_logs:
        for scope in group.scope_logs:
            for record in scope.log_records:
                yield ExportedLog(
                    resource=_attributes(group.resource.attributes),
                    trace_id=record.trace_id.hex(),
                    span_id=record.span_id.hex(),
                    logger=scope.scope.name,
                    severity=record.severity_text,
                    event=record.body.string_value,
                    attributes=_attributes(record.attributes),
                )


def _attributes(pairs: Iterable[KeyValue]) -> Attributes:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
