"""Runs, campaigns and pages of which a test says only what it is about, and a look at what is stored of them."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Table, select

from adsyncd.clock import SystemClock
from adsyncd.model.campaign import Campaign, Page, Push, PushState
from adsyncd.model.run import Outcome, Run, run_id
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@dataclass
class HandClock(SystemClock):
    """A clock whose wall stands still until it is moved."""

    instant: datetime = NOON

    def now(self) -> datetime:
        return self.instant


def run(tenant: str = "acme", number: int = 0) -> Run:
    """Return a tenant's run; `number` counts quarters of an hour from noon."""
    fire_time = NOON + timedelta(minutes=15 * number)
    return Run(tenant, run_id(tenant, fire_time), fire_time, fire_time, f"{number:032x}")


def campaign(campaign_id: str, content: str = "") -> Campaign:
    """Return a campaign whose name, and so its payload, depends on `content`."""
    payload = json.dumps({"id": campaign_id, "name": content}, separators=(",", ":"))
    return Campaign(campaign_id, content, "active", 100.5, "EUR", 10, 2, 1, NOON, payload)


def page(*campaigns: str | Campaign, number: int = 1, has_more: bool = False) -> Page:
    """Return a page of campaigns, those given as ids with no content."""
    listed = tuple(campaign(given) if isinstance(given, str) else given for given in campaigns)
    return Page(number, listed, len(listed), has_more)


async def settle(store: Store, of: Run, push: Push, state: PushState, **details: Any) -> None:  # noqa: ANN401 - of a Push
    """Settle a push of a run, in its trace."""
    await recorded(store, of, replace(push, state=state, **details))


async def recorded(store: Store, of: Run, push: Push) -> None:
    """Queue the outcome of a push, and return when it is committed. Raises StoreError."""
    done = asyncio.get_running_loop().create_future()
    store.settle(of, push, done.set_result)
    if error := await asyncio.shield(done):
        raise error


async def rows(store: Store, table: Table) -> Sequence[Row[Any]]:
    """Return all rows of a table."""
    return await store._read(lambda connection: connection.execute(select(table)).all())


async def bury(store: Store, tenant: str, *ids: str, reason: str = "422: over budget") -> None:
    """Let campaigns die in a run of a tenant, which ends."""
    this = run(tenant)
    await store.begin(this)
    for push in await store.keep_page(this, page(*ids), PushPolicy.ALL):
        await settle(store, this, push, PushState.DEAD_LETTERED, attempts=5, error=reason)
    counts = {"listed": len(ids), "dead_lettered": len(ids)}
    await store.finish(replace(this, ended_at=NOON, outcome=Outcome.PARTIAL, **counts))  # type: ignore[arg-type]  # counts
