"""What a tracing backend gets to see of runs: whole traces, with the right parents, in the conventions' words."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from adsyncd import daemon
from adsyncd.config import load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.daemon import Parts
from adsyncd.demo.collector import Collector, ExportedSpan, open_collector
from adsyncd.model.run import Run
from adsyncd.runs.trace import WAITS
from adsyncd.store import store
from adsyncd.telemetry.instruments import METRICS
from adsyncd.telemetry.write_durations import write_name
from adsyncd.tenants.ticks import Ticker
from support.logging_state import restored_logging
from support.otlp import PROMPTLY, otel_environ
from support.platform import HEALTHY, accounts, environ_of, running_platform
from support.program import Program
from support.web import serving

CAMPAIGNS = 25
PARENTS: Mapping[str, set[str | None]] = {
    "sync.run": {None},
    "campaigns.list": {"sync.run"},
    "campaigns.page": {"campaigns.list"},
    "campaign.push": {"sync.run"},
    "quota.wait": {"campaigns.page", "campaign.push"},
    "retry.wait": {"campaigns.page", "campaign.push"},
    "token.refresh": {"campaigns.page", "campaign.push"},
    "credentials.read": {"token.refresh"},
    "store.write": {"sync.run", "campaigns.page", "campaign.push"},
    "GET": {"campaigns.page"},
    "POST": {"campaign.push", "token.refresh"},
}

ROUTES = {("POST", "/auth/token"), ("GET", "/api/campaigns"), ("POST", "/api/campaigns/{campaign_id}/sync")}


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of one run."""

    run: Run
    spans: Sequence[ExportedSpan]

    def named(self, *names: str) -> list[ExportedSpan]:
        return [span for span in self.spans if first_word(span) in names]

    def below(self, parent: ExportedSpan, *names: str) -> list[ExportedSpan]:
        return [span for span in self.named(*names) if span.parent_id == parent.span_id]

    def parent(self, span: ExportedSpan) -> ExportedSpan | None:
        return next((other for other in self.spans if other.span_id == span.parent_id), None)


def start(span: ExportedSpan) -> int:
    return span.start_ns


def first_word(span: ExportedSpan) -> str:
    """Return a span's name, of a request its method."""
    return span.name.partition(" ")[0]


def roots(collector: Collector) -> list[ExportedSpan]:
    return [span for span in collector.spans if span.name == "sync.run"]


def path(request: ExportedSpan) -> str:
    return urlsplit(str(request.attributes["url.full"])).path


@dataclass(frozen=True, slots=True)
class Scene:
    """What a collector got of five runs of four tenants, three of them at the same time."""

    collector: Collector
    runs: Sequence[Run]
    port: int

    def traces(self, *tenants: str) -> list[Trace]:
        return [
            Trace(run, [span for span in self.collector.spans if span.trace_id == run.trace_id])
            for run in self.runs
            if not tenants or run.tenant in tenants
        ]


@asynccontextmanager
async def parts_of(program: Program, collector: Collector) -> AsyncIterator[Parts]:
    """The parts of a daemon in this process, which exports to `collector`, with all tenants in its charge."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **PROMPTLY, **program.environ}
    settings = load_settings(program.config, {})
    with otel_environ(**environ), restored_logging():
        async with daemon.open_parts(settings, os.environ, "info") as parts:
            for tenant in read_tenants(settings).good.values():
                parts.supervisor.add(tenant)
            yield parts


async def run_all(parts: Parts, *tenants: str) -> None:
    """Run tenants at the same time, as ticks do."""
    async with anyio.create_task_group() as runs:
        for tenant in tenants:
            parts.supervisor.tick(runs, tenant, parts.clock.now())


def installed(folder: Path, base_url: str, *tenants: str, **keys: object) -> Program:
    """An installation whose tenants have the accounts of the mock platform."""
    program = Program(folder, environ_of(*tenants))
    program.settings(platforms={"mixo": {"base_url": base_url}}, defaults={"quota": {"requests": 1000, "per": "60s"}})
    for tenant in tenants:
        program.tenant(tenant, credentials={"env": tenant.upper()}, **keys)
    return program


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    settings = {
        "everyone": {**HEALTHY, "campaigns": CAMPAIGNS, "push_latency_s": 0.05},
        "accounts": accounts("calm", "tight", "flaky", "refused"),
        "clients": {
            "tight": {"quota_requests": 10, "quota_window_s": 0.5},
            "flaky": {"list_503": 0.5, "push_503": 0.3},
            "refused": {"fault": "unauthorized"},
        },
    }
    async with running_platform(settings) as platform, open_collector() as collector:
        program = installed(
            tmp_path_factory.mktemp("traces"),
            platform.base_url,
            "calm",
            "tight",
            "flaky",
            "refused",
            sync={"max_attempts": 10},
        )
        program.tenant("tight", credentials={"env": "TIGHT"}, quota={"requests": 10, "per": "500ms"})
        async with parts_of(program, collector) as parts:
            await run_all(parts, "calm", "tight", "flaky")
            await run_all(parts, "calm", "refused")
            runs = await parts.store.runs(None, 100)
        port = urlsplit(platform.base_url).port
        assert port
        yield Scene(collector, runs, port)


async def test_each_run_is_one_trace_with_one_root_and_no_orphans(scene: Scene) -> None:
    assert [run.outcome for run in scene.runs] == ["succeeded"] * 5
    assert {span.trace_id for span in scene.collector.spans} == {run.trace_id for run in scene.runs}
    assert len({run.trace_id for run in scene.runs}) == len(scene.runs)
    for whole in scene.traces():
        assert len({span.span_id for span in whole.spans}) == len(whole.spans)
        (root,) = [span for span in whole.spans if span.parent_id is None]
        assert root.name == "sync.run"
        assert {span.parent_id for span in whole.spans} - {None} <= {span.span_id for span in whole.spans}


async def test_each_span_has_the_parent_within_which_it_happened(scene: Scene) -> None:
    for whole in scene.traces():
        for span in whole.spans:
            parent = whole.parent(span)
            assert (parent and parent.name) in PARENTS[first_word(span)]
            if parent:
                assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns


async def test_each_of_the_concurrent_pushes_holds_its_own_requests_and_its_outcome(scene: Scene) -> None:
    for whole in scene.traces():
        pushes = whole.named("campaign.push")
        assert len({push.attributes["adsyncd.campaign_id"] for push in pushes}) == len(pushes) == CAMPAIGNS
        assert any(later.start_ns < earlier.end_ns for earlier, later in pairwise(sorted(pushes, key=start)))
        for push in pushes:
            requests = whole.below(push, "POST")
            assert {path(request) for request in requests} == {
                f"/api/campaigns/{push.attributes['adsyncd.campaign_id']}/sync"
            }
            assert push.attributes["adsyncd.outcome"] == "pushed"
            assert 1 <= int(push.attributes["adsyncd.attempt"]) <= len(requests)


async def test_pages_are_listed_one_after_the_other_below_the_listing(scene: Scene) -> None:
    for whole in scene.traces():
        (listing,) = whole.named("campaigns.list")
        pages = sorted(whole.below(listing, "campaigns.page"), key=start)
        assert [page.attributes["adsyncd.page"] for page in pages] == [1, 2, 3]
        assert all(whole.below(page, "GET") for page in pages)


async def test_a_wait_for_quota_is_a_span_only_where_there_was_one(scene: Scene) -> None:
    for whole in scene.traces():
        waits = whole.named("quota.wait")
        assert bool(waits) == (whole.run.waited_s > 0) == (whole.run.tenant == "tight")
        assert sum(wait.duration_s for wait in waits) >= whole.run.waited_s * 0.9


async def test_the_time_before_each_repetition_is_a_span_that_says_for_what_and_until_when(scene: Scene) -> None:
    repeated = 0
    for whole in scene.traces():
        waits = whole.named("retry.wait")
        at_once = whole.run.tenant == "refused"  # after a 401 a request goes again at once, within its attempt
        assert len(waits) < whole.run.retries if at_once else len(waits) == whole.run.retries
        assert {wait.attributes["adsyncd.wait.reason"] for wait in waits} <= {"backoff"}
        assert all("T" in str(wait.attributes["adsyncd.wait.until"]) for wait in waits)
        repeated += len(waits)
    assert repeated > 0


async def test_a_sign_in_is_part_of_the_run_that_needed_it(scene: Scene) -> None:
    second, first = scene.traces("calm")
    assert second.named("token.refresh", "credentials.read") == []
    (refresh,) = first.named("token.refresh")
    (read,) = first.below(refresh, "credentials.read")
    assert read.attributes["adsyncd.credentials.source"] == "environment"
    (request,) = first.below(refresh, "POST")
    assert path(request) == "/auth/token"


async def test_each_span_has_the_tenant_of_its_run(scene: Scene) -> None:
    for whole in scene.traces():
        assert {span.attributes["adsyncd.tenant"] for span in whole.spans} == {whole.run.tenant}


async def test_runs_and_pushes_have_the_attributes_to_find_them_by(scene: Scene) -> None:
    for whole in scene.traces():
        (root,) = whole.named("sync.run")
        run = whole.run
        told = dict(root.attributes)
        waits = {name: told.pop(name) for name in list(told) if name.startswith("adsyncd.run.waits_s.")}
        assert told == {
            "adsyncd.tenant": run.tenant,
            "adsyncd.client_id": run.tenant,
            "adsyncd.run_id": run.run_id,
            "adsyncd.outcome": "succeeded",
            "adsyncd.run.fire_time": run.fire_time.isoformat(timespec="milliseconds"),
            "adsyncd.run.late_s": run.late_s,
            "adsyncd.run.skipped_ticks": 0,
            "adsyncd.run.listed": CAMPAIGNS,
            "adsyncd.run.pushed": CAMPAIGNS,
            **{f"adsyncd.run.{name}": 0 for name in ("skipped", "stored", "dead_lettered", "failed")},
            **{f"adsyncd.run.{name}": getattr(run, name) for name in ("requests", "retries", "refused")},
        }
        assert waits == {WAITS[reason]: seconds for reason, seconds in run.waits.items()}


async def test_requests_are_told_in_the_words_of_the_http_conventions(scene: Scene) -> None:
    for whole in scene.traces():
        for request in whole.named("GET", "POST"):
            known: dict[str, Any] = dict(request.attributes)
            assert request.kind == "client"
            named = (known.pop("http.request.method"), known.pop("url.template"))
            assert named in ROUTES
            assert request.name == " ".join(named)
            assert (known.pop("server.address"), known.pop("server.port")) == ("127.0.0.1", scene.port)
            url = urlsplit(str(known.pop("url.full")))
            assert (url.scheme, url.netloc, url.query) == ("http", f"127.0.0.1:{scene.port}", "")
            status = known.pop("http.response.status_code")
            assert (status >= 400) == request.error == (known.pop("error.type", None) == str(status))
            assert known.pop("adsyncd.tenant") == whole.run.tenant
            assert known.keys() <= {"http.request.resend_count"}


@pytest.mark.parametrize(("tenant", "status"), [("flaky", 503), ("refused", 401)])
async def test_a_request_that_is_sent_again_says_for_which_time(tenant: str, status: int, scene: Scene) -> None:
    (whole,) = scene.traces(tenant)
    families = [whole.below(parent, "GET", "POST") for parent in whole.named("campaigns.page", "campaign.push")]
    for family in families:
        sendings = sorted(family, key=start)
        counts = [sending.attributes.get("http.request.resend_count") for sending in sendings]
        assert counts == [None, *range(1, len(sendings))]
        assert [sending.attributes["http.response.status_code"] for sending in sendings] == [
            *[status] * (len(sendings) - 1),
            200,
        ]
    assert sum(len(family) - 1 for family in families) == whole.run.retries > 0


async def test_metrics_say_what_the_runs_say(scene: Scene) -> None:
    latest = {(point.name, frozenset(point.attributes.items())): point for point in scene.collector.points}

    def total(name: str, tenant: str) -> float:
        mine = [point for (of, has), point in latest.items() if of == name and ("adsyncd.tenant", tenant) in has]
        return sum(point.value for point in mine)

    for tenant in ("calm", "tight", "flaky", "refused"):
        runs = [run for run in scene.runs if run.tenant == tenant]
        assert total("adsyncd.runs", tenant) == len(runs)
        assert total("adsyncd.campaigns.listed", tenant) == sum(run.listed for run in runs)
        assert total("adsyncd.campaigns.pushed", tenant) == sum(run.pushed for run in runs)
        assert total("adsyncd.requests", tenant) == sum(run.requests for run in runs)
        assert total("adsyncd.retries", tenant) == sum(run.retries for run in runs)
        assert total("adsyncd.quota.wait", tenant) == pytest.approx(sum(run.waited_s for run in runs))
        assert total("adsyncd.token.expires_in", tenant) == pytest.approx(3600, abs=60)
        assert 0 <= total("adsyncd.quota.permits", tenant) <= 1000
        assert ("adsyncd.dead_letters", frozenset({("adsyncd.tenant", tenant)})) in latest
    durations = latest["adsyncd.run.duration", frozenset({("adsyncd.outcome", "succeeded")})]
    assert durations.count == len(scene.runs)
    units = {metric.name: metric.unit for metric in METRICS}
    ours = [point for point in latest.values() if point.name.startswith("adsyncd.")]
    assert [point.name for point in ours if point.unit != units[point.name]] == []


async def test_each_transaction_of_the_store_is_in_a_histogram(scene: Scene) -> None:
    durations = [point for point in scene.collector.points if point.name == "db.client.operation.duration"]
    assert {point.attributes["db.system.name"] for point in durations} == {"sqlite"}
    kinds = {write_name(write) for write in store._TOUCHES}
    named = {str(point.attributes["db.operation.name"]) for point in durations}
    assert "BATCH" in named  # runs at the same time
    assert {name.removeprefix("BATCH ") for name in named} <= kinds | {"BATCH"}


async def test_logs_lead_to_the_trace_that_they_are_about(scene: Scene) -> None:
    told = {record.trace_id for record in scene.collector.logs if record.event == "run ended"}
    assert told >= {run.trace_id for run in scene.runs if run is scene.traces(run.tenant)[-1].run}


async def test_each_request_carries_the_context_of_its_own_span(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str]] = []

    async def answer(request: Request) -> JSONResponse:
        context, _, flags = request.headers["traceparent"].rpartition("-")
        seen.append((request.url.path, context, flags))
        if request.url.path == "/auth/token":
            return JSONResponse({"access_token": "t", "expires_in": 3600})
        if request.method == "POST":
            return JSONResponse({"success": True})
        numbers = {"budget": 1, "impressions": 1, "clicks": 1, "conversions": 1}
        texts = {"name": "a", "status": "active", "created_at": "2026-11-25T12:00:00Z"}
        data = [{"id": f"c-{number}", **texts, **numbers} for number in range(9)]
        return JSONResponse({"data": data, "pagination": {"total": len(data), "has_more": False}})

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    async with (
        serving(app) as base_url,
        open_collector() as collector,
        parts_of(installed(tmp_path, base_url, "acme"), collector) as parts,
    ):
        await run_all(parts, "acme")
        (run,) = await parts.store.runs(None, 10)
        await collector.wait_for(lambda collector: len(roots(collector)) == 1)
    requests = [span for span in collector.spans if first_word(span) in ("GET", "POST")]
    assert len(requests) == len(seen) == 11
    assert {(path(span), f"00-{run.trace_id}-{span.span_id}") for span in requests} == {
        (where, context) for where, context, _ in seen
    }
    assert all(int(flags, 16) & 1 for _, _, flags in seen)  # sampled


async def test_a_run_that_a_tick_started_is_nobody_s_child(tmp_path: Path) -> None:
    settings = {"everyone": {**HEALTHY, "campaigns": 1}, "accounts": accounts("acme")}
    async with running_platform(settings) as platform, open_collector() as collector:
        program = installed(tmp_path, platform.base_url, "acme", schedule={"every": "1s"})
        async with parts_of(program, collector) as parts, anyio.create_task_group() as runs:
            ticker = Ticker(lambda tenant_id, fire_time: parts.supervisor.tick(runs, tenant_id, fire_time))
            foreign = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False))
            with trace.use_span(foreign):
                ticker.add(read_tenants(load_settings(program.config, {})).good["acme"])
                ticker.start()
            await collector.wait_for(lambda collector: len(roots(collector)) >= 2)
            ticker.stop()
    runs_seen = roots(collector)
    assert len({root.trace_id for root in runs_seen}) == len(runs_seen)
    assert {root.parent_id for root in runs_seen} == {None}
