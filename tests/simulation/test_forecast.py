import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adsyncd.config.profile_file import shipped_profile
from adsyncd.duration import parse_duration
from adsyncd.model.tenant import Every, PushPolicy, Tenant
from adsyncd.rate.quota import Quota
from adsyncd.simulation.forecast import Forecast, forecasts, tenants_world
from adsyncd.simulation.simulation import Simulator
from support.tenants import a_tenant

SIMULATOR = Simulator()
MINUTE = timedelta(minutes=1)


def forecast_of(
    *tenants: Tenant, campaigns: int = 20, hours: int = 1, seed: int = 0, faults: bool = False
) -> list[Forecast]:
    """Return what these tenants can expect, each with so many campaigns."""
    sizes = {tenant.id: campaigns for tenant in tenants}
    course = SIMULATOR.run(tenants_world(tenants, sizes, seed=seed, lasts=timedelta(hours=hours), faults=faults))
    assert not course.violations
    return forecasts(course)


def too_often(**changes: Any) -> Tenant:  # noqa: ANN401 - of a tenant
    """Return a tenant that is due every minute, and for whose 22 requests the quota takes more than two."""
    return a_tenant(schedule=Every(MINUTE), quota=Quota(10, MINUTE), **changes)


def test_a_tenant_with_quota_to_spare_keeps_its_schedule() -> None:
    [found] = forecast_of(a_tenant(schedule=Every(15 * MINUTE)))
    assert found.keeps_schedule
    assert (found.runs, found.skipped, found.cut_short, found.failed, found.requests_a_run) == (4, 0, 0, 0, 22)
    assert found.typical_s == pytest.approx(125, abs=10)
    assert found.quota_left == pytest.approx(1 - 4 * 22 / 600, abs=0.01)


def test_a_tenant_that_is_due_too_often_is_told_how_often_is_possible() -> None:
    [found] = forecast_of(too_often())
    assert not found.keeps_schedule
    assert found.skipped > 10
    [every] = re.findall(r"let it be due every (\w+) or less often", found.fix or "")
    [fixed] = forecast_of(a_tenant(schedule=Every(parse_duration(every)), quota=Quota(10, MINUTE)))
    assert fixed.keeps_schedule


def test_a_tenant_that_is_due_too_often_is_told_what_quota_would_do() -> None:
    tenant = a_tenant(schedule=Every(4 * MINUTE), quota=Quota(5, MINUTE))
    [found] = forecast_of(tenant)
    [requests] = re.findall(r"allow (\d+) requests per 1m", found.fix or "")
    [fixed] = forecast_of(a_tenant(schedule=Every(4 * MINUTE), quota=Quota(int(requests), MINUTE)))
    assert fixed.keeps_schedule


def test_a_tenant_that_pushes_all_is_told_of_pushing_what_changed_and_that_helps() -> None:
    assert 'sync.push = "changed"' in (forecast_of(too_often())[0].fix or "")
    [found] = forecast_of(too_often(push=PushPolicy.CHANGED), hours=2)
    assert found.skipped <= 2  # while it pushes everything for the first time


def test_a_run_that_runs_out_of_its_deadline_is_cut_short() -> None:
    [found] = forecast_of(a_tenant(schedule=Every(15 * MINUTE), quota=Quota(10, MINUTE), run_deadline=MINUTE))
    assert (found.cut_short, found.failed, found.typical_s) == (found.runs, 0, None)
    assert "raise sync.run_deadline to 3m" in (found.fix or "")


def test_tenants_of_one_client_id_share_what_its_quota_leaves_over() -> None:
    one, other = a_tenant(id="one"), a_tenant(id="other")
    alone, together = forecast_of(one), forecast_of(one, other)
    assert together[0].quota_left == together[1].quota_left
    assert 1 - together[0].quota_left == pytest.approx(2 * (1 - alone[0].quota_left), abs=0.02)


def test_the_same_seed_answers_the_same_and_faults_take_their_time() -> None:
    tenant = a_tenant()
    assert forecast_of(tenant, faults=True) == forecast_of(tenant, faults=True)
    assert (forecast_of(tenant, faults=True)[0].longest_s or 0) > (forecast_of(tenant)[0].longest_s or 0)


def test_a_tenant_that_only_pulls_needs_its_pages_alone_whatever_its_platforms_api_is() -> None:
    meta = replace(a_tenant().platform, name="meta", profile=shipped_profile("meta"))
    pulling = a_tenant(id="globex", client_id="globex", platform=meta, page_size=200, push=PushPolicy.NONE)
    found = {one.tenant: one for one in forecast_of(a_tenant(schedule=Every(15 * MINUTE)), pulling, campaigns=1000)}
    assert (found["globex"].requests_a_run, found["globex"].failed, found["globex"].keeps_schedule) == (5, 0, True)
    assert not found["acme"].keeps_schedule  # 1,100 requests


def test_requests_take_as_many_permits_as_they_cost() -> None:
    profile = replace(shipped_profile(), listing=replace(shipped_profile().listing, cost=5))
    tenant = a_tenant(schedule=Every(15 * MINUTE), quota=Quota(10, MINUTE))
    dear = replace(tenant, platform=replace(tenant.platform, profile=profile))
    [cheap], [found] = forecast_of(tenant), forecast_of(dear)
    assert found.requests_a_run == cheap.requests_a_run == 22
    assert (found.typical_s or 0) > (cheap.typical_s or 0)
