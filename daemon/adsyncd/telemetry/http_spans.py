"""HTTP client spans and durations, by the stable semantic conventions for HTTP.

adsyncd's own, because the httpx instrumentation copies exception texts (and headers, by a variable) into spans, leaves
cancelled requests without a status, and costs three times as much (docs/decisions/0004-own-http-spans.md).
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol

import anyio
import httpx
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.propagate import inject
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

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
    URL_TEMPLATE,
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


class Described(Protocol):
    """What a span tells of a request's call."""

    @property
    def template(self) -> str:
        """The path of the request's URL, with placeholders where its requests differ; "" if it is unknown."""

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
        self._targets: dict[tuple[str, str, bytes, str], _Target] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; return the response, its body unread."""
        method, url = request.method, request.url
        call: Described | None = request.extensions.get(CALL)
        template = call.template if call is not None else ""
        place = (method, url.scheme, url.netloc, template)
        target = self._targets.get(place) or self._targets.setdefault(place, _Target(method, url, template))
        outcome: int | str = ""
        start = anyio.current_time()
        try:
            with span(self._tracer, target.name, kind=SpanKind.CLIENT) as current:
                if current.is_recording():
                    current.set_attributes(target.described(url, call))
                if current.get_span_context().is_valid:
                    inject(request.headers)
                response = await self._inner.handle_async_request(request)
                outcome = response.status_code
                if current.is_recording():
                    current.set_attributes(_answered(outcome))
                    if outcome >= HTTPStatus.BAD_REQUEST:
                        current.set_status(StatusCode.ERROR)
        except BaseException as exc:
            outcome = error_type(exc)
            raise
        finally:
            self._duration.record(anyio.current_time() - start, target.with_outcome(outcome))
        return response

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._inner.aclose()


class _Target:
    """A method, a server and a template, with the name and the attributes that all requests to them share."""

    def __init__(self, method: str, url: httpx.URL, template: str) -> None:
        port = url.port or (443 if url.scheme == "https" else 80)
        self._known: dict[str, AttributeValue] = {
            HTTP_METHOD: method,
            SERVER_ADDRESS: url.host,
            SERVER_PORT: port,
        }
        self.name = method
        if template:
            self.name = f"{method} {template}"
            self._known[URL_TEMPLATE] = template
        self._root = f"{url.scheme}://{url.netloc.decode('ascii')}"
        self._with_outcomes: dict[int | str, Mapping[str, AttributeValue]] = {}

    def described(self, url: httpx.URL, call: Described | None) -> dict[str, AttributeValue]:
        """Return the attributes of the span of a request that has no answer yet."""
        path = url.raw_path.partition(b"?")[0].decode("ascii")
        attributes = self._known | {URL_FULL: self._root + path}
        if call is not None and call.sendings > 1:
            attributes[HTTP_RESEND_COUNT] = call.sendings - 1
        return attributes

    def with_outcome(self, outcome: int | str) -> Mapping[str, AttributeValue]:
        """Return the attributes of the duration of a request that ended with a status or an error's type."""
        if outcome not in self._with_outcomes:
            how: dict[str, AttributeValue] = {ERROR_TYPE: outcome}
            if isinstance(outcome, int):
                how = _answered(outcome)
            self._with_outcomes[outcome] = self._known | how
        return self._with_outcomes[outcome]


def _answered(status: int) -> dict[str, AttributeValue]:
    return {HTTP_STATUS: status} | ({ERROR_TYPE: str(status)} if status >= HTTPStatus.BAD_REQUEST else {})
