"""A real daemon whose drop-in is renamed, with its records after it, and then forgotten."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio

from adsyncd.clock import SystemClock
from adsyncd.store.tenancy import open_tenancy
from adsyncd.tasks import beside
from support.platform import HEALTHY, Platform, accounts, environ_of, running_platform
from support.program import AMPLE, Program

CAMPAIGNS = 30
AWAY = "move its file away, then: adsyncd reload"


async def said(program: Program, *command: str) -> str:
    """Return what a command that is refused says."""
    done = await program.run(*command)
    assert (done.returncode, done.stdout) == (1, b""), done.stderr
    return done.stderr.decode().removeprefix("error: ").strip()


async def killed_in_a_run(program: Program, platform: Platform) -> list[str]:
    """Kill a daemon in the tenant's first run, and return the idempotency keys that it owes."""
    async with program.started() as killed:
        await platform.reach_effects("acme", 3)
        killed.process.kill()
        await killed.process.wait()
    with closing(sqlite3.connect(program.folder / "adsyncd.db")) as database:
        return [key for (key,) in database.execute("SELECT idempotency_key FROM pushes WHERE state = 'pending'")]


def traces_of(database: Path, *names: str) -> list[str]:
    """Return what a database holds of tenants, but for permits, which are a client id's."""
    with closing(sqlite3.connect(database)) as opened:
        return [
            line for line in opened.iterdump() if '"permits"' not in line and any(f"'{name}" in line for name in names)
        ]


async def test_a_renamed_tenant_goes_on_where_it_was_with_the_same_keys_until_it_is_forgotten(tmp_path: Path) -> None:
    everyone = {**HEALTHY, "campaigns": CAMPAIGNS, "push_hang": 0, "push_latency_s": 0.1}
    async with running_platform({"accounts": accounts("acme"), "everyone": everyone}) as platform:
        program = Program(tmp_path, environ_of("acme"))
        program.settings(platform.base_url, defaults={**AMPLE, "sync": {"push": "changed"}})
        program.tenant("acme")
        owed = await killed_in_a_run(program, platform)
        assert owed
        folder, aside = tmp_path / "tenants.d", tmp_path / "aside"
        (folder / "acme.toml").rename(aside)
        assert (await program.run("__stored")).stdout == b"acme\n"  # for the completions of shells
        async with program.daemon() as daemon:
            assert (await program.run("__stored")).stdout == b"acme\n"
            renamed = await program.ask("rename", "acme", "apex")
            assert renamed["records"]["runs"] == 1
            assert (await program.run("__stored")).stdout == b"apex\n"
            assert renamed["records"]["owed"] >= len(owed)
            assert traces_of(tmp_path / "adsyncd.db", "acme") == []
            program.tenant("apex", client_id="acme", credentials={"env": "ACME"})
            await program.ask("reload")
            await daemon.logs("run ended")
            ledger = await platform.ledger("acme")
            assert all(list(keys.values()) == [1] for keys in ledger["effects"].values())  # one key each, once
            assert set(owed) <= {key for keys in ledger["effects"].values() for key in keys}
            await program.ask("trigger", "apex")
            latest, first = await program.ended("apex", 2)
            assert (latest["outcome"], latest["skipped"], latest["pushed"]) == ("succeeded", CAMPAIGNS, 0)
            assert (first["outcome"], first["pushed"]) == ("succeeded", CAMPAIGNS)
            assert first["run_id"].startswith("apex-")

            stored = await program.ask("campaigns", "apex", "--synced-since", "1h")
            assert [one["payload"]["id"] for one in stored] == [
                f"cmp-{number:04}" for number in range(1, CAMPAIGNS + 1)
            ]

            assert await said(program, "forget", "apex", "--yes") == f"the drop-in of apex is in force; {AWAY}"
            (folder / "apex.toml").rename(aside)
            assert await said(program, "rename", "apex", "acme") == f"the daemon serves apex; {AWAY}"
            await program.ask("reload")
            async with working_on(tmp_path, "apex"):
                assert "is working on tenant apex: wait until it is done" in await said(
                    program, "forget", "apex", "--yes"
                )
            forgotten = await program.ask("forget", "apex", "--yes")
            assert (forgotten["records"]["runs"], forgotten["records"]["campaigns"]) == (2, CAMPAIGNS)
            assert forgotten["permits"]["kept"] > 0  # of the last minute: the platform may count them still
            assert traces_of(tmp_path / "adsyncd.db", "acme", "apex") == []


@asynccontextmanager
async def working_on(folder: Path, tenant: str) -> AsyncIterator[None]:
    """Hold a tenant's lease, as another process of which nobody here can tell whether it lives."""
    async with open_tenancy(f"sqlite:///{folder}/adsyncd.db", clock=SystemClock()) as tenancy:
        lease = await tenancy.take_lease(tenant, "process 1 on another machine; boot namespace name")

        async def live() -> None:
            while True:
                await tenancy.beat_leases([lease])
                await anyio.sleep(0.5)

        async with beside(live):
            yield
        await tenancy.give_lease(lease)
