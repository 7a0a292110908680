from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.config.profile_file import shipped_profile
from adsyncd.model.profile import StaticToken
from adsyncd.model.tenant import EnvRef, Every, Platform, Tenant
from adsyncd.rate.quota import Quota
from adsyncd.tenants.diff import Change, diff
from support.tenants import a_tenant

IDS = st.sampled_from(["a", "b", "c", "d"])
TENANTS = st.dictionaries(IDS, st.tuples(st.sampled_from([1, 2]), st.booleans()))
PROFILE = shipped_profile()
QUOTA = Quota(7, timedelta(seconds=7))


def tenants(described: dict[str, tuple[int, bool]]) -> dict[str, Tenant]:
    return {
        tenant_id: a_tenant(id=tenant_id, page_size=size, enabled=enabled)
        for tenant_id, (size, enabled) in described.items()
    }


@given(TENANTS, TENANTS, st.sets(IDS))
def test_applying_the_difference_leads_to_what_is_described_but_for_what_is_unclear(
    before: dict[str, tuple[int, bool]], after: dict[str, tuple[int, bool]], unclear: set[str]
) -> None:
    served = {tenant_id: tenant for tenant_id, tenant in tenants(before).items() if tenant.enabled}
    described = {tenant_id: tenant for tenant_id, tenant in tenants(after).items() if tenant_id not in unclear}
    found = diff(served, described, unclear)
    result = {tenant_id: tenant for tenant_id, tenant in served.items() if tenant_id not in found.removed}
    result |= {tenant.id: tenant for tenant in found.added} | {change.new.id: change.new for change in found.changed}
    assert result == {
        **{tenant_id: tenant for tenant_id, tenant in described.items() if tenant.enabled},
        **{tenant_id: tenant for tenant_id, tenant in served.items() if tenant_id in unclear},
    }
    named = [*(tenant.id for tenant in found.added), *found.removed, *(change.old.id for change in found.changed)]
    assert sorted([*named, *found.unchanged]) == sorted(served.keys() | result.keys())
    assert all(change.old == served[change.new.id] != change.new for change in found.changed)


def of(**parts: Any) -> Platform:  # noqa: ANN401 - whatever a profile has
    return Platform("mixo", "http://ads.invalid", replace(PROFILE, **parts))


@pytest.mark.parametrize(
    ("changes", "signs_in_anew", "reschedules"),
    [
        ({"schedule": Every(timedelta(minutes=1))}, False, True),
        ({"quota": QUOTA, "weight": 2, "page_size": 2}, False, False),
        ({"platform": Platform("mixo", "http://ads.invalid", PROFILE, QUOTA)}, False, False),
        (
            {"platform": Platform("mixo", "http://ads.invalid", PROFILE, proxy="http://p:1", authorities="")},
            False,
            False,
        ),
        ({"platform": Platform("other", "http://ads.invalid", PROFILE)}, True, False),
        ({"base_url": "http://other.invalid"}, True, False),
        ({"client_id": "globex"}, True, False),
        ({"credentials": EnvRef("GLOBEX")}, True, False),
        ({"credentials": EnvRef("ACME", ("api_key",))}, True, False),
        ({"vars": (("region", "eu"),)}, True, False),
        ({"platform": of(listing=replace(PROFILE.listing, records="items"), fields=())}, False, False),
        ({"platform": of(answers=(), push=None, volatile=())}, False, False),
        ({"platform": of(sign_in=StaticToken("key"))}, True, False),
        ({"platform": of(headers=(("x-key", "{secret.key}"),))}, True, False),
        ({"platform": of(token_header="x-token")}, True, False),
        ({"platform": of(token_scheme="")}, True, False),
        ({"platform": Platform("mixo", "http://ads.invalid", PROFILE, sign_in_url="http://s")}, True, False),
    ],
)
def test_a_change_says_what_it_reaches(changes: dict[str, Any], signs_in_anew: bool, reschedules: bool) -> None:
    change = Change(a_tenant(), a_tenant(**changes))
    assert (change.signs_in_anew, change.reschedules) == (signs_in_anew, reschedules)
