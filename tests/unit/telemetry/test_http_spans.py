from types import SimpleNamespace

import anyio
import httpx
import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id

from adsyncd.telemetry import CALL
from adsyncd.telemetry.http_spans import TracedTransport, http_duration
from adsyncd.telemetry.instruments import span
from support.metrics import Metrics
from support.spans import Spans

CANARY = "canary-4711"


class Platform(httpx.AsyncBaseTransport):
    """Answers 200 unless told otherwise, and keeps the headers that it got."""

    def __init__(self) -> None:
        self.status = 200
        self.error: Exception | None = None
        self.hanging = False
        self.headers = httpx.Headers()
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.headers = request.headers
        if self.hanging:
            await anyio.sleep_forever()
        if self.error:
            raise self.error
        return httpx.Response(self.status)

    async def aclose(self) -> None:
        self.closed = True


class Traced:
    def __init__(self) -> None:
        self.platform = Platform()
        self._spans, self._metrics = Spans(), Metrics()
        self.transport = TracedTransport(self.platform, self._spans.tracer, http_duration(self._metrics.meter))

    async def request(
        self, url: str = "https://ads.example.com/api/campaigns", sendings: int = 1, template: str = "/api/campaigns"
    ) -> httpx.Response:
        request = httpx.Request("GET", url, headers={"Authorization": f"Bearer {CANARY}"})
        request.extensions[CALL] = SimpleNamespace(sendings=sendings, template=template)
        return await self.transport.handle_async_request(request)

    def span(self) -> ReadableSpan:
        (span,) = self._spans.all()
        return span

    def durations(self) -> list[dict[str, object]]:
        (metric,) = self._metrics.exported()
        assert (metric["name"], metric["unit"]) == ("http.client.request.duration", "s")
        return [point["attributes"] for point in metric["data"]["data_points"]]


@pytest.fixture
def traced() -> Traced:
    return Traced()


async def test_a_request_is_a_client_span_by_the_semantic_conventions(traced: Traced) -> None:
    await traced.request("https://ads.example.com/api/campaigns?page=1&limit=10")
    span = traced.span()
    assert (span.name, span.kind, span.status.status_code) == (
        "GET /api/campaigns",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "ads.example.com",
        "server.port": 443,
        "url.full": "https://ads.example.com/api/campaigns",
        "url.template": "/api/campaigns",
    }


async def test_a_request_without_a_template_is_named_by_its_method(traced: Traced) -> None:
    await traced.request(template="")
    assert traced.span().name == "GET"
    assert "url.template" not in (traced.span().attributes or {})


async def test_the_trace_context_goes_out_with_the_request(traced: Traced) -> None:
    await traced.request()
    context = traced.span().get_span_context()
    assert context
    assert traced.platform.headers["traceparent"].startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")


async def test_only_a_repeated_request_has_a_resend_count(traced: Traced) -> None:
    await traced.request(sendings=3)
    assert (traced.span().attributes or {})["http.request.resend_count"] == 2


async def test_a_request_that_is_not_traced_is_not_described_but_carries_the_trace_context() -> None:
    class Secretive:
        template = "/"

        @property
        def sendings(self) -> int:
            raise AssertionError("asked for a description")

    platform, tracer = Platform(), TracerProvider(ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test")
    transport = TracedTransport(platform, tracer, http_duration(NoOpMeter("test")))
    with span(tracer, "sync.run") as root:
        request = httpx.Request("GET", "https://ads.example.com/", extensions={CALL: Secretive()})
        await transport.handle_async_request(request)
    assert platform.headers["traceparent"].split("-")[1] == format_trace_id(root.get_span_context().trace_id)


@pytest.mark.parametrize("status", [429, 503])
async def test_an_answer_from_400_is_an_error_of_the_span(traced: Traced, status: int) -> None:
    traced.platform.status = status
    await traced.request()
    assert traced.span().status.status_code is StatusCode.ERROR
    assert (traced.span().attributes or {})["error.type"] == str(status)


async def test_no_secret_of_the_request_or_of_an_exception_gets_into_the_span(traced: Traced) -> None:
    traced.platform.error = httpx.LocalProtocolError(f"Illegal header value b'Bearer {CANARY}'")
    with pytest.raises(httpx.LocalProtocolError):
        await traced.request(f"https://user:{CANARY}@ads.example.com:8443/api?access_token={CANARY}#{CANARY}")
    attributes = traced.span().attributes or {}
    assert attributes["url.full"] == "https://ads.example.com:8443/api"
    assert attributes["error.type"] == "LocalProtocolError"
    assert CANARY not in traced.span().to_json()


@pytest.mark.parametrize(("deadline_s", "kind"), [(0.01, "timeout"), (None, "cancelled")])
async def test_a_request_that_is_given_up_says_whether_its_time_was_up(
    traced: Traced, deadline_s: float | None, kind: str
) -> None:
    traced.platform.hanging = True
    with anyio.move_on_after(deadline_s):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(traced.request)
            await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
    is_error = kind == "timeout"
    told = (traced.span().status.status_code is StatusCode.ERROR, (traced.span().attributes or {}).get("error.type"))
    assert told == (is_error, "timeout" if is_error else None)
    assert (traced.span().attributes or {}).get("adsyncd.outcome") == (None if is_error else "interrupted")
    assert [duration["error.type"] for duration in traced.durations()] == [kind]


async def test_durations_are_kept_by_answer_address_and_template_but_not_by_path(traced: Traced) -> None:
    await traced.request("http://127.0.0.1/api/campaigns/1/sync", template="/api/campaigns/{campaign_id}/sync")
    await traced.request("http://127.0.0.1/api/campaigns/2/sync", template="/api/campaigns/{campaign_id}/sync")
    await traced.request("http://127.0.0.1/api/campaigns")
    known = {"http.request.method": "GET", "server.address": "127.0.0.1", "server.port": 80}
    assert traced.durations() == [
        known | {"http.response.status_code": 200, "url.template": template}
        for template in ("/api/campaigns/{campaign_id}/sync", "/api/campaigns")
    ]


async def test_durations_are_kept_apart_by_answer_and_error(traced: Traced) -> None:
    await traced.request()
    traced.platform.status = 503
    await traced.request()
    traced.platform.error = httpx.ReadError("")
    with pytest.raises(httpx.ReadError):
        await traced.request()
    known = {
        "http.request.method": "GET",
        "server.address": "ads.example.com",
        "server.port": 443,
        "url.template": "/api/campaigns",
    }
    assert traced.durations() == [
        known | {"http.response.status_code": 200},
        known | {"http.response.status_code": 503, "error.type": "503"},
        known | {"error.type": "ReadError"},
    ]


async def test_closing_closes_the_wrapped_transport(traced: Traced) -> None:
    await traced.transport.aclose()
    assert traced.platform.closed
