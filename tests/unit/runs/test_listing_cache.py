from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from adsyncd.errors import Stopping, Unavailable
from adsyncd.model.campaign import STATISTICS, Page
from adsyncd.model.profile import Paging, PagingKind
from adsyncd.model.run import Outcome, Run
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.runs.listing_cache import ListingCache
from adsyncd.store import Store, tables
from adsyncd.telemetry.instruments import LISTED_FROM, SPAN_PAGE, Instruments
from support.metrics import Metrics
from support.pipelines import SILENT
from support.pipelines import run as run_pipeline
from support.records import campaign, rows
from support.spans import Spans, attributes
from support.tenants import a_tenant

HOUR = timedelta(hours=1)
CACHING = a_tenant(page_size=2, list_cache=HOUR)
PROFILE = CACHING.platform.profile


def with_profile(tenant: Tenant, **changes: Any) -> Tenant:  # noqa: ANN401 - a profile's fields
    """Return a tenant of a platform whose profile is another one."""
    profile = replace(tenant.platform.profile, **changes)
    return replace(tenant, platform=replace(tenant.platform, profile=profile))


@dataclass
class Platform:
    """A platform that counts what it is asked for; with `etags` it says what it calls its pages."""

    contents: dict[str, str] = field(default_factory=lambda: {f"c{number}": "" for number in range(5)})
    page_size: int = 2
    etags: bool = False
    of_the_data_alone: bool = False  # the etags: they leave out how many campaigns there are in all
    breaks_at: int | None = None  # a page
    volatile: tuple[str, ...] = STATISTICS
    listed: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)
    cursors: list[str | None] = field(default_factory=list)

    async def page(self, number: int, cursor: str | None = None, known: Page | None = None) -> Page:
        self.cursors.append(cursor)
        if number == self.breaks_at:
            raise Stopping("cut off")
        every = list(self.contents.items())
        end = number * self.page_size
        here = every[end - self.page_size : end]
        etag = repr((here, 0 if self.of_the_data_alone else len(every))) if self.etags else None
        if known and known.etag == etag:
            self.unchanged.append(number)
            return known
        self.listed.append(number)
        more, following = len(every) > end, f"to {number + 1}"
        listed = tuple(campaign(*pair) for pair in here)
        return Page(
            number, listed, len(every), more, etag=etag, next=following if more else None, volatile=self.volatile
        )

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:  # noqa: ARG002 - a platform's signature
        self.pushed.append(campaign_id)
        return 1


async def run(
    platform: Platform,
    store: Store,
    number: int = 0,
    tenant: Tenant = CACHING,
    *,
    spans: Spans | None = None,
    instruments: Instruments = SILENT,
) -> Run:
    """Run a tenant; runs are a minute apart."""
    await anyio.sleep(max(0.0, number * 60 - anyio.current_time()))
    cache = ListingCache(tenant, platform, store, instruments)
    tracer = spans.tracer if spans else None
    return await run_pipeline(cache, store, number, tenant=tenant, tracer=tracer, instruments=instruments)


# A listing that is young enough


async def test_a_run_takes_its_campaigns_from_a_listing_that_is_younger_than_the_cache_allows(store: Store) -> None:
    platform = Platform()
    first, second = await run(platform, store, 0), await run(platform, store, 1)
    assert platform.listed == [1, 2, 3]
    assert sorted(platform.pushed) == sorted([*platform.contents] * 2)
    for record in (first, second):
        assert (record.outcome, record.listed, record.pushed) == (Outcome.SUCCEEDED, 5, 5)


async def test_a_run_asks_the_platform_when_the_listing_has_aged(store: Store) -> None:
    platform = Platform()
    for number in (0, 59, 60):
        await run(platform, store, number)
    assert platform.listed == [1, 2, 3] * 2


async def test_without_a_cache_every_run_asks_the_platform(store: Store) -> None:
    platform = Platform()
    for number in (0, 1):
        await run(platform, store, number, a_tenant(page_size=2))
    assert platform.listed == [1, 2, 3] * 2


async def test_a_kept_listing_marks_nothing_deleted(store: Store) -> None:
    platform = Platform()
    await run(platform, store, 0)
    del platform.contents["c3"]
    for number in (1, 60, 61):  # the third uses what the second listed, and is no second opinion
        await run(platform, store, number)
        assert not any(row.deleted_at for row in await rows(store, tables.campaigns))
    await run(platform, store, 120)
    assert [row.campaign_id for row in await rows(store, tables.campaigns) if row.deleted_at] == ["c3"]


async def test_of_a_kept_listing_what_was_pushed_is_skipped_where_the_policy_says_so(store: Store) -> None:
    platform, thrifty = Platform(), a_tenant(page_size=2, list_cache=HOUR, push=PushPolicy.CHANGED)
    await run(platform, store, 0, thrifty)
    record = await run(platform, store, 1, thrifty)
    assert (record.outcome, record.listed, record.skipped, record.pushed) == (Outcome.SUCCEEDED, 5, 5, 0)


async def test_a_tenant_without_campaigns_has_a_listing_to_keep(store: Store) -> None:
    platform = Platform({})
    for number in (0, 1):
        assert (await run(platform, store, number)).outcome is Outcome.SUCCEEDED
    assert platform.listed == [1]


async def test_a_run_that_was_cut_off_on_a_page_goes_on_with_the_next_one_of_the_platform(store: Store) -> None:
    platform = Platform()
    await run(platform, store, 0)
    platform.breaks_at = 2
    assert (await run(platform, store, 60)).outcome is None
    platform.breaks_at = None
    record = await run(platform, store, 60)
    assert platform.listed == [1, 2, 3, 1, 2, 3]
    assert (record.outcome, record.listed) == (Outcome.SUCCEEDED, 5)


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(CACHING, client_id="globex"),
        replace(CACHING, platform=replace(CACHING.platform, base_url="https://other.invalid")),
        replace(CACHING, vars=(("login", "7"),)),
        with_profile(CACHING, volatile=("clicks",)),  # read in another way
        with_profile(CACHING, listing=replace(PROFILE.listing, params=(("status", "all"),))),  # asked in another way
    ],
)
async def test_a_tenant_that_was_led_elsewhere_is_not_taken_back_by_what_is_kept(
    store: Store, elsewhere: Tenant
) -> None:
    platform = Platform(etags=True)
    await run(platform, store, 0)
    await run(platform, store, 1, elsewhere)
    assert platform.listed == [1, 2, 3] * 2


async def test_requests_that_were_not_needed_are_counted(store: Store) -> None:
    metrics = Metrics()
    platform, thrifty = Platform(), replace(CACHING, sync=replace(CACHING.sync, push=PushPolicy.CHANGED))
    for number in (0, 1):
        await run(platform, store, number, thrifty, instruments=metrics.instruments)
    assert [point["value"] for point in metrics.points("adsyncd.requests.saved")] == [3 + 5]


# Pages that have not changed


async def test_a_page_that_has_not_changed_is_as_it_was(store: Store) -> None:
    platform, tenant = Platform(etags=True), a_tenant(page_size=2)
    await run(platform, store, 0, tenant)
    platform.contents["c3"] = "new"
    record = await run(platform, store, 1, tenant)
    assert (platform.listed, platform.unchanged) == ([1, 2, 3, 2], [1, 3])
    assert (record.outcome, record.listed, record.pushed) == (Outcome.SUCCEEDED, 5, 5)
    assert sorted(platform.pushed) == sorted([*platform.contents] * 2)
    await run(platform, store, 2, tenant)
    assert platform.unchanged == [1, 3, 1, 2, 3]


async def test_a_page_that_has_not_changed_still_tells_what_was_deleted(store: Store) -> None:
    platform, tenant = Platform(etags=True), a_tenant(page_size=2)
    await run(platform, store, 0, tenant)
    del platform.contents["c4"]
    for number in (1, 2):
        assert (await run(platform, store, number, tenant)).outcome is Outcome.SUCCEEDED
    assert [row.campaign_id for row in await rows(store, tables.campaigns) if row.deleted_at] == ["c4"]


@pytest.mark.parametrize(("campaigns", "page_size"), [(1, 2), (2, 2), (3, 2), (4, 2), (4, 5)])  # 5: it lists 2 a page
async def test_a_campaign_behind_a_full_last_page_is_not_missed_though_that_has_not_changed(
    store: Store, campaigns: int, page_size: int
) -> None:
    contents = {f"c{number}": "" for number in range(campaigns)}
    platform, tenant = Platform(contents, etags=True, of_the_data_alone=True), a_tenant(page_size=page_size)
    await run(platform, store, 0, tenant)
    platform.contents["c9"] = ""
    assert (await run(platform, store, 1, tenant)).listed == campaigns + 1


async def test_a_page_that_fails_fails_although_it_is_known(store: Store) -> None:
    class Broken(Platform):
        async def page(self, number: int, cursor: str | None = None, known: Page | None = None) -> Page:
            if known:
                raise Unavailable("503")
            return await super().page(number, cursor, known)

    platform, tenant = Broken(etags=True), a_tenant(page_size=2)
    await run(platform, store, 0, tenant)
    assert (await run(platform, store, 1, tenant)).outcome is Outcome.FAILED


async def test_a_page_that_has_not_changed_is_known_by_what_the_profile_calls_content(store: Store) -> None:
    platform = Platform(etags=True, volatile=("id", "name"))
    tenant = with_profile(a_tenant(page_size=2), volatile=platform.volatile)
    for number in range(3):
        await run(platform, store, number, tenant)
    assert (platform.listed, platform.unchanged) == ([1, 2, 3], [1, 2, 3] * 2)


@pytest.mark.parametrize("kind", [PagingKind.OFFSET, PagingKind.CURSOR, PagingKind.LINK])
async def test_a_page_without_a_number_is_never_known(store: Store, kind: PagingKind) -> None:
    platform, paging = Platform(etags=True), Paging(kind, param="after")
    tenant = with_profile(a_tenant(page_size=2), listing=replace(PROFILE.listing, paging=paging))
    for number in range(2):
        assert (await run(platform, store, number, tenant)).listed == 5
    assert (platform.listed, platform.unchanged) == ([1, 2, 3] * 2, [])
    assert platform.cursors == [None, "to 2", "to 3"] * 2
    assert await rows(store, tables.listing_pages) == []


@pytest.mark.parametrize("kind", PagingKind)
async def test_a_listing_of_any_kind_is_used_again_while_it_is_young(store: Store, kind: PagingKind) -> None:
    platform, paging = Platform(), Paging(kind, param="after")
    tenant = with_profile(CACHING, listing=replace(PROFILE.listing, paging=paging))
    for number in range(2):
        assert (await run(platform, store, number, tenant)).listed == 5
    assert platform.listed == [1, 2, 3]


async def test_a_page_s_span_says_where_it_comes_from(store: Store) -> None:
    spans, platform = Spans(), Platform(etags=True)
    for number in (0, 1, 60):
        await run(platform, store, number, spans=spans)
    origins = [attributes(span)[LISTED_FROM] for span in spans.named(SPAN_PAGE)]
    assert origins == [*["platform"] * 3, "cache", *["unchanged"] * 3]
