"""A real daemon whose database file is moved away under it, or of an older version that was killed in a run."""

import shutil
from pathlib import Path

import anyio

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
        async with program.daemon() as daemon, program.control() as control:
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
                while (await control.get("/v1/status")).json()["store"] is not None:  # noqa: ASYNC110 - as a monitor does
                    await anyio.sleep(0.1)
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
QUOTA = {"requests": 12, "window_s": 15}
VERSIONS = schema.known()[:-1]


def of_version(folder: Path, platform: Platform, *versions: str) -> Program:
    """Make an installation with a tenant for each of these versions, each with a client id of its own."""
    folder.mkdir()
    program = Program(folder, environ_of(*(f"t{version}" for version in VERSIONS)))
    program.settings(platform.base_url)
    for version in versions:
        program.tenant(f"t{version}", quota={"requests": QUOTA["requests"], "per": f"{QUOTA['window_s']}s"})
    return program


async def test_a_new_version_takes_up_the_run_and_the_permits_that_each_old_one_left_and_keeps_a_copy(
    tmp_path: Path,
) -> None:
    quota = {"quota_requests": QUOTA["requests"], "quota_window_s": QUOTA["window_s"]}
    everyone = {**HEALTHY, "campaigns": CAMPAIGNS, "push_latency_s": 0.2, **quota}
    clients = accounts(*(f"t{version}" for version in VERSIONS))
    async with running_platform({"accounts": clients, "everyone": everyone}) as platform:
        old = of_version(tmp_path / "old", platform, *VERSIONS)
        async with old.started() as killed:
            for version in VERSIONS:
                await platform.reach_effects(f"t{version}", 3)
            killed.process.kill()
            await killed.process.wait()
        async with anyio.create_task_group() as tasks:  # side by side, since the permits of all are cooling
            for version in VERSIONS:
                program = of_version(tmp_path / version, platform, version)
                for file in old.folder.glob("adsyncd.db*"):
                    shutil.copy2(file, program.folder)
                make_old(program.folder / "adsyncd.db", version)
                tasks.start_soon(takes_up, program, platform, version)


async def takes_up(program: Program, platform: Platform, version: str) -> None:
    """Start the new version on an old one's database, and see it end the run that the old one left."""
    async with program.daemon() as new:
        await new.logs("run ended")
    run = (await program.runs())[f"t{version}"]
    assert (run["outcome"], run["pushed"], run["refused"]) == ("succeeded", CAMPAIGNS, 0), version
    ledger = await platform.ledger(f"t{version}")
    assert [sum(by_key.values()) for by_key in ledger["effects"].values()] == [1] * CAMPAIGNS, version
    assert ledger["refused"] == 0, version  # the old one's permits are cooling still
    copy = program.folder / f"adsyncd.db.schema-{version}"
    assert copy.stat().st_mode & 0o777 == 0o600, version
    assert b"store: SQLite finds it intact" in (await program.run("check", "--store")).stdout, version


def make_old(database: Path, revision: str) -> None:
    """Give a database the schema of an older version, with all that this has a place for."""
    engine = sql.engine(f"sqlite:///{database}", connections=1).execution_options(writes=True)
    try:
        with engine.begin() as connection:
            schema.downgrade(connection, revision)
    finally:
        engine.dispose()
