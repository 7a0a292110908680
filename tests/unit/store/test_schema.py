import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from adsyncd.errors import StoreError
from adsyncd.store import schema, sql


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "adsyncd.db"


@pytest.fixture
def engine(file: Path) -> Iterator[Engine]:
    made = sql.engine(f"sqlite:///{file}", connections=1).execution_options(writes=True)
    yield made
    made.dispose()


def upgrade(engine: Engine, revision: str = "head") -> None:
    with engine.begin() as connection:
        schema.upgrade(connection, revision)


def pause(engine: Engine, tenant: str) -> None:
    """Keep something that the first schema has a place for."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO alerts (tenant, name, since, summary, told) "
                "VALUES (:tenant, 'run_failures', '2026-01-01 00:00:00.000000', '', false)"
            ),
            {"tenant": tenant},
        )


def tenants(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return [tenant for (tenant,) in database.execute("SELECT tenant FROM alerts")]


def test_a_migration_leaves_a_copy_of_what_was_there_for_its_owner_alone(engine: Engine, file: Path) -> None:
    upgrade(engine, "0001")
    pause(engine, "acme")
    upgrade(engine)
    copy = file.with_name("adsyncd.db.schema-0001")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert tenants(copy) == ["acme"]
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]


def test_the_copy_of_an_earlier_migration_from_the_same_schema_gives_way(engine: Engine, file: Path) -> None:
    upgrade(engine, "0001")
    upgrade(engine)
    with engine.begin() as connection:
        schema.downgrade(connection, "0001")
    pause(engine, "globex")
    upgrade(engine)
    assert tenants(file.with_name("adsyncd.db.schema-0001")) == ["globex"]


def test_what_an_unfinished_copy_left_behind_is_in_nobodys_way(engine: Engine, file: Path) -> None:
    upgrade(engine, "0001")
    file.with_name("adsyncd.db.schema-0001.unfinished").write_text("half a database")
    upgrade(engine)
    assert sorted(path.name for path in file.parent.glob("*.schema-*")) == ["adsyncd.db.schema-0001"]


@pytest.mark.parametrize("revisions", [["head"], ["head", "head"]], ids=["a new database", "one that is up to date"])
def test_without_a_migration_there_is_no_copy(engine: Engine, file: Path, revisions: list[str]) -> None:
    for revision in revisions:
        upgrade(engine, revision)
    assert list(file.parent.glob("*.schema-*")) == []


def test_what_can_t_be_copied_is_not_migrated(engine: Engine, file: Path) -> None:
    upgrade(engine, "0001")
    file.with_name("adsyncd.db.schema-0001").mkdir()
    with pytest.raises(StoreError, match=r"adsyncd\.db: it can't be copied to adsyncd\.db\.schema-0001"):
        upgrade(engine)
    with engine.begin() as connection:
        assert schema.current(connection) == "0001"


def test_revisions_are_known_oldest_first() -> None:
    assert schema.known() == sorted(schema.known())
    assert schema.known() == ["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009"]


def test_the_name_of_a_migration_begins_with_its_revision() -> None:
    scripts = ScriptDirectory(str(schema._MIGRATIONS))
    assert [script.revision for script in scripts.walk_revisions()] == schema.known()[::-1]
