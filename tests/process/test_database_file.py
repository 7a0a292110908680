"""A real daemon whose database file is moved away under it."""

import json
from pathlib import Path
from typing import Any

import anyio

from support.platform import HEALTHY, accounts, environ_of, running_platform
from support.program import Program

MISSED = "it was deleted or replaced while adsyncd used it; put it back, or restart adsyncd"


async def standing(program: Program) -> dict[str, Any]:
    shown = await program.run("status", "--json")
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


async def test_without_its_file_the_daemon_sends_nothing_calls_nothing_done_and_goes_on_once_it_is_back(
    tmp_path: Path,
) -> None:
    everyone = {**HEALTHY, "campaigns": 40, "push_hang": 0, "push_latency_s": 0.2}
    file, away = tmp_path / "adsyncd.db", tmp_path / "away.db"
    async with running_platform({"accounts": accounts("acme"), "everyone": everyone}) as platform:
        program = Program(tmp_path, environ_of("acme"))
        program.settings(
            platforms={"mixo": {"base_url": platform.base_url}}, defaults={"quota": {"requests": 1000, "per": "60s"}}
        )
        program.tenant("acme")
        async with program.daemon() as daemon:
            with anyio.fail_after(60):
                while (await platform.ledger("acme"))["effects_total"] < 5:  # noqa: ASYNC110 - another process's
                    await anyio.sleep(0.05)
            file.rename(away)
            await daemon.logs("run left open")
            sent = (await platform.ledger("acme"))["accepted"]
            assert (await standing(program))["daemon"]["store"] == f"{file}: {MISSED}"
            assert (await program.run("trigger", "acme")).returncode == 1  # the run that was cut off waits
            beside = await program.run("sync", "acme")
            assert beside.returncode == 1
            assert f"process {daemon.process.pid} still uses another file that was here" in beside.stderr.decode()
            assert (await platform.ledger("acme"))["accepted"] == sent
            away.rename(file)
            assert (await standing(program))["daemon"]["store"] is None
        assert (await program.run("sync", "acme")).returncode == 0  # takes up the run
        run = (await program.runs())["acme"]
        assert (run["outcome"], run["pushed"]) == ("succeeded", 40)
        ledger = await platform.ledger("acme")
        assert all(list(keys.values()) == [1] for keys in ledger["effects"].values())
        assert ledger["refused"] == 0
