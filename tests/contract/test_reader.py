from dataclasses import replace

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from adsyncd.errors import StoreError
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, open_reader, schema, sql, tables
from support.records import NOON, HandClock, page, run


async def test_a_reader_sees_what_is_written_while_it_is_open(store: Store, url: str) -> None:
    async with open_reader(url, clock=HandClock()) as reader:
        assert await reader.open_runs() == []
        await store.begin(run())
        await store.keep_page(run(), page("c1", "c2"), PushPolicy.ALL)
        assert [one.listed for one in await reader.open_runs()] == [2]
        await store.finish(replace(run(), ended_at=NOON))
        assert await reader.open_runs() == []
        assert len(await reader.runs("acme", 10)) == 1


@pytest.mark.usefixtures("store")
async def test_a_reader_can_t_write(url: str) -> None:
    pause = insert(tables.pauses).values(tenant="acme", since=NOON)
    with pytest.raises(DBAPIError) as caught:
        sql.look(sql.reading_engine(url), lambda connection: connection.execute(pause))
    assert sql.cause(caught.value) == "it is read-only"
    assert sql.look(sql.reading_engine(url), lambda at: at.execute(select(tables.pauses)).all()) == []


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        (
            None,
            "it holds no schema of adsyncd; the daemon makes it at its first start, or store.url names the wrong one",
        ),
        (
            "0001",
            "an older adsyncd made its schema 0001; the daemon's next start migrates it to {newest}; until then, ",
        ),
        ("9999", "a newer adsyncd made its schema 9999; use that one, or restore a backup"),
    ],
)
async def test_a_database_that_is_not_of_this_version_is_left_alone_and_named(
    url: str, revision: str | None, said: str
) -> None:
    engine = sql.engine(url, connections=1).execution_options(writes=True)
    with engine.begin() as connection:
        if revision is not None:
            schema.upgrade(connection, "head" if revision == "9999" else revision)
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    with pytest.raises(StoreError) as caught:
        async with open_reader(url, clock=HandClock()):
            pass
    assert said.format(newest=schema.known()[-1]) in str(caught.value)
    with engine.begin() as connection:
        assert schema.current(connection) == revision
    engine.dispose()
