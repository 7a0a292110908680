"""Questions of an operator, asked of a real tracing backend to which a real daemon has exported its runs."""

import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from support.phoenix import PROGRAM, Phoenix, running_phoenix
from support.platform import HEALTHY, accounts, environ_of, running_platform
from support.program import AMPLE, Program

CAMPAIGNS = 12

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="no Phoenix here: make phoenix")


@dataclass(frozen=True, slots=True)
class Scene:
    """A backend with two tenants' runs; acme's was killed, resumed, and had two campaigns refused."""

    phoenix: Phoenix
    killed: dict[str, Any]  # acme's run as the kill left it
    runs: dict[str, dict[str, Any]]  # as they ended, by tenant


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("phoenix")
    slow = {**HEALTHY, "campaigns": CAMPAIGNS, "push_latency_s": 0.4}
    refusing = {"rejected": ["cmp-0003", "cmp-0007"]}
    settings = {"everyone": slow, "accounts": accounts("acme", "globex"), "clients": {"acme": refusing}}
    async with running_phoenix(folder) as phoenix, running_platform(settings) as platform:
        program = Program(folder, environ_of("acme", "globex") | phoenix.environ)
        program.settings(platform.base_url, defaults=AMPLE)
        program.tenant("acme", sync={"concurrency": 2})
        async with program.started() as daemon:
            await platform.reach_effects("acme", 3)
            # A batch is exported each tenth of a second, and what is not in the backend dies with the process.
            await phoenix.finds(lambda found: len(found) >= 2, name="campaign.push")
            daemon.process.send_signal(signal.SIGKILL)
            with anyio.fail_after(20):
                await daemon.process.wait()
        killed = (await program.runs())["acme"]
        program.tenant("globex")
        async with program.daemon() as daemon:
            await daemon.logs("run ended", 2)
        runs = await program.runs()
        await phoenix.finds(lambda found: len(found) == 2, name="sync.run")
        yield Scene(phoenix, killed, runs)


async def test_a_tenant_s_failed_pushes_are_found_with_their_reasons(scene: Scene) -> None:
    asked = {"name": "campaign.push", "status_code": "ERROR"}
    failed = await scene.phoenix.finds(lambda found: len(found) >= 2, **asked, attribute="adsyncd.tenant:acme")
    assert {span["attributes"]["adsyncd.campaign_id"] for span in failed} == {"cmp-0003", "cmp-0007"}
    for span in failed:
        assert "422" in span["status_message"]
        assert span["attributes"]["adsyncd.outcome"] == "dead_lettered"
    assert await scene.phoenix.spans(**asked, attribute="adsyncd.tenant:globex") == []


async def test_a_resumed_run_leads_to_the_trace_before_it_and_that_trace_to_it(scene: Scene) -> None:
    """Phoenix keeps no links: the attribute beside the link is what it finds."""
    killed, resumed = scene.killed["trace_id"], scene.runs["acme"]["trace_id"]
    value = json.dumps(killed)  # as a text, though it may be all digits
    [root] = await scene.phoenix.spans(name="sync.run", attribute=f"adsyncd.run.resumed_from:{value}")
    assert root["context"]["trace_id"] == resumed != killed
    before = await scene.phoenix.spans(trace_id=root["attributes"]["adsyncd.run.resumed_from"])
    assert Counter(span["name"] for span in before)["campaign.push"] >= 2
    assert "sync.run" not in {span["name"] for span in before}  # it never ended
    assert {span["attributes"]["adsyncd.tenant"] for span in before} == {"acme"}


async def test_a_run_says_what_it_did_without_its_other_spans(scene: Scene) -> None:
    for tenant, run in scene.runs.items():
        [root] = await scene.phoenix.spans(name="sync.run", attribute=f"adsyncd.tenant:{tenant}")
        told = root["attributes"]
        assert told["adsyncd.outcome"] == run["outcome"] == ("partial" if tenant == "acme" else "succeeded")
        assert told["adsyncd.run.listed"] == CAMPAIGNS
        assert told["adsyncd.run.dead_lettered"] == run["dead_lettered"] == (2 if tenant == "acme" else 0)
        assert root["status_code"] == ("ERROR" if tenant == "acme" else "UNSET")


async def test_requests_are_grouped_by_what_they_ask_for(scene: Scene) -> None:
    of_globex = await scene.phoenix.spans(trace_id=scene.runs["globex"]["trace_id"])
    requests = Counter(span["name"] for span in of_globex if "http.request.method" in span["attributes"])
    assert requests == {
        "POST /auth/token": 1,
        "GET /api/campaigns": 2,
        "POST /api/campaigns/{campaign_id}/sync": CAMPAIGNS,
    }


async def test_every_span_has_a_tenant(scene: Scene) -> None:
    assert {span["attributes"]["adsyncd.tenant"] for span in await scene.phoenix.spans()} == {"acme", "globex"}
