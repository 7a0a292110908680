"""What the real daemon says of runs that go on to fail, of tenants that failed before it began, and of commands."""

import socket
from typing import Any

import anyio

from support.faked_time import faked_time
from support.platform import Platform, accounts
from support.program import AMPLE, Daemon, Program

DENIED = {"acme@example.com": {"password": "another", "clients": ["acme"]}}


def warned(daemon: Daemon) -> list[dict[str, Any]]:
    return [run for run in daemon.events("run ended") if run["tenant"] == "acme" and run["level"] == "warning"]


async def test_a_reason_is_logged_once_while_runs_fail_for_it_and_again_by_the_next_daemon(
    program: Program, platform: Platform
) -> None:
    await platform.change(accounts=DENIED)
    program.tenant("acme", schedule={"every": "1s"})
    program.tenant("globex")
    async with program.daemon() as daemon:
        await daemon.logs("run ended", 2)
        await program.ended("acme", 4)
        [refused] = warned(daemon)
        assert "refused email and password" in refused["error"]
        await platform.change(accounts=accounts("acme"), everyone={"fault": "malformed"})
        await daemon.logs("run ended", 3)
        runs = len(await program.ended("acme", 5))
        await program.ended("acme", runs + 3)
        assert len(warned(daemon)) == 2, warned(daemon)
        assert warned(daemon)[1]["error"] != refused["error"]

        firing = await program.ask("alerts", "--failing")
        assert firing[0]["severity"] == "critical"
        [failing] = [alert for alert in firing if alert["name"] == "runs_failing"]
        assert failing["tenant"] == "acme"
        assert failing["do"].startswith("the last error names the cause")
        assert await program.ask("alerts", "globex") == await program.ask("alerts", "--match", "gl*") == []
        assert (await program.run("alerts", "hooli")).returncode == 1
        shown = await program.run("alerts")
        assert shown.stdout.startswith(b"critical: acme: ")
        assert b"\n  do: the last error names the cause" in shown.stdout

        assert (await program.run("pause", "globex")).returncode == 0
        assert (await program.run("trigger", "globex")).returncode == 1
        pause, trigger = daemon.events("command")
        assert (pause["outcome"], trigger["outcome"]) == ("done", "refused")
        assert trigger["error"].startswith("globex is paused")
    program.tenant("acme")  # which runs no more
    daemon.log.unlink()
    async with program.daemon() as second:
        await second.logs("tenants are failing")
        [told] = second.events("tenants are failing")
        assert (told["level"], told["number"], told["tenants"]) == ("warning", 1, ["acme"])
        assert told["reason"]
        assert not second.events("run ended")
    await platform.treat()


async def test_after_an_hour_what_goes_on_to_fail_is_logged_again_with_the_sum_of_the_successes(
    program: Program, platform: Platform
) -> None:
    await platform.treat(campaigns=2)
    await platform.change(accounts=DENIED)
    operator = Program(program.folder)  # in the machine's time
    clock = faked_time(program, "+0", monotonic=True)
    program.tenant("acme")
    program.tenant("globex")

    async def runs_again(daemon: Daemon, runs: int) -> None:
        assert await operator.ask("trigger", "acme", "globex")
        await daemon.logs("run ended", runs)

    async with program.daemon("--log-level", "debug") as daemon:
        await daemon.logs("run ended", 2)
        await runs_again(daemon, 4)
        [first] = warned(daemon)
        assert not daemon.events("runs of the last hour")
        clock.set("+3610")

        with anyio.fail_after(30):
            while not daemon.events("runs of the last hour"):
                await operator.ask("status")  # wakes the daemon, which sleeps by the machine's time
        await runs_again(daemon, 6)
        await runs_again(daemon, 8)
        assert [run["error"] for run in warned(daemon)] == [first["error"]] * 2
        ended = [(run["tenant"], run["level"]) for run in daemon.events("run ended")]
        assert sorted(ended[4:6]) == [("acme", "warning"), ("globex", "debug")]
        assert {level for _, level in ended[2:4] + ended[6:]} == {"debug"}
        [hour] = daemon.events("runs of the last hour")
        assert (hour["level"], hour["succeeded"], hour["failed"], hour["pushed"]) == ("info", 2, 2, 4)
        [broken] = daemon.events("tenants are failing")
        assert (broken["level"], broken["tenants"]) == ("warning", ["acme"])
    await platform.change(accounts=accounts("acme"))


async def test_one_refused_connection_is_no_failing_sign_in_and_as_many_as_may_be_are(
    program: Program, platform: Platform
) -> None:
    with socket.socket() as closed:  # bound and not listening: it refuses connections
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        program.settings(address, defaults={**AMPLE, "alerts": {"failures": 2}})
        program.tenant("acme")
        async with program.daemon() as daemon:
            await daemon.logs("run ended")
            [first] = daemon.events("run ended")
            assert "no connection" in first["error"]
            assert await program.ask("alerts", "acme") == []
            assert (await program.run("trigger", "acme")).returncode == 0
            await daemon.logs("alert fires", 2)
            firing = {alert["name"] for alert in await program.ask("alerts", "acme")}
            assert {"sign_in_failing", "runs_failing"} <= firing
            assert len(daemon.events("run ended")) == 1  # the second one failed for the same reason
    assert platform.base_url != address


async def test_a_failed_run_of_an_earlier_client_id_counts_no_more_after_a_restart(
    program: Program, platform: Platform
) -> None:
    await platform.change(accounts=DENIED)
    program.tenant("acme")
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
    daemon.log.unlink()
    async with program.daemon() as daemon:
        await daemon.logs("tenants are failing")
        known = await program.ask("status", "acme")
        assert known["verdict"]["trouble"] == "failing"
    daemon.log.unlink()
    program.tenant("acme", client_id="another", credentials={"env": "ACME"})
    async with program.daemon() as daemon:
        await daemon.logs("ready")
        now = await program.ask("status", "acme")
        assert (now["client_id"], now["error"], now["verdict"]) == ("another", None, None)
        assert now["last_run"] == known["last_run"]
    assert not daemon.events("tenants are failing")
