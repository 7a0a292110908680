"""What docs/operate.md has to be pasted, pasted: with the real daemon, a platform, OpenBao and databases."""

import json
import os
import re
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adsyncd.demo.collector import Collector
from adsyncd.demo.openbao import OpenBao, openbao_binary
from support import page, web
from support.platform import HEALTHY, Platform, accounts, running_platform
from support.postgres import Postgres, running_postgres
from support.program import Program
from support.vault import real_openbao

PAGE = page.read("operate.md")
EMAIL, PASSWORD = "ads@acme.example", "canary password"
CAMPAIGNS = 5  # fewer requests than the quota of the page's tenant has, so that nothing waits
EXPORTED = {
    "Jaeger": {"traces"},
    "Grafana Tempo": {"traces"},
    "A collector in between": {"traces", "metrics", "logs"},
    "Any backend that takes OTLP": {"traces", "metrics", "logs"},
}


def needed(program: str, package: str) -> None:
    """Where a program that the page uses is not installed, fail under CI and skip elsewhere."""
    if shutil.which(program) is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"no {program} here: apt-get install {package}")


def pasted(heading: str, number: int = 0, language: str = "sh") -> str:
    """Return a block of a section."""
    return page.blocks(page.section(PAGE, heading), language)[number]


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder that stands for a machine; what belongs to systemd and to `make install` does nothing there."""

    folder: Path

    def __post_init__(self) -> None:
        """Make what an installation has, and the commands that are the machine's."""
        for name in ("backups", "bin", "credentials", "etc/tenants.d", "state"):
            (self.folder / name).mkdir(parents=True)
        self.put("adsyncd", f'exec {sys.executable} -m adsyncd "$@"')
        self.put("runuser", 'shift 3; exec "$@"')  # -u adsyncd --
        for name in ("systemctl", "journalctl", "make", "sleep"):
            self.put(name, "exit 0")

    def put(self, name: str, line: str) -> None:
        """Install a command, of one line of shell."""
        command = self.folder / "bin" / name
        command.write_text(f"#!/bin/sh\n{line}\n")
        command.chmod(0o755)

    @property
    def service(self) -> Program:
        """What systemd would start."""
        return Program(self.folder / "etc", {**self._places, "CREDENTIALS_DIRECTORY": f"{self.folder}/credentials"})

    async def paste(self, block: str, stdin: bytes = b"") -> str:
        """Execute a block in a shell that the page has prepared; return what it prints. Each command has to succeed."""
        [function] = page.blocks(PAGE.partition("## Install")[0], "sh")
        script = f"set -euo pipefail\n{self.at_home(function + block)}"
        environ = {"HOME": str(self.folder), "PATH": f"{self.folder}/bin:{os.environ['PATH']}", **self._places}
        with anyio.fail_after(90):
            done = await anyio.run_process(["bash", "-c", script], input=stdin, env=environ, check=False)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        return done.stdout.decode()

    def at_home(self, text: str) -> str:
        """Return a text with the folder's places in it."""
        for place, here in {
            "/usr/local/bin": "bin",
            "/run/credentials/adsyncd.service": "credentials",
            "/run/adsyncd": "etc",
            "/var/lib/adsyncd": "state",
            "/var/backups": "backups",
            "/etc/credstore": "credstore",
            "/etc/adsyncd": "etc",
        }.items():
            text = text.replace(place, f"{self.folder}/{here}")
        return text.replace(" -o adsyncd -g adsyncd", "")

    @property
    def _places(self) -> dict[str, str]:
        return {
            "ADSYNCD_CONFIG": f"{self.folder}/etc/adsyncd.toml",
            "ADSYNCD_TENANTS_DIRS": json.dumps([f"{self.folder}/etc/tenants.d"]),
            "ADSYNCD_STORE__URL": f"sqlite:///{self.folder}/state/adsyncd.db",
            "ADSYNCD_CONTROL__SOCKET": f"{self.folder}/etc/control.sock",
        }


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[Platform]:
    everyone = {**HEALTHY, "campaigns": CAMPAIGNS, "push_hang": 0}
    account = {EMAIL: {"password": PASSWORD, "clients": ["acme"]}, **accounts("globex")}
    globex = {"campaigns": 8, "quota_requests": 4, "quota_window_s": 1}
    async with running_platform({"accounts": account, "everyone": everyone, "clients": {"globex": globex}}) as running:
        yield running


@pytest.fixture(scope="module")
async def bare_openbao() -> AsyncIterator[OpenBao]:
    """An OpenBao in which nothing has been set up."""
    async with real_openbao() as server:
        await server.ask("DELETE", "sys/mounts/secret")
        await server.ask("DELETE", "sys/auth/approle")
        yield server


@pytest.fixture(scope="module")
async def machine(
    tmp_path_factory: pytest.TempPathFactory, bare_openbao: OpenBao, platform: Platform
) -> AsyncIterator[Machine]:
    """A machine on which the page has been followed up to the first run of its tenant, and the daemon goes on."""
    machine = Machine(tmp_path_factory.mktemp("operate"))
    token = bare_openbao.root_token.get_secret_value()
    machine.put("vault", f'VAULT_ADDR={bare_openbao.address} VAULT_TOKEN={token} exec {openbao_binary()} "$@"')

    printed = await machine.paste(pasted("1. Vault"))
    [role_id] = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", printed)
    await machine.paste(pasted("1. Vault", 1), f"{PASSWORD}\n".encode())
    secret_id = machine.folder / "credstore" / "adsyncd.vault-secret-id"
    assert stat.S_IMODE(secret_id.stat().st_mode) == 0o600
    shutil.copy(secret_id, machine.folder / "credentials" / "vault-secret-id")  # LoadCredential=

    settings = pasted("2. Settings", language="toml").replace('role_id = "..."', f'role_id = "{role_id}"')
    here = {"https://vault.internal:8200": bare_openbao.address, "https://ads.example.com": platform.base_url}
    for elsewhere, address in here.items():
        assert elsewhere in settings
        settings = settings.replace(elsewhere, address)
    (machine.folder / "etc" / "adsyncd.toml").write_text(settings)
    (machine.folder / "etc" / "tenants.d" / "acme.toml").write_text(pasted("3. The drop-in", language="toml"))

    async with machine.service.daemon() as daemon:
        await daemon.logs("run ended")
        yield machine


@pytest.fixture(scope="module")
async def backup(machine: Machine) -> Path:
    """A copy of its database, which was made and read as the page says."""
    needed("sqlite3", "sqlite3")
    read = await machine.paste(pasted("Backup and restore"))
    assert (await run_of_acme(machine.service))["trace_id"] in read
    made = machine.folder / "backups" / "adsyncd.db"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    return made


async def run_of_acme(program: Program) -> dict[str, Any]:
    return (await program.runs())["acme"]


async def until_idle(program: Program) -> None:
    """Return once no run of acme is in progress: its next fire time may have come since the first run."""
    with anyio.fail_after(120):
        while b"acme is idle" not in (await program.run("status", "acme")).stdout:  # noqa: ASYNC110 - another process
            await anyio.sleep(0.5)


async def test_the_first_tenant_is_synced_by_what_is_pasted(machine: Machine) -> None:
    run = await run_of_acme(machine.service)
    assert (run["outcome"], run["pushed"]) == ("succeeded", CAMPAIGNS)
    await until_idle(machine.service)
    shown = await machine.paste(pasted("4. Start"))
    assert "1 tenant ready, 0 problems" in shown
    assert "acme is idle until" in shown
    assert run["trace_id"] in shown


async def test_the_policy_lets_the_daemon_read_its_tenants_and_nothing_else(
    machine: Machine, bare_openbao: OpenBao
) -> None:
    [written] = re.findall(r"<<'POLICY'\n(.*?)POLICY", pasted("1. Vault"), re.DOTALL)
    kept = await bare_openbao.ask("GET", "sys/policies/acl/adsyncd")
    assert kept["data"]["policy"] == written
    assert re.findall(r'"secret/(\w+)/adsyncd/\*" +\{ capabilities = \["read"\] \}', written) == ["data", "metadata"]
    assert "Vault" not in await machine.paste("adsyncd status")  # it can read versions, too, and nothing is wrong


@pytest.mark.usefixtures("machine")
async def test_the_password_is_what_was_typed(bare_openbao: OpenBao) -> None:
    kept = await bare_openbao.ask("GET", "secret/data/adsyncd/acme")
    assert kept["data"]["data"] == {"email": EMAIL, "password": PASSWORD}


@pytest.mark.parametrize("heading", ["What is wrong?", "Upgrade and go back"])
async def test_the_first_look_and_an_upgrade_work_while_the_daemon_runs(machine: Machine, heading: str) -> None:
    await until_idle(machine.service)
    shown = await machine.paste(pasted(heading))
    assert "store: SQLite finds it intact" in shown
    assert re.search(r"^acme +idle", shown, re.MULTILINE)


async def test_a_monitor_can_ask_the_control_socket(machine: Machine) -> None:
    needed("curl", "curl")
    assert json.loads(await machine.paste(pasted("What is wrong?", 1)))["status"] == "ok"


@pytest.mark.parametrize(
    ("heading", "copy"),
    [("Backup and restore", "backups/adsyncd.db"), ("Upgrade and go back", "state/adsyncd.db.schema-0001")],
)
async def test_a_copy_that_was_made_while_the_daemon_ran_can_be_put_back(
    machine: Machine, backup: Path, tmp_path: Path, heading: str, copy: str
) -> None:
    other = Machine(tmp_path / "other")
    for file in ("adsyncd.toml", "tenants.d/acme.toml"):
        shutil.copy(machine.folder / "etc" / file, other.folder / "etc" / file)
    shutil.copy(backup, other.folder / copy)
    for name in ("adsyncd.db", "adsyncd.db-wal", "adsyncd.db-shm"):
        (other.folder / "state" / name).write_text("of what went on after the backup")
    await other.paste(pasted(heading, 1))
    assert "store: SQLite finds it intact" in await other.paste("adsyncd check --store")
    assert await run_of_acme(other.service) == await run_of_acme(machine.service)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def globex(tmp_path: Path, platform: Platform) -> Program:
    """An installation with a tenant whose quota makes it wait."""
    program = Program(tmp_path, {"GLOBEX_EMAIL": "globex@example.com", "GLOBEX_PASSWORD": "pw-globex"})
    program.settings(platform.base_url)
    program.tenant("globex", quota={"requests": 4, "per": "1s"})
    return program


async def test_a_dump_of_postgresql_is_restored_to_an_empty_database(globex: Program, postgres: Postgres) -> None:
    needed("pg_dump", "postgresql-client")
    dump, restore = pasted("Backup and restore", 2).splitlines()
    with postgres.database() as one, postgres.database() as other:
        urls = [place.render_as_string(hide_password=False) for place in (one, other)]
        globex.environ["ADSYNCD_STORE__URL"] = urls[0].replace("://", "+psycopg://")
        assert (await globex.run("sync", "globex")).returncode == 0
        before = await globex.runs()
        for line, url in zip((dump, restore), urls, strict=True):
            here = line.replace("/var/backups", str(globex.folder)).replace(
                "postgresql://adsyncd@db.internal/adsyncd", url
            )
            await anyio.run_process(["bash", "-c", here])
        globex.environ["ADSYNCD_STORE__URL"] = urls[1].replace("://", "+psycopg://")
        assert await globex.runs() == before
        assert (await globex.run("check", "--store")).returncode == 0


@dataclass(frozen=True, slots=True)
class Backend:
    """A tracing backend: what it was sent, and the headers of that by signal."""

    address: str
    collector: Collector
    headers: dict[str, dict[str, str]]


@asynccontextmanager
async def running_backend() -> AsyncIterator[Backend]:
    collector = Collector("")
    headers: dict[str, dict[str, str]] = {}

    async def receive(request: Request) -> Response:
        headers[request.path_params["signal"]] = dict(request.headers)
        return await collector.receive(request)

    async with web.serving(Starlette(routes=[Route("/v1/{signal}", receive, methods=["POST"])])) as address:
        yield Backend(address, collector, headers)


@asynccontextmanager
async def exporting(globex: Program, heading: str) -> AsyncIterator[Backend]:
    """Have the daemon run the tenant once with the section's variables, but to a backend here."""
    async with running_backend() as backend:
        for line in pasted(heading, language="ini").splitlines():
            name, _, value = line.partition("=")
            globex.environ[name] = re.sub(r"^https?://[^/]+", backend.address, value)
        async with globex.daemon() as daemon:
            await daemon.logs("run ended")
        assert "telemetry" not in daemon.log.read_text()
        yield backend


@pytest.mark.parametrize("heading", EXPORTED)
async def test_the_variables_of_each_backend_make_it_receive_what_it_takes(globex: Program, heading: str) -> None:
    async with exporting(globex, heading) as backend:
        assert backend.headers.keys() == EXPORTED[heading]
        assert backend.collector.spans
        headers = backend.headers["traces"]
        resource = backend.collector.spans[0].resource
        assert resource["service.name"] == "adsyncd"
        assert headers.get("authorization") == ("Bearer KEY" if heading == "Any backend that takes OTLP" else None)
        assert headers.get("x-scope-orgid") == ("ads" if heading == "Grafana Tempo" else None)
        assert resource.get("deployment.environment.name") == (
            "production" if heading == "A collector in between" else None
        )


NOT_HERE = {"adsyncd.run.resumed_from"}  # the tenant's one run is not resumed


async def test_what_queries_ask_for_is_on_the_spans_that_they_name(globex: Program) -> None:
    async with exporting(globex, "Jaeger") as backend:
        spans = backend.collector.spans
    table = page.rows(page.section(PAGE, "Find things"), "to find")
    clauses = [clause for _, traceql, _ in table for clause in re.findall(r"\{ name = (.*?) \}", traceql)]
    assert len(clauses) >= len(table)
    for clause in clauses:
        name = clause.split('"')[1]
        asked = set(re.findall(r"span\.([a-z_.]+)", clause)) - NOT_HERE
        assert any(span.name == name and asked <= span.attributes.keys() for span in spans), clause
    for _, _, jaeger in table:
        name, tag = jaeger.replace("`", "").split(": ")
        asked = {one.partition("=")[0] for one in tag.split(" ")} - {"error"} - NOT_HERE
        assert any(span.name == name and asked <= span.attributes.keys() for span in spans), jaeger
