"""The real daemon with a second socket, which only reads, and names of its own; and a browser's way to it."""

import grp
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator

import anyio
import httpx
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from support.control import refused
from support.program import Program


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let commands be ended by SIGINT, which those who start tests in the background have ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def at(program: Program, name: str) -> httpx.AsyncClient:
    """Return a client of a socket of the daemon, which asks for `localhost` as `curl --unix-socket` does."""
    transport = httpx.AsyncHTTPTransport(uds=str(program.folder / name))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@pytest.fixture
def program(program: Program) -> Program:
    """An installation with the tenant acme, a socket for colleagues, and a name."""
    program.tenant("acme")
    _configure(program, ["ads.example.com"])
    return program


def _configure(program: Program, hosts: list[str]) -> None:
    lines = program.config.read_text().split("[page]")[0].rstrip()
    page = {"socket": str(program.folder / "page.sock"), "group": grp.getgrgid(os.getgid()).gr_name, "hosts": hosts}
    table = "\n".join(f"{key} = {value!r}" for key, value in page.items())
    program.config.write_text(f"{lines}\n[page]\n{table}\n")


async def is_paused(program: Program) -> bool:
    status = await program.ask("status", "acme")
    return status["paused_since"] is not None


async def test_colleagues_see_what_operators_see_and_command_nothing(program: Program) -> None:
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        found = (program.folder / "page.sock").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getgid())
        async with at(program, "page.sock") as colleague, at(program, "control.sock") as operator:
            seen = [(await one.get("/v1/tenants/acme")).json() for one in (colleague, operator)]
            assert seen[0] == seen[1]
            for path in ("/v1/tenants/acme/pause", "/tenants/acme/pause"):
                answer = await colleague.post(path)
                assert refused(answer, 405)["fix"] == "send commands to control.socket"
                assert answer.headers["allow"] == "GET, HEAD"
            for one, buttons in ((colleague, 0), (operator, 2)):
                shown = await one.get("/tenants/acme", headers={"Accept": "text/html"})
                assert (shown.status_code, shown.text.count('<form method="post"')) == (200, buttons)
        assert not await is_paused(program)
        assert daemon.events("command") == []
    assert not (program.folder / "page.sock").exists()
    assert not (program.folder / "control.sock").exists()


async def test_a_foreign_site_reads_nothing_and_pauses_nobody(program: Program) -> None:
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        async with at(program, "control.sock") as browser:
            pause = "/v1/tenants/acme/pause"
            for headers, status in (
                ({"Host": "evil.example:8090"}, 421),
                ({"Host": "evil.example:8090", "Origin": "http://evil.example:8090"}, 421),
                ({"Host": "localhost:8090", "Origin": "https://evil.example"}, 403),
                ({"Host": "localhost:8090", "Origin": "null"}, 403),
                ({"Host": "localhost:8090", "Sec-Fetch-Site": "cross-site"}, 403),
            ):
                refused(await browser.post(pause, headers=headers), status)
            for path in ("/", "/tenants/acme", "/v1/tenants", "/no/such"):
                assert "acme" not in (await browser.get(path, headers={"Host": "evil.example"})).text
            refused(await browser.post("/tenants/acme/pause", headers={"Origin": "https://evil.example"}), 403)
            assert not await is_paused(program)
            ours = {"Host": "ads.example.com", "Origin": "https://ads.example.com", "Sec-Fetch-Site": "same-origin"}
            assert (await browser.post(pause, headers=ours)).status_code == 200
        assert await is_paused(program)
        assert (await program.run("trigger", "acme")).returncode == 1
        told = [(entry["command"], entry["outcome"], entry.get("error", "")) for entry in daemon.events("command")]
        assert told[0] == ("pause", "done", "")
        assert told[1][:2] == ("trigger", "refused")
        assert "acme is paused" in told[1][2]


@pytest.mark.usefixtures("ctrl_c")
async def test_a_browser_on_this_machine_reaches_the_page_until_ctrl_c(program: Program) -> None:
    command = program._command("page", "--port", "0", "--no-browser")
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        async with program.opened(*command, stderr=subprocess.STDOUT) as process:
            assert process.stdout
            lines = BufferedByteReceiveStream(process.stdout)
            with anyio.fail_after(20):
                address = (await lines.receive_until(b"\n", 999)).decode()
            async with httpx.AsyncClient(base_url=address) as browser:
                assert (await browser.get("v1/tenants")).json()[0]["id"] == "acme"
                refused(await browser.get("v1/tenants", headers={"Host": "evil.example"}), 421)
                pause = "v1/tenants/acme/pause"
                refused(await browser.post(pause, headers={"Origin": "http://127.0.0.1:3000"}), 403)
                assert not await is_paused(program)
                assert (await browser.post(pause, headers={"Origin": address.rstrip("/")})).status_code == 200
                assert await is_paused(program)
                process.send_signal(signal.SIGINT)
                with anyio.fail_after(20):
                    assert await process.wait() == 0
                    said = b"".join([lines.buffer, *[chunk async for chunk in process.stdout]]).decode()
        assert f"ssh -L 8090:{program.folder}/control.sock {socket.gethostname()}" in said
        assert "Traceback" not in said


async def test_where_no_browser_can_come_the_page_says_only_what_helps(program: Program) -> None:
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        plain = await program.run("page")
        program.environ["SSH_CONNECTION"] = "192.0.2.1 50000 192.0.2.2 22"
        remote = await program.run("page")
    for ended, words in ((plain, "This is not a terminal"), (remote, "This is an SSH session")):
        assert ended.returncode == 0
        said = ended.stdout.decode()
        assert said.startswith(words)
        assert f"\n  ssh -L 8090:{program.folder}/control.sock {socket.gethostname()}\n" in said
        assert said.endswith("and open http://127.0.0.1:8090/\n")


async def test_without_a_daemon_there_is_no_page(program: Program) -> None:
    ended = await program.run("page")
    assert ended.returncode == 4
    assert ended.stderr.decode().startswith(f"error: no daemon answers at {program.folder}/control.sock: there is no")


async def test_a_reload_changes_the_names_at_once(program: Program) -> None:
    async with program.daemon() as daemon, at(program, "control.sock") as browser:
        await daemon.logs("run ended")
        for names, status in ((["ops.example.com"], 200), (["ops.example.com", "https://x"], 200), ([], 421)):
            _configure(program, names)
            assert (await program.run("reload")).returncode == (1 if "https://x" in names else 0)
            assert (await browser.get("/v1/health", headers={"Host": "ops.example.com"})).status_code == status
            assert (await browser.get("/v1/health", headers={"Host": "ads.example.com"})).status_code == 421


@pytest.mark.parametrize(("key", "value"), [("socket", "/no/such/page.sock"), ("group", "no-such-group")])
async def test_a_second_socket_that_can_t_be_is_named_and_leaves_nothing_behind(
    program: Program, key: str, value: str
) -> None:
    lines = [line for line in program.config.read_text().splitlines() if not line.startswith(f"{key} =")]
    table = lines.index("[page]")
    program.config.write_text("\n".join([*lines[: table + 1], f'{key} = "{value}"', *lines[table + 1 :]]))
    ended = await program.run("run")
    assert ended.returncode == 78
    assert f"page.{key}: " in ended.stderr.decode()
    assert not list(program.folder.glob("*.sock"))
