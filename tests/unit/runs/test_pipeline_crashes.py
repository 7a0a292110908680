from collections.abc import Coroutine
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adsyncd.errors import BadAnswer, Rejected, Unauthorized, Unavailable, WaitTooLong
from adsyncd.model.campaign import Page, Push, idempotency_key
from adsyncd.model.run import Outcome, ResumePoint, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, tables
from support.inline_store import inline_store
from support.pipelines import Crash, Source, deleted, fire_time, ids, reconciles, run
from support.records import rows
from support.tenants import a_tenant

Result = TypeVar("Result")


@dataclass
class Life:
    """One process: it dies at its call number `calls` of platform and store, before or after that takes place."""

    calls: int
    before: bool
    dead: bool = False

    def call(self, *, over: bool) -> None:
        """Say that a call begins or, if `over`, has taken place. Raises Crash if that is the end."""
        self.calls -= not over
        self.dead = self.dead or (self.calls <= 0 and self.before is not over)
        if self.dead:
            raise Crash


@dataclass
class World:
    """A flaky platform and the store behind it, as one process after another sees them."""

    random: Random
    source: Source
    store: Store
    life: Life

    async def page(self, number: int) -> Page:
        self.life.call(over=False)
        await anyio.sleep(self.random.uniform(0, 5))
        if self.random.random() < 0.05:
            raise self.random.choice([Unavailable("503"), BadAnswer("HTML"), WaitTooLong("long"), KeyError("oops")])
        page = await self.source.page(number)
        self.life.call(over=True)
        return page

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        self.life.call(over=False)
        await anyio.sleep(self.random.uniform(0, 5))
        lost = self.random.random() < 0.2
        if not lost or self.random.random() < 0.5:  # an answer may be lost after it took effect
            self.source.push_s = self.random.uniform(0, 5)
            await self.source.push(campaign_id, key, again=again)
        if lost:
            raise self.random.choice([Unavailable("503"), BadAnswer("HTML"), Unauthorized("401"), Rejected("4", 422)])
        self.life.call(over=True)
        return self.random.randint(1, 5)

    async def begin(self, run: Run) -> ResumePoint:
        return await self._written(self.store.begin(run))

    async def keep_page(self, run: Run, page: Page, policy: PushPolicy) -> list[Push]:
        return await self._written(self.store.keep_page(run, page, policy))

    async def settle(self, run: Run, push: Push) -> None:
        await self._written(self.store.settle(run, push))

    async def missing(self, run: Run) -> tuple[int, int]:
        return await self.store.missing(run)

    async def finish(self, run: Run) -> int:
        return await self._written(self.store.finish(run))

    async def _written(self, write: Coroutine[Any, Any, Result]) -> Result:
        with closing(write):
            self.life.call(over=False)
            result = await write
            self.life.call(over=True)
            return result


LIVES = st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.none() | st.floats(0, 60)), max_size=4)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    campaigns=st.integers(0, 25),
    page_size=st.integers(1, 10),
    concurrency=st.integers(1, 5),
    deadline_s=st.sampled_from([20, 60, 10_000]),
    runs=st.lists(LIVES, min_size=1, max_size=4),
)
async def test_whatever_happens_the_counts_reconcile_and_every_campaign_is_accounted_for(
    seed: int,
    campaigns: int,
    page_size: int,
    concurrency: int,
    deadline_s: int,
    runs: list[list[tuple[int, bool, float | None]]],
) -> None:
    """`runs`: for each, the ends of the processes before the one that brings it to its end."""
    source = Source(ids(campaigns), page_size)
    tenant = a_tenant(page_size=page_size, concurrency=concurrency, run_deadline=timedelta(seconds=deadline_s))
    with capture_logs():
        async with inline_store() as store:
            world = World(Random(seed), source, store, Life(1, before=True))
            for number, ends in enumerate(runs):
                for calls, before, cancelled_after_s in [*ends, (10_000, True, None)]:
                    world.life = Life(calls, before)
                    try:
                        with anyio.move_on_after(cancelled_after_s):
                            await run(world, world, number, tenant=tenant)
                    except (Crash, BaseExceptionGroup):
                        assert world.life.dead
                    if any(
                        found.fire_time == fire_time(number) and found.outcome for found in await store.runs("acme", 1)
                    ):
                        break
                [record] = await store.runs("acme", 1)
                assert (record.fire_time, record.outcome is None) == (fire_time(number), False)
                assert reconciles(record)
                await check(record, source, store)
                source.pushed.clear()
                source.effects.clear()


async def check(record: Run, source: Source, store: Store) -> None:
    """Compare a run that has ended with what the platform saw of it."""
    assert source.peak <= 5
    assert all(key == idempotency_key("acme", each, record.run_id) for each, key in source.pushed)
    dead = {row.campaign_id for row in await rows(store, tables.dead_letters)}
    assert len(source.effects) >= record.pushed
    assert record.dead_lettered <= len(dead)
    assert await rows(store, tables.pushes) == []
    assert await deleted(store) == set()  # no campaign ever went
    if record.outcome in {Outcome.SUCCEEDED, Outcome.PARTIAL}:
        assert record.listed == len(source.campaigns)
    if record.outcome is Outcome.SUCCEEDED:
        assert {each for each, _ in source.effects} == set(source.campaigns)
