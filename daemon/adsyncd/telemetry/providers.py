"""The tracer and the instruments of all parts, with exporters only if the environment asks for one."""

from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

import httpx
from opentelemetry._logs import LoggerProvider
from opentelemetry.metrics import Histogram, NoOpMeter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Tracer

from adsyncd.model.status import Export
from adsyncd.telemetry.http_spans import TracedTransport, http_duration
from adsyncd.telemetry.instruments import Instruments
from adsyncd.telemetry.standard_variables import DEFAULTS, SIGNALS, wanted_exporters
from adsyncd.telemetry.write_durations import WriteDurations


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The tracer and instruments that all parts use. `logger_provider` is None if no logs are exported.

    `exports` returns how the export of each wanted signal goes.
    """

    tracer: Tracer
    instruments: Instruments
    logger_provider: LoggerProvider | None
    http_duration: Histogram
    write_durations: WriteDurations
    exports: Callable[[], Mapping[str, Export]] = dict

    def traced(self, inner: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """Wrap a transport: each request becomes a CLIENT span, which ends with the response's headers.

        The request carries the trace context. Only its method and address are recorded: no query, header or body. Its
        call's resends become `http.request.resend_count`.
        """
        return TracedTransport(inner, self.tracer, self.http_duration)


def open_telemetry(environ: MutableMapping[str, str], *, scraped: bool) -> AbstractAsyncContextManager[Telemetry]:
    """Set up telemetry by a valid `environ`; see `adsyncd.telemetry.open_telemetry`."""
    for name, value in DEFAULTS.items():
        environ.setdefault(name, value)
    wanted = {name for signal in SIGNALS for name in wanted_exporters(environ, signal)}
    if wanted - (set() if scraped else {"prometheus"}):
        from adsyncd.telemetry.exporting import open_exports  # noqa: PLC0415 - slow to import, and only exports need it

        return open_exports(environ, scraped=scraped)
    return nullcontext(_unexported())


def _unexported() -> Telemetry:
    """Return telemetry that records nothing: its spans have ids, for the log and the platforms."""
    meter = NoOpMeter("adsyncd")
    provider = TracerProvider(ALWAYS_OFF, Resource.get_empty(), shutdown_on_exit=False)
    tracer, instruments = provider.get_tracer("adsyncd"), Instruments(meter)
    return Telemetry(tracer, instruments, None, http_duration(meter), WriteDurations(meter))
