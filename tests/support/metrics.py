"""What is measured, as it is at the end of a test."""

import json
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader


class Metrics:
    """Records metrics: hand `meter` to what is tested."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.meter = MeterProvider([self._reader], shutdown_on_exit=False).get_meter("test")

    def exported(self) -> list[dict[str, Any]]:
        """Return the metrics, as JSON."""
        data = self._reader.get_metrics_data()
        resources = json.loads(data.to_json())["resource_metrics"] if data else []
        return [metric for resource in resources for scope in resource["scope_metrics"] for metric in scope["metrics"]]

    def points(self, name: str) -> list[dict[str, Any]]:
        """Return the points of a metric, each with its `attributes` and `value`."""
        return [
            point for metric in self.exported() if metric["name"] == name for point in metric["data"]["data_points"]
        ]
