"""Runs of a pipeline against a platform that does as it is told, and a journal whose process dies."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracer, Tracer

from adsyncd.errors import Rejected, StoreError
from adsyncd.model.campaign import Oddities, Page, Push
from adsyncd.model.profile import Paging, PagingKind
from adsyncd.model.run import Outcome, ResumePoint, Run, Tally
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.runs.pipeline import Journal, Pipeline
from adsyncd.runs.pipeline import Source as RunSource
from adsyncd.simulation.virtual_time import START
from adsyncd.store import Store, tables
from adsyncd.telemetry.instruments import Instruments
from support.records import campaign, rows
from support.tenants import a_tenant
from support.virtual_time import VirtualClock

SILENT = Instruments(NoOpMeterProvider().get_meter("test"))
FOREVER = timedelta(days=9)


def ids(count: int) -> list[str]:
    return [f"c{number:03}" for number in range(count)]


@dataclass
class Source:
    """A platform that does as it is told, and remembers what it was asked."""

    campaigns: Sequence[str] = field(default_factory=lambda: ids(20))
    page_size: int = 10
    content: str = ""
    page_s: float = 0.0
    push_s: float = 2.0
    page_faults: Mapping[int, Exception] = field(default_factory=dict)
    push_faults: Mapping[str, Exception] = field(default_factory=dict)
    totals: dict[int, int | None] = field(default_factory=dict)  # by page, where it is not the number of campaigns
    odd: Mapping[int, Oddities] = field(default_factory=dict)  # by page
    lacking: Mapping[int, Oddities] = field(default_factory=dict)
    name: str = ""
    asked: list[int] = field(default_factory=list)
    cursors: list[str | None] = field(default_factory=list)
    pushed: list[tuple[str, str]] = field(default_factory=list)
    pushed_again: set[str] = field(default_factory=set)
    effects: Counter[tuple[str, str]] = field(default_factory=Counter)
    in_flight: int = 0
    peak: int = 0

    async def page(self, number: int, cursor: str | None = None) -> Page:
        self.asked.append(number)
        self.cursors.append(cursor)
        await anyio.sleep(self.page_s)
        if number in self.page_faults:
            raise self.page_faults[number]
        end = number * self.page_size
        listed = tuple(campaign(each, self.content) for each in self.campaigns[end - self.page_size : end])
        return Page(
            number,
            listed,
            self.totals.get(number, len(self.campaigns)),
            len(self.campaigns) > end,
            odd=self.odd.get(number, Oddities()),
            lacking=self.lacking.get(number, Oddities()),
            source=self.name,
        )

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        self.pushed.append((campaign_id, key))
        if again:
            self.pushed_again.add(campaign_id)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await anyio.sleep(self.push_s)
        finally:
            self.in_flight -= 1
        if campaign_id in self.push_faults:
            raise self.push_faults[campaign_id]
        self.effects[campaign_id, key] += 1
        return 1

    def keys(self, of: str) -> set[str]:
        return {key for campaign_id, key in self.pushed if campaign_id == of}


async def run(
    source: RunSource,
    journal: Journal,
    number: int = 0,
    *,
    tenant: Tenant | None = None,
    tally: Tally | None = None,
    tracer: Tracer | None = None,
    instruments: Instruments = SILENT,
    before: Run | None = None,
) -> Run:
    """Run the tenant for the fire time `number`; again for the same one means to take it up. `before`: its record."""
    if tenant is None:
        assert isinstance(source, Source)
        tenant = a_tenant(page_size=source.page_size, run_deadline=FOREVER)
    pipeline = Pipeline(
        tenant,
        source,
        journal,
        tally or Tally(),
        clock=VirtualClock(),
        tracer=tracer or NoOpTracer(),
        instruments=instruments,
    )
    return await pipeline.run(fire_time(number), before)


def fire_time(number: int) -> datetime:
    return START + timedelta(minutes=15 * number)


def reconciles(record: Run) -> bool:
    settled = record.pushed + record.skipped + record.stored + record.dead_lettered
    return record.listed == settled + record.failed


def counts(record: Run) -> tuple[Outcome | None, int, int, int, int, int]:
    return (record.outcome, record.listed, record.pushed, record.skipped, record.dead_lettered, record.failed)


async def deleted(store: Store) -> set[str]:
    return {row.campaign_id for row in await rows(store, tables.campaigns) if row.deleted_at}


async def cut_off(
    source: Source, store: Store, number: int = 0, *, after_pages: int, pushes: int = 0, tenant: Tenant | None = None
) -> None:
    """Run until so many pages are kept and pushes settled, and lose the process at that instant."""
    with pytest.raises(BaseExceptionGroup):
        await run(source, Doomed(store, {"keep_page": after_pages, "settle": pushes}), number, tenant=tenant)


class Crash(BaseException):
    """The process is gone: nothing is recorded any more, and no answer arrives."""


@dataclass
class Doomed:
    """A journal whose process dies once it has done what is `left` of each kind."""

    store: Store
    left: dict[str, int]

    async def begin(self, run: Run) -> ResumePoint:
        return await self.store.begin(run)

    async def keep_page(self, run: Run, page: Page, policy: PushPolicy) -> list[Push]:
        fresh = await self.store.keep_page(run, page, policy)
        self._did("keep_page")
        return fresh

    def settle(self, run: Run, push: Push, recorded: Callable[[StoreError | None], None]) -> None:
        self.store.settle(run, push, recorded)
        self._did("settle")

    async def missing(self, run: Run) -> tuple[int, int]:
        return await self.store.missing(run)

    async def finish(self, run: Run, *, misses: bool) -> int:  # noqa: ARG002 - the journal's signature
        raise Crash

    def _did(self, what: str) -> None:
        self.left[what] -= 1
        if max(self.left.values()) <= 0:
            raise Crash


def paged_by(kind: PagingKind, **changes: Any) -> Tenant:  # noqa: ANN401 - whatever the fields are
    """Return a tenant whose platform leads from page to page in this way."""
    tenant = a_tenant(run_deadline=FOREVER, **changes)
    profile = tenant.platform.profile
    listing = replace(profile.listing, paging=Paging(kind, param="after", next="next"))
    return replace(tenant, platform=replace(tenant.platform, profile=replace(profile, listing=listing)))


@dataclass
class CursorSource(Source):
    """A platform that leads from page to page by cursors. It forgets those of an earlier `generation`."""

    generation: int = 1
    refusal: Callable[[], Exception] = lambda: Rejected("400: unknown cursor", 400)

    async def page(self, number: int, cursor: str | None = None) -> Page:
        first, generation = map(int, cursor.split("@")) if cursor else (0, self.generation)
        self.cursors.append(cursor)
        self.asked.append(number)
        await anyio.sleep(self.page_s)
        if generation != self.generation:
            raise self.refusal()
        end = first + self.page_size
        listed = tuple(campaign(each, self.content) for each in self.campaigns[first:end])
        more = end < len(self.campaigns)
        return Page(number, listed, None, more, source=self.name, next=f"{end}@{self.generation}" if more else None)
