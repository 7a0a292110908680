"""The client of a daemon whose settings were broken meanwhile, errors as JSON, Ctrl-C, and the level of the log."""

import json
import signal
import subprocess
import sys

import anyio
import pytest

from adsyncd.cli import application
from support.platform import Platform
from support.program import Program

BROKEN = "[platforms.mixo\nbase_url = nonsense\n"


@pytest.mark.usefixtures("platform")
async def test_a_mistake_in_the_settings_silences_no_command_that_asks_the_daemon(program: Program) -> None:
    program.tenant("acme")
    socket = program.folder / "control.sock"
    good = program.config.read_text()
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        program.config.write_text(f'{BROKEN}\n[control]\nsocket = "{socket}"\n')
        assert (await program.ask("status", "acme"))["last_run"]["outcome"] == "succeeded"
        assert (await program.run("pause", "acme")).returncode == 0
        reloaded = await program.run("reload")
        assert reloaded.returncode == 1  # the daemon itself says what is wrong
        assert b"is not TOML" in reloaded.stdout
        program.config.write_text(f'{BROKEN}\n[control\nsocket = "{socket}"\n')
        problem = await program.ask("status", code=1)
        assert problem["detail"].startswith(f"{program.config}:1: is not TOML")
        assert problem["fix"].endswith("; or name the socket: --socket")
        assert problem["problems"][0]["line"] == 1
        assert (await program.run("resume", "acme", "--socket", str(socket))).returncode == 0
        program.environ["ADSYNCD_CONTROL__SOCKET"] = str(socket)
        assert (await program.ask("status"))["daemon"]["tenants"] == {"idle": 1}

        assert await program.ask("log-level") == {"level": "info"}
        assert await program.ask("log-level", "debug") == {"level": "debug"}
        assert (await program.run("trigger", "acme")).returncode == 0
        await daemon.logs("run ended", times=2)  # a repeated outcome, which is a matter of debug
        [set_] = [one for one in daemon.events("command") if one["command"] == "log-level"]
        assert (set_["outcome"], set_["lowest_level"]) == ("done", "debug")
        program.config.write_text(good)


@pytest.mark.usefixtures("platform")
async def test_the_environment_names_the_level_of_the_log(program: Program) -> None:
    program.environ["ADSYNCD_LOG_LEVEL"] = "warning"
    async with program.daemon():
        with anyio.fail_after(30):
            while (level := await program.run("log-level")).returncode == 4:  # noqa: ASYNC110 - another process
                await anyio.sleep(0.1)
    assert level.stdout == b"warning\n"
    program.environ["ADSYNCD_LOG_LEVEL"] = "loud"
    ended = await program.run("run")
    assert ended.returncode == 2
    assert b"ADSYNCD_LOG_LEVEL" in ended.stderr


async def test_each_command_tells_an_error_as_json(program: Program, platform: Platform) -> None:  # noqa: ARG001
    commands = [command.name for command in application().registered_commands]
    failed = dict[str | None, int]()
    async with anyio.create_task_group() as tasks:
        limit = anyio.CapacityLimiter(2)

        async def fail(command: str) -> None:
            async with limit:
                ended = await program.run(command, "--json", "--no-such-option")
            problem = json.loads(ended.stdout)
            assert (problem["exit"], ended.stderr) == (2, b""), command
            failed[command] = ended.returncode

        for command in commands:
            assert command
            tasks.start_soon(fail, command)
    assert failed == dict.fromkeys(commands, 2)


@pytest.mark.parametrize("after_s", [0, 0.05, 0.1, 0.2, 0.3, 0.5])
async def test_ctrl_c_ends_a_command_without_a_traceback_while_it_imports(program: Program, after_s: float) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "adsyncd", "simulate", "--config", str(program.config)]
    async with program.opened(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr
        said = b""
        while not said.endswith(b" gc\n"):  # the first module that the command line imports
            said += await process.stderr.receive(1)
        await anyio.sleep(after_s)  # so that it comes in another import
        process.send_signal(signal.SIGINT)
        said += b"".join([chunk async for chunk in process.stderr])
        code = await process.wait()
    assert b"Traceback" not in said, said
    assert code in {-signal.SIGINT, 130, 1}  # 1: it was through, and said that there are no settings
