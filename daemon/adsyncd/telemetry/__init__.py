"""Exports traces, metrics and logs over OTLP/HTTP as the standard `OTEL_*` variables say.

A collector that is down, slow or full costs only telemetry: queues are bounded, recording never waits, and a stop
waits at most three seconds for the last export.
"""

from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from adsyncd.errors import ConfigError, Problem
from adsyncd.telemetry.standard_variables import refuse_wrong, unneeded

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from adsyncd.telemetry.providers import Telemetry

__all__ = ["CALL", "open_telemetry"]

# A request's extension: see `adsyncd.platforms.call`. It stands here because to import `http_spans`, and with it
# OpenTelemetry's propagators, fails before the standard variables are checked.
CALL = "adsyncd.call"


def open_telemetry(
    environ: MutableMapping[str, str], *, scraped: bool = False
) -> "AbstractAsyncContextManager[Telemetry]":
    """Set up telemetry by `environ`; at the end flush it, for three seconds at most, even when cancelled.

    `environ` must be `os.environ`: the SDK reads most variables there, so adsyncd's defaults are set there. Without an
    exporter or endpoint nothing is exported; spans have ids but record nothing. `scraped`: this process lives long
    enough for Prometheus, and listens if `environ` says so.

    Raises `ConfigError` for invalid variables.
    """
    refuse_wrong(environ)
    for name in unneeded(environ):
        del environ[name]
    try:
        from adsyncd.telemetry import providers  # noqa: PLC0415 - importing the SDK reads variables and may raise

        return providers.open_telemetry(environ, scraped=scraped)
    except ValueError as exc:
        raise ConfigError([Problem(None, None, None, str(exc), "see docs/telemetry.md")]) from exc
