"""HTTP client spans and durations, by the stable semantic conventions for HTTP.

adsyncd's own, because the httpx instrumentation copies exception texts (and headers, by a variable) into spans, leaves
cancelled requests without a status, and costs three times as much (docs/decisions/0004-own-http-spans.md).
"""

from http import HTTPStatus
from typing import Protocol

import anyio
import httpx
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.propagate import inject
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from adsyncd.telemetry import CALL
from adsyncd.telemetry.instruments import (
    ERROR_TYPE,
    HTTP_DURATION,
    HTTP_METHOD,
    HTTP_RESEND_COUNT,
    HTTP_STATUS,
    SERVER_ADDRESS,
    SERVER_PORT,
    URL_FULL,
    error_type,
    span,
)

_BUCKETS_S = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
)  # recommended by the conventions


class Resendable(Protocol):
    """What a span tells of a request's call."""

    @property
    def sendings(self) -> int:
        """How often the request was sent, the present sending included."""


def http_duration(meter: Meter) -> Histogram:
    """Return the histogram that all traced transports share."""
    return meter.create_histogram(
        HTTP_DURATION.name,
        HTTP_DURATION.unit,
        HTTP_DURATION.description,
        explicit_bucket_boundaries_advisory=_BUCKETS_S,
    )


class TracedTransport(httpx.AsyncBaseTransport):
    """A CLIENT span and a duration for each request, by the semantic conventions for HTTP."""

    def __init__(self, inner: httpx.AsyncBaseTransport, tracer: Tracer, duration: Histogram) -> None:
        self._inner = inner
        self._tracer = tracer
        self._duration = duration

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; return the response, its body unread."""
        url = request.url
        known: dict[str, str | int] = {
            HTTP_METHOD: request.method,
            SERVER_ADDRESS: url.host,
            SERVER_PORT: url.port or (443 if url.scheme == "https" else 80),
        }
        path = url.raw_path.partition(b"?")[0]
        attributes = known | {URL_FULL: f"{url.scheme}://{(url.netloc + path).decode('ascii')}"}
        call: Resendable | None = request.extensions.get(CALL)
        if call is not None and call.sendings > 1:
            attributes[HTTP_RESEND_COUNT] = call.sendings - 1
        start = anyio.current_time()
        try:
            with span(self._tracer, request.method, attributes, SpanKind.CLIENT) as current:
                inject(request.headers)
                response = await self._inner.handle_async_request(request)
                known[HTTP_STATUS] = response.status_code
                current.set_attribute(HTTP_STATUS, response.status_code)
                if response.status_code >= HTTPStatus.BAD_REQUEST:
                    known[ERROR_TYPE] = str(response.status_code)
                    current.set_attribute(ERROR_TYPE, str(response.status_code))
                    current.set_status(StatusCode.ERROR)
        except BaseException as exc:
            known[ERROR_TYPE] = error_type(exc)
            raise
        finally:
            self._duration.record(anyio.current_time() - start, known)
        return response

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()
