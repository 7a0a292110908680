"""Counts telemetry that can't be exported; the log reports once that a loss began and once that it ended."""

import threading
from collections.abc import Sequence
from typing import Any

import requests
import structlog
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from adsyncd.model.status import Export
from adsyncd.telemetry.instruments import TELEMETRY_LOST, Instruments

_log = structlog.get_logger(__name__)


class ExporterSession(requests.Session):
    """An exporter's HTTP session, which keeps why its last request failed: the exporter itself does not say."""

    cause = "not sent"

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - as its parent's
        """Send a request; see `requests.Session.request`."""
        try:
            response = super().request(*args, **kwargs)
        except requests.RequestException as exc:
            self.cause = type(exc).__name__
            raise
        self.cause = f"HTTP {response.status_code}"
        return response


class Losses:
    """Logs when a loss of a signal begins and ends, and counts the lost items. Thread-safe.

    A loss ends once an export succeeds with nothing lost since the export before. So a queue that overflows between
    exports does not fill the log.
    """

    def __init__(self, signal: str, instruments: Instruments | None = None) -> None:
        self.signal = signal
        self._instruments = instruments
        self._lock = threading.Lock()
        self._lost = 0  # since the loss began
        self._cause: str | None = None  # of the loss; None if there is none
        self._losing = False  # since the last good export
        self._succeeded = False  # an export, ever
        if instruments:
            instruments.add(TELEMETRY_LOST, 0, signal=signal)

    @property
    def state(self) -> Export:
        """How the export goes."""
        with self._lock:
            return Export(self._succeeded, self._cause)

    def lose(self, items: int, cause: str = "queue full") -> None:
        """Count lost items."""
        with self._lock:
            began = self._cause is None
            self._lost += items
            self._cause, self._losing = cause, True
        if self._instruments:
            self._instruments.add(TELEMETRY_LOST, items, signal=self.signal)
        if began:
            _log.warning("telemetry is being lost", signal=self.signal, cause=cause)

    def keep(self) -> None:
        """Record a successful export."""
        with self._lock:
            losing, self._losing, self._succeeded = self._losing, False, True
            if losing or self._cause is None:
                return
            lost, self._lost, self._cause = self._lost, 0, None
        _log.info("telemetry is exported again", signal=self.signal, lost=lost)

    def watch_exporter(
        self, exporter: SpanExporter | MetricExporter | LogRecordExporter, session: ExporterSession
    ) -> None:
        """Record the outcome of each export of `exporter`."""
        export: Any = exporter.export

        def watched(batch: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - three exporters, three types
            result = export(batch, **kwargs)
            if result.name == "SUCCESS":
                self.keep()
            else:
                self.lose(len(batch) if isinstance(batch, Sequence) else 0, session.cause)
            return result

        exporter.export = watched  # type: ignore[method-assign]  # the SDK offers no other hook

    def watch_queue(self, processor: BatchSpanProcessor | BatchLogRecordProcessor) -> None:
        """Count what a full queue drops. The SDK's own counter costs 26 us a span, dropped or not."""
        metrics = processor._batch_processor._metrics  # noqa: SLF001 - the SDK offers no other hook
        metrics.drop_items = self.lose  # type: ignore[method-assign, assignment]
