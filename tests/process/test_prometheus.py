"""A real Prometheus scrapes a real daemon, whose tenants are late, refused, or pushed in part."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from support import page
from support.platform import Platform, accounts, running_platform
from support.program import ONCE, Program
from support.prometheus import (
    Prometheus,
    dashboard_expressions,
    free_port,
    grouping_labels,
    running_prometheus,
    selectors,
)
from support.vault import real_openbao

OFTEN, SELDOM = {"every": "1s"}, {"every": "5s"}
CAMPAIGNS = 100
PUSHED = {"acme": 88, "globex": 95}  # of them, in each run
TENANTS = (*PUSHED, "initech", "umbrella", "hooli")


def rejected(count: int) -> list[str]:
    return [f"cmp-{number:04}" for number in range(1, count + 1)]


@dataclass(frozen=True, slots=True)
class World:
    """A daemon and the Prometheus that scrapes it.

    acme and globex are pushed in part, initech's runs take longer than its interval, hooli's password is wrong, and
    umbrella has run twice: well, and with one campaign that was rejected.
    """

    program: Program
    prometheus: Prometheus


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder, port = tmp_path_factory.mktemp("scraped"), free_port()
    program = Program(
        folder,
        {
            "OTEL_METRICS_EXPORTER": "prometheus",
            "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",  # where nothing listens
        },
    )
    async with AsyncExitStack() as stack:
        settings = {"accounts": accounts(*TENANTS)}
        platform = await stack.enter_async_context(running_platform(settings))
        await platform.treat(campaigns=CAMPAIGNS, push_latency_s=0)
        treated = {tenant: {"rejected": rejected(CAMPAIGNS - pushed)} for tenant, pushed in PUSHED.items()}
        few = {"umbrella": {"campaigns": 5}, "initech": {"campaigns": 5}}
        await platform.change(clients=treated | few)
        await installed(program, platform, stack)
        prometheus = await stack.enter_async_context(running_prometheus(folder, f"127.0.0.1:{port}"))
        await stack.enter_async_context(program.daemon())
        for tenant in ("initech", "umbrella"):
            await prometheus.until(f'adsyncd_runs_total{{adsyncd_tenant="{tenant}",adsyncd_outcome="succeeded"}} > 0')
        once = {"umbrella": {"rejected": rejected(1)}, "initech": {"push_latency_s": 2.5}}
        await platform.change(clients=once)
        assert (await program.run("trigger", "umbrella")).returncode == 0
        program.tenant("initech", schedule=OFTEN, credentials={"vault": "adsyncd/initech"})
        assert (await program.run("reload")).returncode == 0
        yield World(program, prometheus)


async def installed(program: Program, platform: Platform, stack: AsyncExitStack) -> None:
    """Install a daemon with a Vault, whose tenants run every few seconds; hooli's password is wrong."""
    vault = await stack.enter_async_context(real_openbao())
    role = await vault.put_role("adsyncd", "adsyncd/*")
    ample = {"quota": {"requests": 100_000, "per": "60s"}, "sync": {"page_size": 50}}
    program.settings(
        defaults=ample,
        platforms={"mixo": {"base_url": platform.base_url, "quota": {"requests": 100_000, "per": "60s"}}},
        vault={
            "address": vault.address,
            "auth": {"method": "approle", "role_id": role.role_id, "secret_id": {"env": "SECRET_ID"}},
        },
    )
    program.environ["SECRET_ID"] = role.secret_id.get_secret_value()
    for tenant in TENANTS:
        password = "wrong" if tenant == "hooli" else f"pw-{tenant}"
        await vault.put_secret(f"adsyncd/{tenant}", {"email": f"{tenant}@example.com", "password": password})
        schedule = {"umbrella": ONCE, "initech": ONCE, "hooli": OFTEN}.get(tenant, SELDOM)
        program.tenant(tenant, schedule=schedule, credentials={"vault": f"adsyncd/{tenant}"})


async def test_the_documented_rule_fires_for_a_tenant_at_88_percent_and_for_none_at_95(world: World) -> None:
    [rule] = re.findall(r"```promql\n(.*?)```", page.read("telemetry.md"), re.DOTALL)
    await world.prometheus.until(
        f'({rule}) and on (adsyncd_tenant) label_replace(vector(1), "adsyncd_tenant", "acme", "", "")'
    )
    partial = 'adsyncd_runs_total{adsyncd_outcome="partial"} > 1'
    await world.prometheus.until(f'{partial} and on (adsyncd_tenant) adsyncd_runs_total{{adsyncd_tenant="globex"}}')
    fired = await world.prometheus.values(rule)
    assert "acme" in fired
    assert "globex" not in fired


async def test_increase_sees_the_first_skipped_tick_and_the_first_dead_letter(world: World) -> None:
    prometheus = world.prometheus
    await prometheus.until('increase(adsyncd_runs_overlapped_total{adsyncd_tenant="initech"}[5m]) > 0')
    await prometheus.until('increase(adsyncd_campaigns_failed_total{adsyncd_tenant="umbrella"}[5m]) > 0')
    assert await prometheus.values('adsyncd_campaigns_failed_total{adsyncd_tenant="umbrella"}') == {"umbrella": 1}
    born = await prometheus.values('min_over_time(adsyncd_runs_overlapped_total{adsyncd_tenant="initech"}[5m])')
    assert born == {"initech": 0}


async def test_each_expression_of_the_dashboard_returns_series(world: World) -> None:
    async with anyio.create_task_group() as queries:
        for _, expression in dashboard_expressions():
            queries.start_soon(world.prometheus.until, expression)


async def test_each_series_and_label_of_the_rules_and_of_the_dashboard_exists(world: World) -> None:
    rules = await world.prometheus.rules()
    expressions = [*rules.values(), *(expression for _, expression in dashboard_expressions())]
    assert len(rules) > 10
    for selector in sorted(set().union(*map(selectors, expressions))):
        await world.prometheus.until(selector)
    for expression in expressions:
        for label in grouping_labels(expression) - {"le"}:
            found = [await world.prometheus.query(selector) for selector in selectors(expression)]
            assert all(any(label in series["metric"] for series in each) for each in found), (label, expression)


async def test_the_rules_fire_for_what_is_wrong_and_for_nothing_else(world: World) -> None:
    for alert in ("AdsyncdTenantCritical", "AdsyncdTenantWarning"):
        await world.prometheus.until(f'ALERTS{{alertname="{alert}",alertstate="firing"}}')
    critical = await world.prometheus.values('ALERTS{alertname="AdsyncdTenantCritical"}')
    assert {"hooli"} <= critical.keys() <= {"hooli", "acme"}  # no run of acme meets its success rate
    warned = await world.prometheus.values('ALERTS{alertname="AdsyncdTenantWarning"}')
    assert {"acme"} <= warned.keys() <= {"acme", "initech", "globex"}
    firing = await world.prometheus.values('ALERTS{alertstate="firing"}', "alertname")
    assert firing.keys() <= {"AdsyncdTenantCritical", "AdsyncdTenantWarning", "AdsyncdTelemetryLost"}


async def test_a_port_in_use_stops_a_start_with_the_reason(world: World, tmp_path: Path) -> None:
    other = Program(tmp_path, world.program.environ)
    (tmp_path / "tenants.d").mkdir()
    other.settings("http://127.0.0.1:1")
    ended = await other.run("run")
    assert ended.returncode == os.EX_CONFIG
    assert b"OTEL_EXPORTER_PROMETHEUS_PORT: can't listen at 127.0.0.1:" in ended.stderr
    assert b"Address already in use; choose a free port, or stop the program that has it" in ended.stderr
    checked = await other.run("check")
    assert (checked.returncode, b"Address already in use" in checked.stdout) == (1, True)
    assert (await world.program.run("check")).returncode == 0  # its own daemon has the port


async def test_a_sync_beside_the_daemon_serves_nothing(world: World) -> None:
    ended = await world.program.run("sync", "umbrella")
    assert ended.returncode in (0, 3), ended.stderr


async def test_what_is_wrong_with_the_address_is_reported_by_check(world: World, tmp_path: Path) -> None:
    environ = world.program.environ | {"OTEL_EXPORTER_PROMETHEUS_PORT": "70000"}
    other = Program(tmp_path, environ)
    (tmp_path / "tenants.d").mkdir()
    other.settings("http://127.0.0.1:1")
    checked = await other.run("check")
    assert checked.returncode == 1
    assert b"OTEL_EXPORTER_PROMETHEUS_PORT: must be a whole number from 1 to 65535" in checked.stdout
