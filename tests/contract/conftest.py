"""Each test of the contract runs on SQLite and on a real PostgreSQL, in a database of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from opentelemetry.trace import NoOpTracer
from sqlalchemy import URL, Engine

from adsyncd.store import Store, open_store, sql
from support.migrated import sqlite_file
from support.postgres import Postgres, running_postgres
from support.records import HandClock


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[URL]:
    with postgres.database() as place:
        yield place


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/adsyncd.db"
    place: URL = request.getfixturevalue("database")
    return place.render_as_string(hide_password=False)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = sql.engine(url, connections=1).execution_options(writes=True)
    yield made
    made.dispose()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def store(url: str, clock: HandClock, tmp_path: Path) -> AsyncIterator[Store]:
    if url.startswith("sqlite"):
        sqlite_file(tmp_path)
    async with open_store(url, clock=clock, tracer=NoOpTracer()) as opened:
        yield opened
