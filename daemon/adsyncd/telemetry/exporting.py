"""Exports telemetry: builds the SDK's providers and exporters from the environment, and shuts them down in time.

Only a process that exports imports this: the exporters, with protobuf and requests, take as long as all else of a sync.
"""

import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import FileIO, TextIOWrapper, UnsupportedOperation
from typing import TextIO, TypeVar

import anyio
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import MeterProvider as APIMeterProvider
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, ConsoleLogRecordExporter, LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter, MetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import adsyncd
from adsyncd.clock import SystemClock
from adsyncd.errors import ConfigError, Problem
from adsyncd.telemetry.http_spans import http_duration
from adsyncd.telemetry.instruments import Instruments
from adsyncd.telemetry.losses import ExporterSession, Losses
from adsyncd.telemetry.metric_readers import ExportingReader
from adsyncd.telemetry.providers import Telemetry
from adsyncd.telemetry.series import SeriesTable
from adsyncd.telemetry.span_export import LeanSpanExporter
from adsyncd.telemetry.standard_variables import wanted_exporters
from adsyncd.telemetry.write_durations import WriteDurations

_FLUSH_S = 3.0

_Exporter = TypeVar("_Exporter", SpanExporter, MetricExporter, LogRecordExporter)


@dataclass(frozen=True, slots=True)
class _Outlet:
    """The shutdown of one signal, and its exporters, which are cut off if the shutdown takes too long."""

    shutdown: Callable[[], None]
    exporters: Sequence[SpanExporter | MetricExporter | LogRecordExporter]
    losses: Losses


@asynccontextmanager
async def open_exports(environ: Mapping[str, str], *, scraped: bool) -> AsyncIterator[Telemetry]:
    """Set up the wanted exporters of a valid `environ`; see `adsyncd.telemetry.open_telemetry`."""
    resource = (
        Resource.create()
        .merge(Resource({"service.name": "adsyncd", "service.version": adsyncd.__version__}))
        .merge(OTELResourceDetector().detect())
    )
    outlets: list[_Outlet] = []
    try:
        series = SeriesTable(SystemClock())
        meter_provider = _open_metrics(environ, resource, series, outlets, scraped=scraped)
        meter = meter_provider.get_meter("adsyncd", adsyncd.__version__)
        instruments = Instruments(meter, None if isinstance(meter_provider, NoOpMeterProvider) else series)
        tracer_provider = _open_traces(environ, resource, instruments, outlets)
        logger_provider = _open_logs(environ, resource, instruments, outlets)
    except ValueError as exc:
        raise ConfigError([Problem(None, None, None, str(exc), "see docs/telemetry.md")]) from exc
    try:
        yield Telemetry(
            tracer=tracer_provider.get_tracer("adsyncd", adsyncd.__version__),
            instruments=instruments,
            logger_provider=logger_provider,
            http_duration=http_duration(meter),
            write_durations=WriteDurations(meter),
            exports=lambda: {outlet.losses.signal: outlet.losses.state for outlet in outlets if outlet.exporters},
        )
    finally:
        await _flush(outlets)


def _open_metrics(
    environ: Mapping[str, str], resource: Resource, series: SeriesTable, outlets: list[_Outlet], *, scraped: bool
) -> APIMeterProvider:
    losses = Losses("metrics")
    exporters = _exporters(environ, OTLPMetricExporter, ConsoleMetricExporter, losses)
    readers: list[MetricReader] = [ExportingReader(exporter, series, resource) for exporter in exporters]
    close: Callable[[], None] | None = None
    if scraped and "prometheus" in wanted_exporters(environ, "metrics"):
        from adsyncd.telemetry import scrapes  # noqa: PLC0415 - slow to import, and only a daemon that is scraped needs it

        reader, close = scrapes.serve(environ, series, resource)
        readers.append(reader)
    if not readers:
        return NoOpMeterProvider()
    provider = MeterProvider(readers, resource, shutdown_on_exit=False)

    def shutdown() -> None:
        if close:
            close()
        provider.shutdown()

    outlets.append(_Outlet(shutdown, exporters, losses))
    return provider


def _open_traces(
    environ: Mapping[str, str], resource: Resource, instruments: Instruments, outlets: list[_Outlet]
) -> TracerProvider:
    losses = Losses("traces", instruments)
    exporters = _exporters(environ, LeanSpanExporter, ConsoleSpanExporter, losses)
    provider = TracerProvider(None if exporters else ALWAYS_OFF, resource, shutdown_on_exit=False)
    for exporter in exporters:
        processor = BatchSpanProcessor(exporter)
        losses.watch_queue(processor)
        provider.add_span_processor(processor)
    outlets.append(_Outlet(provider.shutdown, exporters, losses))
    return provider


def _open_logs(
    environ: Mapping[str, str], resource: Resource, instruments: Instruments, outlets: list[_Outlet]
) -> LoggerProvider | None:
    losses = Losses("logs", instruments)
    exporters = _exporters(environ, OTLPLogExporter, ConsoleLogRecordExporter, losses)
    if not exporters:
        return None
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    for exporter in exporters:
        processor = BatchLogRecordProcessor(exporter)
        losses.watch_queue(processor)
        provider.add_log_record_processor(processor)
    outlets.append(_Outlet(provider.shutdown, exporters, losses))
    return provider


def _exporters(
    environ: Mapping[str, str],
    otlp: Callable[..., _Exporter],
    console: Callable[..., _Exporter],
    losses: Losses,
) -> list[_Exporter]:
    exporters = []
    for name in wanted_exporters(environ, losses.signal):
        if name == "prometheus":
            continue
        session = ExporterSession()
        exporter = otlp(session=session) if name == "otlp" else console(out=_standard_output())
        losses.watch_exporter(exporter, session)
        exporters.append(exporter)
    return exporters


def _standard_output() -> TextIO:
    """Return standard output without its buffer: Python would flush it at exit and block if no one reads."""
    try:
        return TextIOWrapper(FileIO(sys.stdout.fileno(), "w", closefd=False), write_through=True)
    except UnsupportedOperation:  # it is in memory
        return sys.stdout


async def _flush(outlets: Sequence[_Outlet]) -> None:
    """Shut down all outlets concurrently. The SDK waits 30 s for a dead collector and ignores shorter timeouts."""
    threads = [threading.Thread(target=outlet.shutdown, daemon=True) for outlet in outlets]
    for thread in threads:
        thread.start()
    with anyio.move_on_after(_FLUSH_S, shield=True):
        while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110 - threads set no events
            await anyio.sleep(0.01)
    for thread, outlet in zip(threads, outlets, strict=True):
        if thread.is_alive():
            for exporter in outlet.exporters:
                exporter.shutdown()
