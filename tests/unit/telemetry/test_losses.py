import threading
from collections.abc import Sequence

import pytest
import requests
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from adsyncd.model.status import Export
from adsyncd.telemetry.instruments import TELEMETRY_LOST
from adsyncd.telemetry.losses import ExporterSession, Losses
from support.metrics import Metrics

BEGAN = {"event": "telemetry is being lost", "log_level": "warning", "signal": "traces"}
ENDED = {"event": "telemetry is exported again", "log_level": "info", "signal": "traces"}
ITEMS = 3


class Exporter(SpanExporter):
    def __init__(self) -> None:
        self.answer = SpanExportResult.SUCCESS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the interface's
        return self.answer


class Exports:
    """An exporter that is watched, one export after the other."""

    def __init__(self) -> None:
        self._exporter = Exporter()
        self.losses = Losses("traces")
        self.session = ExporterSession()
        self.losses.watch_exporter(self._exporter, self.session)

    def export(self, answer: SpanExportResult) -> SpanExportResult:
        self._exporter.answer = answer
        return self._exporter.export([ReadableSpan("x")] * ITEMS)

    def fail(self) -> None:
        assert self.export(SpanExportResult.FAILURE) is SpanExportResult.FAILURE

    def succeed(self) -> None:
        assert self.export(SpanExportResult.SUCCESS) is SpanExportResult.SUCCESS


@pytest.fixture
def exports() -> Exports:
    return Exports()


def test_while_all_is_well_nothing_is_logged(exports: Exports) -> None:
    with structlog.testing.capture_logs() as events:
        exports.succeed()
    assert events == []


def test_an_outage_is_logged_when_it_begins_and_when_it_ends_with_what_was_lost(exports: Exports) -> None:
    exports.session.cause = "HTTP 503"
    with structlog.testing.capture_logs() as events:
        assert exports.losses.state == Export()
        exports.fail()
        exports.fail()
        assert exports.losses.state == Export(cause="HTTP 503")
        exports.succeed()
        exports.succeed()
        exports.succeed()
        assert exports.losses.state == Export(succeeded=True)
    assert events == [BEGAN | {"cause": "HTTP 503"}, ENDED | {"lost": 2 * ITEMS}]


def test_a_queue_that_overflows_between_good_exports_is_one_outage(exports: Exports) -> None:
    with structlog.testing.capture_logs() as events:
        for _ in range(5):
            exports.losses.lose(1)
            exports.succeed()
        exports.succeed()
    assert events == [BEGAN | {"cause": "queue full"}, ENDED | {"lost": 5}]


def test_what_a_full_queue_drops_is_told_and_counted() -> None:
    exporter = Exporter()
    exporting = threading.Event()
    drained = threading.Event()

    def hang(spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG001 - the interface's
        exporting.set()
        drained.wait()
        return SpanExportResult.SUCCESS

    exporter.export = hang  # type: ignore[method-assign]
    processor = BatchSpanProcessor(exporter, max_queue_size=2, max_export_batch_size=1)
    metrics = Metrics()
    Losses("traces", metrics.instruments).watch_queue(processor)
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(processor)
    tracer = tracers.get_tracer("test")
    with structlog.testing.capture_logs() as events:
        tracer.start_span("taken").end()
        assert exporting.wait(10)
        for _ in range(5):
            tracer.start_span("queued or dropped").end()
    drained.set()
    tracers.shutdown()
    assert events == [BEGAN | {"cause": "queue full"}]
    (point,) = metrics.points(TELEMETRY_LOST.name)
    assert (point["attributes"], point["value"]) == ({"adsyncd.signal": "traces"}, 3)


def test_a_session_keeps_why_its_last_request_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    session = ExporterSession()

    def refuse(*_: object, **__: object) -> requests.Response:
        raise requests.ConnectionError("refused")

    monkeypatch.setattr(requests.Session, "request", refuse)
    with pytest.raises(requests.ConnectionError):
        session.request("POST", "http://127.0.0.1:1")
    assert session.cause == "ConnectionError"
