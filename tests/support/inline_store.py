"""The store on a database in memory whose calls are made inline: a virtual clock allows no threads."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import anyio
from opentelemetry.trace import NoOpTracer, Tracer
from sqlalchemy.exc import OperationalError

from adsyncd.simulation.memory import memory_engine
from adsyncd.store import Store
from adsyncd.store.store import store_in
from support.virtual_time import VirtualClock

Result = TypeVar("Result")


@dataclass(slots=True)
class Disk:
    """Makes the store's calls, each in `takes_s`. While it is `gone`, every one of them fails."""

    takes_s: float = 0.0
    gone: bool = False

    async def __call__(self, call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:  # noqa: ARG002 - one at a time it is anyway
        await anyio.sleep(self.takes_s)
        if self.gone:
            raise OperationalError("", {}, sqlite3.OperationalError("the disk is gone"))
        return call()


@asynccontextmanager
async def inline_store(disk: Disk | None = None, tracer: Tracer | None = None) -> AsyncIterator[Store]:
    """Open the store on an empty database, on the virtual loop that runs the caller."""
    engine = memory_engine()
    try:
        async with store_in(
            engine, clock=VirtualClock(), tracer=tracer or NoOpTracer(), off_loop=disk or Disk()
        ) as store:
            yield store
    finally:
        engine.dispose()
