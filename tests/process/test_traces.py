"""What a real daemon's traces say when it stops, and when it is killed."""

import signal

import anyio
import pytest

from adsyncd.demo.collector import Collector, ExportedSpan, open_collector
from support.otlp import PROMPTLY
from support.platform import Platform
from support.program import AMPLE, Program

TENANTS = ("acme", "globex", "initech")
CAMPAIGNS = 12


def named(collector: Collector, name: str, tenant: str) -> list[ExportedSpan]:
    return [span for span in collector.spans if span.name == name and span.attributes.get("adsyncd.tenant") == tenant]


def exports_to(program: Program, collector: Collector) -> None:
    program.environ.update(PROMPTLY, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)


@pytest.mark.parametrize("grace", ["10s", "500ms"])
async def test_a_stop_in_the_middle_of_runs_leaves_no_error(program: Program, platform: Platform, grace: str) -> None:
    """With the short grace, requests in flight are cancelled."""
    await platform.treat(push_latency_s=2)
    program.settings(platform.base_url, defaults=AMPLE, shutdown_grace=grace)
    for tenant in ("acme", "globex"):
        program.tenant(tenant, sync={"concurrency": 3})
    program.tenant("initech", quota={"requests": 2, "per": "60s"})  # a page and a push, and a long wait for the next
    async with open_collector() as collector:
        exports_to(program, collector)
        async with program.started() as daemon:
            for tenant in ("acme", "globex"):
                await platform.reach_effects(tenant, 4)
            await platform.reach_effects("initech", 1)
            assert await daemon.stop() == 0
    assert [(span.name, span.message, span.attributes) for span in collector.spans if span.error] == []
    for tenant in TENANTS:
        [root] = named(collector, "sync.run", tenant)
        assert root.attributes["adsyncd.outcome"] == "interrupted"
        assert root.attributes["adsyncd.run.listed"] == (10 if tenant == "initech" else CAMPAIGNS)  # a page has 10
    pushes = [push for tenant in ("acme", "globex") for push in named(collector, "campaign.push", tenant)]
    assert {push.attributes["adsyncd.outcome"] for push in pushes} <= {"pushed", "interrupted"}
    assert {"pushed", "interrupted"} == {push.attributes["adsyncd.outcome"] for push in pushes} or grace == "10s"
    [wait, *_] = named(collector, "quota.wait", "initech")
    assert wait.attributes["adsyncd.outcome"] == "interrupted"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_resumed_run_leads_to_the_trace_before_it_and_real_errors_stay(
    program: Program, platform: Platform, how: signal.Signals
) -> None:
    await platform.treat(push_latency_s=0.4, rejected=["cmp-0001"])
    program.tenant("acme", sync={"concurrency": 3})
    async with open_collector() as collector:
        exports_to(program, collector)
        async with program.started() as daemon:
            await platform.reach_effects("acme", 3)
            await collector.wait_for(lambda collector: any(span.error for span in collector.spans))
            daemon.process.send_signal(how)
            with anyio.fail_after(20):
                await daemon.process.wait()
        [left] = await program.ask("runs")
        async with program.daemon() as daemon:
            await daemon.logs("run ended")
    [run] = await program.ask("runs")
    [*_, root] = named(collector, "sync.run", "acme")
    assert root.trace_id == run["trace_id"] != left["trace_id"]
    [(trace_id, span_id)] = root.links
    assert trace_id == left["trace_id"]
    of_first = [span for span in collector.spans if span.trace_id == trace_id]
    if how is signal.SIGTERM:
        assert [span.name for span in of_first if span.span_id == span_id] == ["sync.run"]
    else:  # it never ended, and what had ended hangs below it
        assert span_id in {span.parent_id for span in of_first if span.name == "campaign.push"}
    failed = {span.name: span for span in collector.spans if span.error}
    assert failed.keys() == {"campaign.push", "POST /api/campaigns/{campaign_id}/sync", "sync.run"}
    push = failed["campaign.push"]
    assert push.attributes["adsyncd.outcome"] == "dead_lettered"
    assert "422" in push.message
    assert push.attributes["adsyncd.attempt"] == 1
    assert root.attributes["adsyncd.run.dead_lettered"] == 1
