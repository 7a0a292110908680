import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from adsyncd.config.profile_file import shipped_profile
from adsyncd.duration import parse_duration
from adsyncd.model.tenant import Cron, Every, Platform, PushPolicy, Tenant
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.quota import Quota, Shape, Window
from adsyncd.runs.plan import ASSUMED_CAMPAIGNS, TenantPlan, plan, takes_s
from support.tenants import a_tenant

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PER_MINUTE = Quota(10, MINUTE)


def planned(*tenants: Tenant, campaigns: int = 100, requests: tuple[int, ...] = ()) -> list[TenantPlan]:
    """Return the plans of tenants that have so many campaigns each, and whose last runs took so many requests."""
    ids = [tenant.id for tenant in tenants]
    return list(plan(tenants, dict.fromkeys(ids, campaigns), dict.fromkeys(ids, requests), NOW).tenants)


def due_every(interval: timedelta, **changes: object) -> Tenant:
    return a_tenant(schedule=Every(interval), **changes)


def on_platform(quota: Quota, *tenants: Tenant) -> list[Tenant]:
    return [
        replace(tenant, platform=Platform("mixo", "http://ads.invalid", shipped_profile(), quota)) for tenant in tenants
    ]


def test_a_run_takes_a_request_for_each_page_and_each_push() -> None:
    assert planned(a_tenant(), campaigns=101)[0].most_requests == 101 + 11
    assert planned(a_tenant(page_size=200), campaigns=101)[0].most_requests == 101 + 1
    assert planned(a_tenant(), campaigns=0)[0].most_requests == 1


def priced(tenant: Tenant, list_cost: int, push_cost: int = 1) -> Tenant:
    """Return the tenant at a platform whose requests cost so many permits."""
    profile = tenant.platform.profile
    push = replace(profile.push, cost=push_cost) if profile.push else None
    changed = replace(profile, listing=replace(profile.listing, cost=list_cost), push=push)
    return replace(tenant, platform=replace(tenant.platform, profile=changed))


def test_a_tenant_that_only_pulls_needs_its_pages_alone() -> None:
    [pulls] = planned(due_every(5 * MINUTE, push=PushPolicy.NONE), campaigns=101)
    assert (pulls.most_requests, pulls.requests, pulls.permits, pulls.fix) == (11, 11, 11, None)
    [many] = planned(due_every(MINUTE, push=PushPolicy.NONE), campaigns=200)
    assert "a run takes up to 20 requests and 3m" in (many.fix or "")
    assert "sync.push" not in (many.fix or "")


def test_requests_that_cost_several_permits_take_as_much_of_the_quota() -> None:
    pulls = due_every(15 * MINUTE, push=PushPolicy.NONE)
    [cheap], [dear] = planned(pulls, campaigns=200), planned(priced(pulls, 5), campaigns=200)
    assert (dear.requests, dear.permits) == (20, 100)
    assert dear.takes_s == pytest.approx(5 * (cheap.takes_s or 0))
    assert dear.share == pytest.approx(5 * cheap.share)
    both = due_every(15 * MINUTE)
    assert [planned(priced(both, *costs))[0].permits for costs in ((1, 1), (5, 1), (1, 2), (5, 2))] == [
        *(110, 150, 210, 250)
    ]


def test_a_window_has_room_for_whole_requests_alone() -> None:
    [found] = planned(priced(due_every(MINUTE, push=PushPolicy.NONE), 4), campaigns=60)
    each_s = cools_for(PER_MINUTE) / 2  # 2 requests of 4 permits in each window of 10
    assert found.takes_s == pytest.approx(6 * each_s)
    assert "6 requests of 30 permits" in (found.fix or "")


@pytest.mark.parametrize(("cost", "each"), [(1, 1), (4, 4 * 9 / 6), (9, 2 * 9), (10, 2 * 9)])
def test_a_paced_window_keeps_back_what_its_largest_request_takes(cost: int, each: float) -> None:
    paced = due_every(15 * MINUTE, quota=Quota(10, MINUTE, Shape.PACED), push=PushPolicy.NONE)
    [found] = planned(priced(paced, cost), campaigns=10)
    assert found.takes_s == pytest.approx(each * cools_for(PER_MINUTE) / 9)


def test_the_last_runs_cost_what_a_whole_run_does_in_proportion() -> None:
    tenant = priced(due_every(15 * MINUTE, push=PushPolicy.CHANGED), 5)
    assert planned(tenant, requests=(11,))[0].permits == 15


def test_a_run_that_would_take_longer_than_any_duration_hides_no_other_plan() -> None:
    endless, usual = planned(a_tenant(quota=Quota(1, timedelta(days=366))), a_tenant(id="b"), campaigns=10**9)
    assert "more time than there is" in (endless.fix or "")
    assert usual.fix is not None


def test_a_tenant_that_nobody_has_listed_is_taken_to_have_a_hundred_campaigns() -> None:
    [unknown] = plan([a_tenant()], {}, {}, NOW).tenants
    assert (unknown.campaigns, unknown.known, unknown.usual_requests) == (ASSUMED_CAMPAIGNS, False, None)
    assert planned(a_tenant(), campaigns=3)[0].known


def test_a_tenant_that_rests_needs_nothing() -> None:
    assert planned(a_tenant(enabled=False)) == []


def test_the_numbers_are_those_of_the_quota() -> None:
    [found] = planned(due_every(15 * MINUTE))
    each_s = cools_for(PER_MINUTE) / 10
    assert found.takes_s == found.shortest_s == pytest.approx(110 * each_s)
    assert found.share == pytest.approx(110 * each_s / (15 * 60))
    assert (found.due_s, found.fix) == (900, None)


def test_a_schedule_that_the_quota_cannot_meet_comes_with_its_numbers_and_each_fix() -> None:
    [found] = planned(due_every(5 * MINUTE))
    assert found.share > 2
    assert found.fix == (
        "a run takes up to 110 requests and 12m, and is due every 5m: let it be due every 12m or less often, or have "
        'the platform allow 37 requests per 1m, or push only what changed (sync.push = "changed")'
    )


@given(
    campaigns=st.integers(1, 3000),
    quota=st.builds(Quota, st.integers(1, 100), st.integers(1, 120).map(lambda s: timedelta(seconds=s))),
    shape=st.sampled_from(Shape),
    due_s=st.integers(60, 86_400),
    others=st.integers(0, 3),
)
def test_an_operator_who_follows_a_fix_keeps_the_schedule(
    campaigns: int, quota: Quota, shape: Shape, due_s: int, others: int
) -> None:
    quota = replace(quota, shape=shape)
    tenants = [due_every(timedelta(seconds=due_s), id=f"t{n}", client_id="c", quota=quota) for n in range(others + 1)]
    fix = planned(*tenants, campaigns=campaigns)[0].fix or ""
    event("must be fixed" if fix else "is fine")
    first = tenants[0]
    if every := re.search(r"due every (\w+) or less often", fix):
        first = replace(first, schedule=Every(parse_duration(every[1])))
    if deadline := re.search(r"raise sync.run_deadline to (\w+)", fix):
        first = replace(first, sync=replace(first.sync, run_deadline=parse_duration(deadline[1])))
    if first is not tenants[0]:
        assert planned(first, *tenants[1:], campaigns=campaigns)[0].fix is None
    if number := re.search(r"allow (\d+) requests per", fix):
        enough = [replace(tenant, quota=replace(quota, requests=int(number[1]))) for tenant in tenants]
        assert planned(*enough, campaigns=campaigns)[0].fix is None


def test_a_run_that_outlasts_its_deadline_is_told_so_though_the_schedule_would_do() -> None:
    [found] = planned(due_every(HOUR, run_deadline=5 * MINUTE))
    assert found.share < 1
    assert "raise sync.run_deadline to 12m" in (found.fix or "")
    assert "less often" not in (found.fix or "")


def test_all_windows_of_a_quota_count() -> None:
    quota = Quota(10, MINUTE, also=(Window(200, HOUR),))
    [often, seldom] = planned(
        due_every(15 * MINUTE, quota=quota), due_every(2 * HOUR, id="b", client_id="b", quota=quota)
    )
    assert "have the platform allow 441 requests per 1h" in (often.fix or "")
    assert often.takes_s == often.shortest_s == pytest.approx(110 * cools_for(Window(200, HOUR)) / 200)
    assert seldom.fix is None
    assert seldom.takes_s == pytest.approx(110 * cools_for(PER_MINUTE) / 10), "200 an hour are no obstacle to 110"


def test_a_paced_quota_lets_out_one_less_in_each_window() -> None:
    assert takes_s(9, replace(PER_MINUTE, shape=Shape.PACED)) == pytest.approx(takes_s(10, PER_MINUTE))
    [slow] = planned(a_tenant(quota=Quota(10, MINUTE, Shape.PACED)), campaigns=5)
    assert slow.takes_s == pytest.approx(6 * cools_for(PER_MINUTE) / 9)
    assert takes_s(1, Quota(1, MINUTE, Shape.PACED)) == takes_s(1, Quota(1, MINUTE))


def test_tenants_of_one_client_id_share_its_quota() -> None:
    [alone] = planned(due_every(15 * MINUTE))
    one, other = planned(due_every(15 * MINUTE), due_every(15 * MINUTE, id="other"))
    assert one.share == other.share == pytest.approx(2 * alone.share)
    assert one.shortest_s == pytest.approx(110 * 6.0065 / (1 - alone.share))
    assert "beside the others of its client id" in (one.fix or "")
    assert planned(due_every(15 * MINUTE), due_every(15 * MINUTE, id="other", client_id="other"))[0].fix is None


def test_a_client_id_of_which_others_leave_nothing_never_comes_to_an_end() -> None:
    _, starved = planned(due_every(MINUTE), due_every(HOUR, id="starved"))
    assert (starved.takes_s, starved.shortest_s) == (None, None)
    assert "more time than there is" in (starved.fix or "")
    assert "less often" not in (starved.fix or "")


def test_a_crontab_is_judged_by_its_shortest_interval() -> None:
    [found] = planned(a_tenant(schedule=Cron("0,10 9 * * *", "UTC")))
    assert found.due_s == 600
    assert found.fix is not None


def test_what_the_last_runs_took_counts_where_settings_spare_requests() -> None:
    [found] = planned(due_every(5 * MINUTE, push=PushPolicy.CHANGED), requests=(12, 14, 110))
    assert (found.most_requests, found.usual_requests, found.requests, found.fix) == (110, 14, 14, None)
    [cached] = planned(a_tenant(list_cache=HOUR), requests=(100,))
    assert cached.requests == 100
    [never_ran] = planned(due_every(5 * MINUTE, push=PushPolicy.CHANGED))
    assert never_ran.requests == 110
    assert never_ran.fix is not None
    assert "sync.push" not in never_ran.fix


def test_what_the_last_runs_took_counts_where_it_is_more_than_all() -> None:
    assert planned(a_tenant(), requests=(130, 140))[0].requests == 135
    assert planned(a_tenant(), requests=(20,))[0].requests == 110, "it may have been before more were added"


def test_a_platform_s_own_quota_is_held_against_the_sum_of_its_tenants() -> None:
    tenants = on_platform(Quota(20, MINUTE), a_tenant(), a_tenant(id="b", client_id="b"))
    found = plan(tenants, {}, {}, NOW)
    [platform] = found.platforms
    assert platform.tenants == 2
    assert platform.share == pytest.approx(2 * 110 * 6.0065 / 2 / 900)
    assert platform.headroom == pytest.approx(1 - (platform.share or 0))
    assert found.fixes == {}


def test_a_platform_that_allows_too_little_is_named_with_what_would_be_enough() -> None:
    tenants = [a_tenant(id=name, client_id=name) for name in "abcd"]
    found = plan(on_platform(Quota(20, MINUTE), *tenants), {}, {}, NOW)
    assert found.fixes == {
        "platform mixo": "its tenants need 147% of its quota: let them be due 1.5 times less often, or have the "
        "platform allow 30 requests per 1m"
    }
    assert plan(on_platform(Quota(30, MINUTE), *tenants), {}, {}, NOW).fixes == {}


def test_a_platform_without_a_quota_of_its_own_has_no_share() -> None:
    [platform] = plan([a_tenant()], {}, {}, NOW).platforms
    assert (platform.share, platform.headroom, platform.fix) == (None, None, None)


def test_the_part_of_one_tenant_is_itself_and_its_platform() -> None:
    other = replace(
        a_tenant(id="other", client_id="other"),
        platform=Platform("else", "http://else.invalid", shipped_profile(), None),
    )
    found = plan([a_tenant(), other], {}, {}, NOW).of("other")
    assert [one.tenant for one in found.tenants] == ["other"]
    assert [one.platform for one in found.platforms] == ["else"]
