"""Exports traces, metrics and logs over OTLP/HTTP as the standard `OTEL_*` variables say.

A collector that is dead, slow or full costs telemetry and nothing else: queues are bounded, recording never waits, and
a stop waits for the last export for three seconds at most.
"""

from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from adsyncd.errors import ConfigError, Problem
from adsyncd.telemetry.standard_variables import refuse_wrong, unneeded

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from adsyncd.telemetry.providers import Telemetry

__all__ = ["open_telemetry"]


def open_telemetry(environ: MutableMapping[str, str]) -> "AbstractAsyncContextManager[Telemetry]":
    """Set up what `environ` asks for; at the end flush it, for three seconds at most, even when cancelled.

    `environ` has to be `os.environ`: the SDK reads most variables there by itself, so our defaults are put there. When
    no exporter or endpoint is named, nothing is exported, and spans have ids but keep nothing.

    Raises `ConfigError` for variables that can't be used.
    """
    refuse_wrong(environ)
    for name in unneeded(environ):
        del environ[name]
    try:
        from adsyncd.telemetry import providers  # noqa: PLC0415 - what it imports reads variables, and may raise
    except ValueError as exc:
        raise ConfigError([Problem(None, None, None, str(exc), "see docs/telemetry.md")]) from exc
    return providers.open_telemetry(environ)
