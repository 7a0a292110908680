"""What is measured, as it is at the end of a test."""

import json
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from adsyncd.clock import Clock, SystemClock
from adsyncd.telemetry.instruments import TENANT, Instruments, Metric
from adsyncd.telemetry.metric_readers import Joined
from adsyncd.telemetry.series import SeriesTable


class Metrics:
    """Records metrics: hand `instruments` to what is tested."""

    def __init__(self, clock: Clock | None = None, *, delta: bool = False) -> None:
        self._reader = InMemoryMetricReader()
        self.series = SeriesTable(clock or SystemClock())
        self._joined = Joined(self.series, Resource.get_empty(), delta=delta)
        self.meter = MeterProvider([self._reader], shutdown_on_exit=False).get_meter("test")
        self.instruments = Instruments(self.meter, self.series)

    def exported(self) -> list[dict[str, Any]]:
        """Return the metrics, as JSON."""
        data = self._joined.with_series(self._reader.get_metrics_data())
        resources = json.loads(data.to_json())["resource_metrics"]
        return [metric for resource in resources for scope in resource["scope_metrics"] for metric in scope["metrics"]]

    def points(self, name: str) -> list[dict[str, Any]]:
        """Return the points of a metric, each with its `attributes` and `value`."""
        return [
            point for metric in self.exported() if metric["name"] == name for point in metric["data"]["data_points"]
        ]

    def by_tenant(self, metric: Metric, **attributes: str) -> dict[str, float]:
        """Return the values of a metric by tenant, of the series with these attributes."""
        wanted = {f"adsyncd.{name}": value for name, value in attributes.items()}
        return {
            point["attributes"][TENANT]: point["value"]
            for point in self.points(metric.name)
            if TENANT in point["attributes"] and point["attributes"].items() >= wanted.items()
        }
