"""Databases that have been migrated once, for tests that are not about migrations."""

from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import anyio
from opentelemetry.trace import NoOpTracer
from sqlalchemy import URL

from adsyncd.store import Store, open_store, schema, sql
from support.records import HandClock

Result = TypeVar("Result")


def sqlite_file(folder: Path, after: Callable[[Store], Awaitable[object]] | None = None) -> str:
    """Put a migrated database into `folder`, and return its URL. It is empty, or as `after` leaves an empty one."""
    file = folder / "adsyncd.db"
    file.touch(mode=0o600)
    file.write_bytes(_after(after) if after else _empty())
    return f"sqlite:///{file}"


def in_store(url: str, do: Callable[[Store], Awaitable[Result]]) -> Result:
    """Open the store at `url` and return what `do` comes to in it."""

    async def done() -> Result:
        async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store:
            return await do(store)

    return anyio.run(done)


def migrate(url: str | URL) -> None:
    """Bring the database at `url` up to date."""
    place = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    engine = sql.engine(place, connections=1).execution_options(writes=True)
    with engine.begin() as connection:
        schema.upgrade(connection)
    engine.dispose()


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        migrate(f"sqlite:///{folder}/adsyncd.db")
        return Path(folder, "adsyncd.db").read_bytes()


@cache
def _after(do: Callable[[Store], Awaitable[object]]) -> bytes:
    with TemporaryDirectory() as folder:
        in_store(sqlite_file(Path(folder)), do)
        return Path(folder, "adsyncd.db").read_bytes()
