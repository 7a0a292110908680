"""Exports to a real receiver over a real socket, and to receivers that are dead, full or silent."""

import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from io import StringIO

import anyio
import httpx
import pytest
import structlog

from adsyncd.demo.collector import Collector, ExportedPoint, open_collector
from adsyncd.model.status import Export
from adsyncd.telemetry import open_telemetry
from adsyncd.telemetry.instruments import OUTCOME, PUSHED, QUOTA_PERMITS, RUN_DURATION, TENANT, span
from adsyncd.telemetry.log import configure
from adsyncd.telemetry.providers import Telemetry
from support.logging_state import flush, restored_logging
from support.otlp import PROMPTLY, otel_environ, telemetry_to

STOP_S = 5  # promised are three; the rest is for a busy machine
CANARY = "canary-4711"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with open_collector() as collector:
        yield collector


def latest(collector: Collector, name: str) -> dict[str, ExportedPoint]:
    """The newest point of each series of a metric, by its first attribute."""
    return {str(next(iter(point.attributes.values()))): point for point in collector.points if point.name == name}


def requested(times: int) -> Callable[[Collector], bool]:
    return lambda collector: collector.requests == times


async def test_a_run_arrives_as_one_trace_with_the_right_parents_across_concurrent_pushes(collector: Collector) -> None:
    async def push(telemetry: Telemetry, number: int) -> None:
        with span(telemetry.tracer, "campaign.push", {"adsyncd.campaign_id": f"c-{number}"}):
            async with httpx.AsyncClient(transport=telemetry.traced(httpx.MockTransport(answer))) as client:
                await client.post(f"https://ads.test/api/campaigns/c-{number}/sync")

    async def answer(_: httpx.Request) -> httpx.Response:
        await anyio.lowlevel.checkpoint()
        return httpx.Response(200)

    async with telemetry_to(collector) as telemetry:
        with span(telemetry.tracer, "sync.run", {TENANT: "acme"}):
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(push, telemetry, number)
    by_id = {exported.span_id: exported for exported in collector.spans}
    assert len(by_id) == 41
    assert len({exported.trace_id for exported in collector.spans}) == 1
    parents = {"sync.run": None, "campaign.push": "sync.run", "POST": "campaign.push"}
    for exported in collector.spans:
        parent = by_id[exported.parent_id] if exported.parent_id else None
        assert (parent.name if parent else None) == parents[exported.name]
        if parent and exported.name == "POST":
            assert str(parent.attributes["adsyncd.campaign_id"]) in str(exported.attributes["url.full"])
            assert exported.kind == "client"


async def test_metrics_arrive_for_each_of_thousands_of_tenants(collector: Collector) -> None:
    async with telemetry_to(collector) as telemetry:
        for number in range(3000):
            telemetry.instruments.add(PUSHED, 2, tenant=f"t-{number}")
        telemetry.instruments.observe(
            lambda: [(QUOTA_PERMITS.name, 7, {TENANT: f"t-{number}"}) for number in range(3000)]
        )
        telemetry.instruments.record(RUN_DURATION, 1.5, outcome="succeeded")
    assert {tenant: point.value for tenant, point in latest(collector, PUSHED.name).items()} == {
        f"t-{number}": 2 for number in range(3000)
    }
    assert len(latest(collector, QUOTA_PERMITS.name)) == 3000
    duration = latest(collector, RUN_DURATION.name)["succeeded"]
    assert (duration.value, duration.count, duration.unit) == (1.5, 1, "s")


async def test_logs_arrive_with_the_ids_of_their_span(collector: Collector) -> None:
    async with telemetry_to(collector) as telemetry:
        with (
            restored_logging(),
            span(telemetry.tracer, "sync.run"),
            structlog.contextvars.bound_contextvars(tenant="acme"),
        ):
            configure("info", sys.stderr).export(telemetry.logger_provider, telemetry.instruments)
            structlog.get_logger("adsyncd.pipeline").info("run ended", pushed=100)
    (run,) = collector.spans
    (record,) = [record for record in collector.logs if record.logger == "adsyncd.pipeline"]
    assert (record.event, record.severity) == ("run ended", "INFO")
    assert (record.trace_id, record.span_id) == (run.trace_id, run.span_id)
    assert record.attributes == {"adsyncd.tenant": "acme", "pushed": 100}


async def test_the_resource_is_adsyncd_unless_the_operator_says_otherwise(collector: Collector) -> None:
    async with telemetry_to(collector) as telemetry:
        telemetry.tracer.start_span("sync.run").end()
    (first,) = collector.spans
    assert first.resource["service.name"] == "adsyncd"
    assert {"service.version", "service.instance.id"} <= first.resource.keys()
    collector.spans.clear()
    async with telemetry_to(
        collector, OTEL_RESOURCE_ATTRIBUTES="service.name=ads,deployment.environment.name=test"
    ) as telemetry:
        telemetry.tracer.start_span("sync.run").end()
    (second,) = collector.spans
    assert (second.resource["service.name"], second.resource["deployment.environment.name"]) == ("ads", "test")


async def test_headers_compression_and_sampling_follow_the_variables(collector: Collector) -> None:
    async with telemetry_to(
        collector,
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_TRACES_SAMPLER="traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.5",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    ) as telemetry:
        for _ in range(200):
            telemetry.tracer.start_span("sync.run").end()
    assert 0 < len(collector.spans) < 200
    assert not collector.points


async def test_no_secret_of_the_variables_is_logged_when_nothing_can_be_exported() -> None:
    said = StringIO()
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:{CANARY}@127.0.0.1:9/{CANARY}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {CANARY}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2",
    }
    with restored_logging(), otel_environ(**PROMPTLY, **variables):
        log = configure("debug", said)
        async with open_telemetry(os.environ) as telemetry:
            log.export(telemetry.logger_provider, telemetry.instruments)
            telemetry.tracer.start_span("sync.run").end()
            with anyio.fail_after(20):
                while "telemetry is being lost" not in said.getvalue():  # noqa: ASYNC110 - a thread says it
                    await anyio.sleep(0.02)
        flush()
    assert CANARY not in said.getvalue()


async def test_no_attribute_is_longer_than_1024_and_no_secret_is_exported(collector: Collector) -> None:
    async with telemetry_to(collector) as telemetry:
        with pytest.raises(ValueError, match=CANARY), span(telemetry.tracer, "sync.run", {TENANT: "x" * 5000}):
            raise ValueError(CANARY)
        client = httpx.AsyncClient(transport=telemetry.traced(httpx.MockTransport(lambda _: httpx.Response(401))))
        async with client:
            await client.get(
                f"https://u:{CANARY}@ads.test/?access_token={CANARY}", headers={"Authorization": f"Bearer {CANARY}"}
            )
    assert len(collector.spans) == 2
    for exported in collector.spans:
        assert all(len(str(value)) <= 1024 for value in exported.attributes.values())
        assert exported.events == ()
    assert CANARY not in repr(collector)


async def test_an_interrupted_span_arrives_without_an_error(collector: Collector) -> None:
    async with telemetry_to(collector) as telemetry:
        with anyio.CancelScope() as scope, span(telemetry.tracer, "campaign.push"):
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    (exported,) = collector.spans
    assert (exported.error, exported.attributes) == (False, {OUTCOME: "interrupted"})


async def test_what_is_recorded_is_flushed_even_when_the_daemon_is_cancelled(collector: Collector) -> None:
    with anyio.CancelScope() as scope:
        async with telemetry_to(collector, OTEL_BSP_SCHEDULE_DELAY="60000") as telemetry:
            telemetry.tracer.start_span("sync.run").end()
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert [exported.name for exported in collector.spans] == ["sync.run"]


@pytest.mark.parametrize("kind", ["dead", "hanging", "failing"])
async def test_a_bad_collector_delays_neither_a_span_nor_the_stop(kind: str, collector: Collector) -> None:
    collector.hanging = kind == "hanging"
    collector.status = 503
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    endpoint = dead if kind == "dead" else collector.endpoint
    with otel_environ(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_BSP_MAX_QUEUE_SIZE="1000", **PROMPTLY):
        async with open_telemetry(os.environ) as telemetry:
            start = time.perf_counter()
            for _ in range(5000):
                with span(telemetry.tracer, "sync.run"):
                    telemetry.instruments.add(PUSHED, 1, tenant="acme")
            assert time.perf_counter() - start < STOP_S
            stop = time.perf_counter()
        assert time.perf_counter() - stop < STOP_S


async def test_an_outage_is_told_once_and_export_goes_on_after_it(collector: Collector) -> None:
    only_traces = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    with structlog.testing.capture_logs() as events:
        async with telemetry_to(collector, **only_traces) as telemetry:
            assert telemetry.exports() == {"traces": Export()}
            for number in range(1, 6):
                if number == 3:
                    assert telemetry.exports() == {"traces": Export(cause="HTTP 400")}
                collector.status = 400 if number <= 3 else 200
                telemetry.tracer.start_span(f"span {number}").end()
                await collector.wait_for(requested(number))
    assert [event["event"] for event in events] == ["telemetry is being lost", "telemetry is exported again"]
    assert (events[0]["cause"], events[1]["lost"]) == ("HTTP 400", 3)
    assert [exported.name for exported in collector.spans] == ["span 4", "span 5"]
