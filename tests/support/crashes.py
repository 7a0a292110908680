"""Processes that die at a chosen call, one after the other, between a flaky platform and the store."""

from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

import anyio

from adsyncd.errors import BadAnswer, Rejected, StoreError, Unauthorized, Unavailable, WaitTooLong
from adsyncd.model.campaign import Page, Push
from adsyncd.model.run import ResumePoint, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store
from support.pipelines import Crash, Source

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
    """A platform and the store behind it, as one process after another sees them. `flaky`: requests fail at random."""

    random: Random
    source: Source
    store: Store
    life: Life
    flaky: bool = True

    @property
    def name(self) -> str:
        return self.source.name

    async def page(self, number: int, cursor: str | None = None) -> Page:
        self.life.call(over=False)
        await anyio.sleep(self.random.uniform(0, 5))
        if self.flaky and self.random.random() < 0.05:
            raise self.random.choice([Unavailable("503"), BadAnswer("HTML"), WaitTooLong("long"), KeyError("oops")])
        page = await self.source.page(number, cursor)
        self.life.call(over=True)
        return page

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        self.life.call(over=False)
        await anyio.sleep(self.random.uniform(0, 5))
        lost = self.flaky and self.random.random() < 0.2
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

    def settle(self, run: Run, push: Push, recorded: Callable[[StoreError | None], None]) -> None:
        def told(error: StoreError | None) -> None:
            with suppress(Crash):
                self.life.call(over=True)
                recorded(error)

        self.life.call(over=False)
        self.store.settle(run, push, told)

    async def missing(self, run: Run) -> tuple[int, int]:
        return await self.store.missing(run)

    async def finish(self, run: Run, *, misses: bool) -> int:
        return await self._written(self.store.finish(run, misses=misses))

    async def _written(self, write: Coroutine[Any, Any, Result]) -> Result:
        with closing(write):
            self.life.call(over=False)
            result = await write
            self.life.call(over=True)
            return result
