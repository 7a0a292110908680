"""Telemetry that is exported to a collector in this process, by the variables of the test alone."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from unittest import mock

from adsyncd.demo.collector import Collector
from adsyncd.telemetry import open_telemetry
from adsyncd.telemetry.providers import Telemetry

PROMPTLY = {"OTEL_BSP_SCHEDULE_DELAY": "20", "OTEL_BLRP_SCHEDULE_DELAY": "20", "OTEL_METRIC_EXPORT_INTERVAL": "50"}


@contextmanager
def otel_environ(**variables: str) -> Iterator[None]:
    """No `OTEL_*` in the environment but these; afterwards it is as before."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with mock.patch.dict(os.environ, others | variables, clear=True):
        yield


@asynccontextmanager
async def telemetry_to(collector: Collector, **variables: str) -> AsyncIterator[Telemetry]:
    """Export everything to `collector`, without much delay."""
    with otel_environ(**{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **PROMPTLY, **variables}):
        async with open_telemetry(os.environ) as telemetry:
            yield telemetry
