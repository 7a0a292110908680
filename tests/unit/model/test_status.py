from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adsyncd.model.run import Tally
from adsyncd.model.status import Going, counted, progress, remaining_permits, were
from adsyncd.model.tenant import PushPolicy, Tenant
from support.tenants import a_tenant

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def costing(list_cost: int, push_cost: int, **changes: object) -> Tenant:
    """Return a tenant of a platform whose requests cost so much; one without pushes if these cost nothing."""
    tenant = a_tenant(page_size=10, **changes)
    profile = tenant.platform.profile
    push = replace(profile.push, cost=push_cost) if profile.push and push_cost else None
    priced = replace(profile, listing=replace(profile.listing, cost=list_cost), push=push)
    return replace(tenant, platform=replace(tenant.platform, profile=priced))


@pytest.mark.parametrize(
    ("tally", "left"),
    [
        (Tally(), None),
        (Tally(announced=25, listed=10), 25 + 2),
        (Tally(announced=25, listed=21), 25 + 1),
        (Tally(announced=25, listed=25), 25),
        (Tally(announced=25, listed=25, pushed=10, skipped=5, dead_lettered=2, failed=1), 7),
        (Tally(announced=25, listed=25, pushed=25), 0),
        (Tally(announced=25, listed=30, pushed=25), 5),  # more came in while it listed
        (Tally(announced=10**400, listed=10), 10**400 + 10**399 - 1),
    ],
)
def test_what_is_left_of_a_run_is_a_push_for_each_campaign_and_the_pages(tally: Tally, left: int | None) -> None:
    assert remaining_permits(tally, a_tenant(page_size=10)) == left


@pytest.mark.parametrize(
    ("tally", "left"),
    [
        (Tally(), None),
        (Tally(announced=25, listed=10, stored=10), 2),
        (Tally(announced=10, listed=10, stored=10), None),  # the platform names no total, or the run is about to end
        (Tally(announced=25, listed=20, stored=10, failed=2), 1),
    ],
)
def test_what_is_left_of_a_run_that_only_stores_are_its_pages(tally: Tally, left: int | None) -> None:
    assert remaining_permits(tally, a_tenant(page_size=10, push=PushPolicy.NONE)) == left
    assert remaining_permits(tally, costing(7, 0, push=PushPolicy.NONE)) == (left and 7 * left)


def test_most_requests_of_a_run_are_pushes_or_pages_if_it_only_stores() -> None:
    assert costing(3, 2).usual_cost == 2
    assert costing(3, 2, push=PushPolicy.NONE).usual_cost == costing(3, 0).usual_cost == 3


def test_what_is_left_of_a_run_is_counted_in_permits() -> None:
    assert remaining_permits(Tally(announced=25, listed=10, pushed=4), costing(3, 2)) == 2 * 3 + 21 * 2


def test_progress_has_the_counts_of_the_run() -> None:
    tally = Tally(listed=9, pushed=1, skipped=2, dead_lettered=3, failed=1, requests=8, retries=4, refused=5)
    tally.waited_s, tally.announced = 1.5, 12
    far = progress(Going("acme-1", NOON, tally), None)
    assert (far.run_id, far.since, far.announced, far.waited_s) == ("acme-1", NOON, 12, 1.5)
    assert (far.listed, far.pushed, far.skipped, far.dead_lettered, far.failed) == (9, 1, 2, 3, 1)
    assert (far.requests, far.retries, far.refused) == (8, 4, 5)


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "file", "0 files were"),
        (1, "request", "1 request was"),
        (2, "retry", "2 retries were"),
        (3, "day", "3 days were"),
    ],
)
def test_a_number_has_its_noun_and_its_verb(number: int, noun: str, words: str) -> None:
    assert f"{counted(number, noun)} {were(number)}" == words
