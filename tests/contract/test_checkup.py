import os
import shutil
from pathlib import Path

import anyio
import pytest
from opentelemetry.trace import NoOpTracer
from sqlalchemy import Engine, text

from adsyncd.model.tenant import PushPolicy
from adsyncd.store import open_store, schema
from adsyncd.store.checkup import check_up
from adsyncd.store.sqlite_file import RESTORE
from support.damaged import damage
from support.records import HandClock, page, run

of_files = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture
def used(url: str) -> str:
    """Return the URL of a database that a daemon has used, in the middle of a run."""

    async def use() -> None:
        async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store:
            await store.begin(run())
            await store.keep_page(run(), page("cmp-1", "cmp-2"), PushPolicy.ALL)

    anyio.run(use)
    return url


@pytest.fixture
def file(url: str, tmp_path: Path) -> Path:
    assert url.startswith("sqlite")
    return tmp_path / "adsyncd.db"


def told(url: str) -> list[str]:
    return [str(problem) for problem in check_up(url).problems]


def test_a_database_that_was_used_is_well_and_what_is_well_is_said(used: str) -> None:
    found = check_up(used)
    assert found.problems == []
    assert f"schema {schema.known()[-1]}, as this version needs" in found.facts
    assert "every push belongs to a run, every dead letter to a campaign" in found.facts
    assert ("SQLite finds it intact" in found.facts) == used.startswith("sqlite")


def test_an_older_schema_is_not_migrated_and_no_problem(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        schema.upgrade(connection, "0001")
    found = check_up(url)
    assert found.problems == []
    assert f"schema 0001, which the next start migrates to {schema.known()[-1]}" in found.facts
    with engine.begin() as connection:
        assert schema.current(connection) == "0001"


def test_a_newer_schema_is_a_problem(used: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    [problem] = told(used)
    assert "a newer adsyncd made its schema 9999" in problem


def test_a_database_of_somebody_else_is_a_problem(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
    [problem] = told(url)
    assert "it holds no schema of adsyncd" in problem


def test_rows_that_belong_to_nothing_are_a_problem(used: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM runs"))
        connection.execute(
            text(
                "INSERT INTO dead_letters (tenant, campaign_id, run_id, idempotency_key, content_hash, attempts, "
                "failures, owed_at, dead_at, trace_id) VALUES "
                "('acme', 'gone', '', '', '', 1, 1, '2026-01-01 00:00:00+00', '2026-01-01 00:00:00+00', '')"
            )
        )
    assert [problem.partition("url: ")[2] for problem in told(used)] == [
        f"2 pushes belong to no run; {RESTORE}",
        f"1 dead letters belong to no campaign; {RESTORE}",
    ]


@of_files
def test_a_database_that_is_not_there_is_a_problem_and_is_not_made(url: str, file: Path) -> None:
    [problem] = told(url)
    assert problem.startswith(f"{file}: store.url: there is no database")
    assert not file.exists()


@of_files
@pytest.mark.parametrize("page", [0, 3], ids=["the schema", "a table"])
def test_damage_is_a_problem_with_its_way_out(used: str, file: Path, page: int) -> None:
    damage(file, page)
    problems = told(used)
    assert problems
    for problem in problems:
        assert problem.startswith(f"{file}: store.url: it is damaged: ")
        assert problem.endswith(f"; {RESTORE}")


@of_files
def test_what_is_no_database_is_a_problem(url: str, file: Path) -> None:
    file.write_text("no database " * 1000)
    file.chmod(0o600)
    [problem] = told(url)
    fix = f"name the right file, or if it was one: {RESTORE}"
    assert problem.endswith(f"adsyncd.db: it is not an SQLite database; {fix}")


@of_files
def test_a_file_that_others_may_read_is_a_problem(used: str, file: Path) -> None:
    file.chmod(0o644)
    [problem] = told(used)
    assert problem == f"{file}: store.url: others may use it (mode 0644); chmod 600 {file}"


@of_files
def test_a_folder_that_may_not_be_written_is_a_problem(used: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != file.parent)  # root may write anywhere
    [problem] = told(used)
    assert "this user may not write it or its folder" in problem


@of_files
def test_a_disk_without_room_for_a_copy_is_a_problem(used: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(file.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=file.stat().st_size - 1))
    [problem] = told(used)
    assert "make room: an upgrade copies it first" in problem


def test_a_server_that_can_t_be_reached_is_a_problem_without_its_password() -> None:
    [problem] = told("postgresql+psycopg://adsyncd:canary-4711@127.0.0.1:1/adsyncd")
    assert problem.startswith("store.url: postgresql://127.0.0.1:1/adsyncd: ")
    assert "canary" not in problem


def test_a_url_that_is_none_is_a_problem() -> None:
    [problem] = told("somewhere")
    assert "store.url is not a URL" in problem
