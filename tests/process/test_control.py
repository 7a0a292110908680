"""The real daemon and the commands that ask it and tell it what to do, over its real control socket."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from support.platform import Platform
from support.program import Program
from support.terminals import reading

CAMPAIGNS = 12
PASSWORDS = ("pw-acme", "pw-globex", "mock-token")


@pytest.fixture
def program(program: Program) -> Program:
    """An installation with the tenant acme."""
    program.tenant("acme")
    return program


async def run(program: Program, *arguments: str, code: int = 0) -> str:
    """Run a command that ends with this exit code, and return what it says."""
    ended = await program.run(*arguments)
    said = ended.stdout + ended.stderr
    assert ended.returncode == code, said.decode()
    assert b"Traceback" not in said
    assert not [secret for secret in PASSWORDS if secret.encode() in said]
    return said.decode()


async def status_of(program: Program, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await run(program, "status", name, "--json"))
    return found


@pytest.mark.parametrize("command", [("status",), ("trigger", "acme"), ("reload", "--json")])
async def test_without_a_daemon_a_command_that_asks_it_says_so(program: Program, command: tuple[str, ...]) -> None:
    said = await run(program, *command, code=4)
    if "--json" in command:
        problem = json.loads(said)
        assert (problem["title"], problem["exit"]) == ("No daemon", 4)
        said = f"error: {problem['detail']}"
    assert said.startswith(f"error: no daemon answers at {program.folder}/control.sock: there is no such socket")


async def test_status_shows_what_tenants_wait_for_and_what_became_of_them(program: Program, platform: Platform) -> None:
    program.tenant("globex", quota={"requests": 5, "per": "1h"}, sync={"run_deadline": "1d"})
    async with program.daemon() as daemon:
        await daemon.logs("run ended")  # of acme
        await platform.reach_effects("globex", 4)
        globex = await status_of(program, "globex")
        assert (globex["state"], globex["wait"]["reason"]) == ("waiting", "quota")
        assert globex["run"]["announced"] == CAMPAIGNS
        [sentence, *_] = (await run(program, "status", "globex")).splitlines()
        assert sentence.startswith("globex waits for the quota until ")
        assert "at the present quota the rest takes until" in sentence
        summary, own, *_, heads, acme, other = (await run(program, "status")).splitlines()
        assert summary.startswith("2 tenants: ")
        assert "1 waiting, 1 running" in summary
        assert own.startswith("adsyncd ")
        assert heads.split()[:2] == ["tenant", "state"]
        assert sorted(line.split()[:2] for line in (acme, other)) == [["acme", "idle"], ["globex", "waiting"]]
        seen = json.loads(await run(program, "status", "--json"))
        assert seen["daemon"]["tenants"] == {"idle": 1, "waiting": 1}
        assert [one["id"] for one in seen["tenants"]] == ["acme", "globex"]
        assert seen["tenants"][0]["last_run"]["pushed"] == CAMPAIGNS
        assert "a run of globex is already in progress; see adsyncd status globex" in await run(
            program, "trigger", "globex", code=1
        )


async def test_a_run_is_cancelled_by_command_for_good_or_to_be_resumed(program: Program, platform: Platform) -> None:
    program.tenant("globex", quota={"requests": 5, "per": "1h"}, sync={"run_deadline": "1d"})
    async with program.daemon() as daemon:
        await daemon.logs("run ended")  # of acme
        assert "no run of acme is in progress; see adsyncd status acme" in await run(program, "cancel", "acme", code=1)
        assert 'there is no tenant "hooli"' in await run(program, "cancel", "hooli", code=1)
        await platform.reach_effects("globex", 4)
        open_run = json.loads(await run(program, "cancel", "globex", "--resumable", "--json"))
        assert (open_run["tenant"], open_run["resumable"]) == ("globex", True)
        await daemon.logs("run left open")
        globex = await status_of(program, "globex")
        assert (globex["state"], globex["run"], globex["last_run"]) == ("idle", None, None)
        await run(program, "trigger", "globex")
        await program.status("globex", lambda globex: (globex["wait"] or {}).get("reason") == "quota")
        said = await run(program, "cancel", "globex")
        assert said == f"the run {open_run['run_id']} ends as abandoned; see adsyncd status globex\n"
        await daemon.logs("run ended", 2)
        globex = await status_of(program, "globex")
        assert (globex["state"], globex["error"], globex["verdict"]) == ("idle", None, None)
        last = globex["last_run"]
        assert (last["run_id"], last["outcome"], last["note"]) == (
            open_run["run_id"],
            "abandoned",
            "cancelled by an operator",
        )
        assert (last["pushed"], last["failed"], last["untried"]) == (4, last["listed"] - 4, last["listed"] - 4)
        commands = [(one["command"], one["tenant"], one["outcome"]) for one in daemon.events("command")]
        assert commands[0] == ("cancel", "acme", "refused")
        assert commands[-1] == ("cancel", "globex", "done")
        assert [one["tenant"] for one in daemon.events("command") if one.get("resumable")] == ["globex"]
        assert not daemon.events("alert fires")


async def test_a_tenant_is_run_by_command(program: Program, platform: Platform) -> None:
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        assert await run(program, "trigger", "acme") == "a run of acme starts; see adsyncd status acme --watch\n"
        await platform.reach_effects("acme", 2 * CAMPAIGNS)
        assert 'there is no tenant "hooli"; adsyncd status lists all' in await run(program, "trigger", "hooli", code=1)
        [command, *_] = daemon.events("command")
        assert (command["command"], command["tenant"], command["peer_uid"]) == ("trigger", "acme", os.getuid())


async def test_a_pause_outlives_the_daemon_until_it_is_resumed(program: Program, platform: Platform) -> None:
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        assert (await run(program, "pause", "acme")).startswith("acme is paused since ")
        assert "resume it first" in await run(program, "trigger", "acme", code=1)
    for name in ("acme", "globex"):
        program.tenant(name, schedule={"every": "1s"})
    async with program.daemon() as daemon:
        await platform.reach_effects("globex", 3 * CAMPAIGNS)
        assert (await status_of(program, "acme"))["state"] == "paused"
        assert (await platform.ledger("acme"))["effects_total"] == CAMPAIGNS
        assert not (await run(program, "resume", "acme")).startswith("acme is paused")
        await platform.reach_effects("acme", 2 * CAMPAIGNS)


async def test_a_reload_says_what_changed_and_what_is_refused(program: Program) -> None:
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        program.tenant("globex")
        assert (await run(program, "reload")).splitlines()[0] == "added: globex"
        program.tenant("acme", page_sise=3)
        said = await run(program, "reload", code=1)
        [checked, _] = (await run(program, "check", code=1)).splitlines()
        assert said.splitlines()[0] == checked
        assert "page_sise" in checked
        report = json.loads(await run(program, "reload", "--json", code=1))
        assert ([one["tenant"] for one in report["refused"]], report["unchanged"]) == (["acme"], ["acme", "globex"])
        acme = await status_of(program, "acme")
        assert (acme["state"], len(acme["refused"])) == ("idle", 1)
        program.tenant("acme")
        await run(program, "reload")
        assert (await status_of(program, "acme"))["refused"] == []


async def test_no_second_daemon_takes_the_first_one_s_socket(program: Program) -> None:
    async with program.daemon() as daemon:
        await daemon.logs("ready")
        said = await run(program, "run", code=78)
        assert "control.socket: another adsyncd listens at " in said
        await status_of(program, "acme")
    assert not (program.folder / "control.sock").exists()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let commands be told by SIGINT to end: who starts the tests in the background has all of them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
async def test_a_watch_goes_on_until_ctrl_c_though_the_daemon_ends_and_starts_again(program: Program) -> None:
    ours, theirs = pty.openpty()
    drawn = b""

    async def draws(words: bytes, times: int = 1) -> None:
        nonlocal drawn
        drawn = b""
        with anyio.fail_after(20):
            while drawn.count(words) < times:
                await anyio.wait_readable(ours)
                drawn += os.read(ours, 65536)
        assert b"Traceback" not in drawn

    async with AsyncExitStack() as stack:
        async with program.daemon() as daemon:
            await daemon.logs("run ended")
            program.environ["TERM"] = "xterm-256color"
            command = program._command("status", "acme", "--watch")
            process = await stack.enter_async_context(
                program.opened(*command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
            )
            os.close(theirs)
            await draws(b"acme is idle until", 2)
        await draws(b"no daemon answers")
        async with program.daemon():
            await draws(b"acme is idle until")
            process.send_signal(signal.SIGINT)
            with anyio.fail_after(20):
                async for more in reading(ours):
                    drawn += more
            assert await process.wait() == 0
    os.close(ours)
    assert b"Traceback" not in drawn


async def test_a_watch_is_for_terminals(program: Program) -> None:
    assert "--watch needs a terminal" in await run(program, "status", "--watch", code=2)
