"""A real daemon whose database file is moved away under it, or of an older version that was killed in a run."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from adsyncd.store import schema, sql
from adsyncd.store.sqlite_file import RESTORE
from support.damaged import damage
from support.migrated import sqlite_file
from support.platform import HEALTHY, Platform, accounts, environ_of, running_platform
from support.program import AMPLE, Program

MISSED = "it was deleted or replaced while adsyncd used it; put it back, or restart adsyncd"


async def test_without_its_file_the_daemon_sends_nothing_calls_nothing_done_and_goes_on_once_it_is_back(
    tmp_path: Path,
) -> None:
    everyone = {**HEALTHY, "campaigns": 40, "push_hang": 0, "push_latency_s": 0.2}
    file, away = tmp_path / "adsyncd.db", tmp_path / "away.db"
    async with running_platform({"accounts": accounts("acme"), "everyone": everyone}) as platform:
        program = Program(tmp_path, environ_of("acme"))
        program.settings(platform.base_url, defaults=AMPLE)
        program.tenant("acme")
        async with program.daemon() as daemon:
            await platform.reach_effects("acme", 5)
            file.rename(away)
            await daemon.logs("run left open")
            sent = (await platform.ledger("acme"))["accepted"]
            assert (await program.ask("status"))["daemon"]["store"] == f"{file}: {MISSED}"
            assert (await program.run("trigger", "acme")).returncode == 1  # the run that was cut off waits
            beside = await program.run("sync", "acme")
            assert beside.returncode == 1
            assert f"process {daemon.process.pid} still uses another file that was here" in beside.stderr.decode()
            assert (await platform.ledger("acme"))["accepted"] == sent
            away.rename(file)
            with anyio.fail_after(10):  # the next probe finds it
                while (await program.ask("status"))["daemon"]["store"] is not None:  # noqa: ASYNC110 - as a monitor does
                    await anyio.sleep(0.5)
        assert (await program.run("sync", "acme")).returncode == 0  # takes up the run
        run = (await program.runs())["acme"]
        assert (run["outcome"], run["pushed"]) == ("succeeded", 40)
        ledger = await platform.ledger("acme")
        assert all(list(keys.values()) == [1] for keys in ledger["effects"].values())
        assert ledger["refused"] == 0


async def test_each_command_on_a_damaged_file_says_what_to_do_next(tmp_path: Path) -> None:
    program = Program(tmp_path, environ_of("acme"))
    program.settings("http://127.0.0.1:1")  # nobody listens, and nothing is sent
    program.tenant("acme")
    file = Path(sqlite_file(tmp_path).removeprefix("sqlite:///"))
    damage(file)
    wrong = f"error: {file}: it is damaged; see adsyncd check --store, then {RESTORE}\n"
    assert RESTORE.endswith("#backup-and-restore")
    for command in (["runs"], ["dead-letters", "list"], ["forget", "globex", "--yes"], ["sync", "acme"]):
        done = await program.run(*command)
        assert (command, done.returncode, done.stderr.decode()) == (command, 1, wrong)
    async with program.started() as daemon:
        assert await daemon.process.wait() == 1
    assert wrong in daemon.log.read_text()
    checked = await program.run("check", "--store")
    assert checked.returncode == 1
    said = (checked.stdout + checked.stderr).decode()
    assert f"{file}: store.url: it is damaged: " in said
    assert f"; {RESTORE}\n" in said
    damage(file, 0)
    schema_gone = await program.run("runs")
    assert (schema_gone.returncode, schema_gone.stderr.decode()) == (1, wrong)


CAMPAIGNS = 12
QUOTA = {"requests": 8, "window_s": 5}


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    quota = {"quota_requests": QUOTA["requests"], "quota_window_s": QUOTA["window_s"]}
    everyone = {**HEALTHY, "campaigns": CAMPAIGNS, **quota}
    async with running_platform({"accounts": accounts("acme"), "everyone": everyone}) as running:
        yield running


@pytest.mark.parametrize("revision", schema.known()[:-1])
async def test_a_new_version_takes_up_the_run_and_the_permits_that_an_old_one_left_and_keeps_a_copy(
    platform: Platform, tmp_path: Path, revision: str
) -> None:
    program = Program(tmp_path, {"ACME_EMAIL": "acme@example.com", "ACME_PASSWORD": "pw-acme"})
    program.settings(platform.base_url)
    quota = {"requests": QUOTA["requests"], "per": f"{QUOTA['window_s']}s"}
    program.tenant("acme", quota=quota)
    async with program.started() as old:
        await platform.reach_effects("acme", 3)
        old.process.kill()
        await old.process.wait()
    make_old(tmp_path / "adsyncd.db", revision)

    async with program.daemon() as new:
        await new.logs("run ended")
    run = (await program.runs())["acme"]
    assert (run["outcome"], run["pushed"], run["refused"]) == ("succeeded", CAMPAIGNS, 0)
    ledger = await platform.ledger("acme")
    assert [sum(by_key.values()) for by_key in ledger["effects"].values()] == [1] * CAMPAIGNS
    assert ledger["refused"] == 0  # the old one's permits are cooling still
    copy = tmp_path / f"adsyncd.db.schema-{revision}"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert b"store: SQLite finds it intact" in (await program.run("check", "--store")).stdout


def make_old(database: Path, revision: str) -> None:
    """Give a database the schema of an older version, with all that this has a place for."""
    engine = sql.engine(f"sqlite:///{database}", connections=1).execution_options(writes=True)
    try:
        with engine.begin() as connection:
            schema.downgrade(connection, revision)
    finally:
        engine.dispose()
