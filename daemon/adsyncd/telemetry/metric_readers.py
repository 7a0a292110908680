"""Joins the two sources of metrics for the exporters: the SDK's histograms, and the series of a `SeriesTable`.

Only a process that exports metrics imports this.
"""

from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics import ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

import adsyncd
from adsyncd.telemetry.instruments import METRICS
from adsyncd.telemetry.series import Point, SeriesTable

_READING_MS = 10_000.0  # more than all series take
_SCOPE = InstrumentationScope("adsyncd", adsyncd.__version__)


class Joined:
    """Adds the series of a table to what the SDK collected. One for each reader.

    `delta`: counters are exported as the difference from the last export.
    """

    def __init__(self, table: SeriesTable, resource: Resource, *, delta: bool = False) -> None:
        self._table = table
        self._resource = resource
        self._delta = delta
        self._last: dict[tuple[object, ...], float] = {}
        self._last_ns = 0

    def with_series(self, data: MetricsData | None) -> MetricsData:
        """Return what the SDK collected, None if that is nothing, together with the points of all series."""
        own = self._metrics()
        if data is None or not data.resource_metrics:
            return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(_SCOPE, own, "")], "")])
        [of_sdk] = data.resource_metrics  # one provider has one resource
        scope, *others = of_sdk.scope_metrics  # ours; the exporter keeps one of two scopes of the same name
        joined = replace(scope, metrics=[*scope.metrics, *own])
        return MetricsData([replace(of_sdk, scope_metrics=[joined, *others])])

    def _metrics(self) -> list[Metric]:
        collected, now_ns = self._table.collect(), self._table.now_ns()
        last, self._last = self._last, {}
        metrics = []
        for metric in METRICS:
            if not (points := collected.get(metric.name)):
                continue
            numbers = [NumberDataPoint(point.attributes, point.since_ns, now_ns, point.value) for point in points]
            data: Gauge | Sum
            if metric.kind == "gauge":
                data = Gauge(numbers)
            elif metric.kind == "counter" and self._delta:
                differences = [self._difference(metric.name, point, last, now_ns) for point in points]
                data = Sum(differences, AggregationTemporality.DELTA, is_monotonic=True)
            else:
                data = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=metric.kind == "counter")
            metrics.append(Metric(metric.name, metric.description, metric.unit, data))
        self._last_ns = now_ns
        return metrics

    def _difference(
        self, name: str, point: Point, last: dict[tuple[object, ...], float], now_ns: int
    ) -> NumberDataPoint:
        key = (name, point.since_ns, *point.attributes.items())  # a series that begins anew begins at 0
        self._last[key] = point.value
        since_ns = max(self._last_ns, point.since_ns)
        return NumberDataPoint(point.attributes, since_ns, now_ns, point.value - last.get(key, 0))


class ExportingReader(PeriodicExportingMetricReader):
    """Exports all metrics repeatedly, and once more at the end.

    It reads as long as that takes. The SDK gives up after the time between exports, and loses all of the last one.
    """

    def __init__(self, exporter: MetricExporter, table: SeriesTable, resource: Resource) -> None:
        preferred = exporter._preferred_temporality or {}  # noqa: SLF001 - the SDK's readers ask so, too
        delta = preferred.get(ObservableCounter) is AggregationTemporality.DELTA
        self._joined = Joined(table, resource, delta=delta)
        super().__init__(exporter)

    def collect(self, timeout_millis: float = 0) -> None:  # type: ignore[misc]  # it is final, without another way
        """Read and export all metrics."""
        timeout_millis = max(timeout_millis, _READING_MS)
        collect: Any = self._collect  # None until a provider has the reader
        data = collect and collect(self, timeout_millis=timeout_millis)
        self._receive_metrics(self._joined.with_series(data), timeout_millis=timeout_millis)
