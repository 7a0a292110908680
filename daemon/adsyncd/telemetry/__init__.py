"""Exports traces, metrics and logs over OTLP/HTTP as the standard `OTEL_*` variables say.

A collector that is dead, slow or full costs telemetry and nothing else: queues are bounded, recording never waits, and
a stop waits for the last export for three seconds at most.
"""

from adsyncd.telemetry.providers import Telemetry, open_telemetry

__all__ = ["Telemetry", "open_telemetry"]
