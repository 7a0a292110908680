"""Canaries in the place of secrets: whatever happens, at the most talkative, they get nowhere but where they belong."""

import base64
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adsyncd import daemon
from adsyncd.clock import SystemClock
from adsyncd.config import load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.model.run import Tally
from adsyncd.platforms import sign_in
from adsyncd.platforms.reading import Reader
from support.canaries import Collector, files, forms
from support.logging_state import restored_logging
from support.otlp import otel_environ
from support.platform import HEALTHY, running_platform
from support.program import Program
from support.vault import real_openbao, wrapped_secret_id
from support.web import serving

PASSWORD = "canary-password"
TOKEN = "canary-token"
MOCK_TOKEN = "mock-token-"
VAULT_TOKEN = "canary-vault-token"
VAULT_TOKEN_OF_A_ROLE = rb"\bs\.[A-Za-z0-9]{24}"  # the wrapping tokens, too
# What secret ids look like, also those that nobody sees. Version 5 is what idempotency keys are.
UUID = rb"([0-9a-f]{8}-[0-9a-f]{4}-(?!5)[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"

# What is wrong with what the mock platform answers a tenant.
MOCK: Mapping[str, Mapping[str, str]] = {
    "good": {},
    "wrong-password": {},
    "foreign": {},
    "malformed": {"fault": "malformed"},
    "wrong-types": {"fault": "wrong-types"},
    "html": {"fault": "html"},
    "hanging": {"fault": "hang"},
    "dropping": {"fault": "drop"},
    "unauthorized": {"fault": "unauthorized"},
}
BROKER = """
path "auth/approle/role/adsyncd-brokered/role-id"   { capabilities = ["read"] }
path "auth/approle/role/adsyncd-brokered/secret-id" { capabilities = ["update"] }
"""
WELL = ("good", "unauthorized", "brokered")
# Where the hostile platform puts what it was sent in secret.
HOSTILE = (
    *("echo", "echo-401", "echo-sign-in", "echo-header", "echo-json", "redirect", "redirect-host"),
    *("echo-password", "echo-basic", "echo-tail"),
)
SICK = [*(tenant for tenant in MOCK if tenant not in WELL), *HOSTILE, "refused", "sealed"]


async def hostile(request: Request) -> Response:
    kind, sent = request.headers["x-client-id"], request.headers["authorization"].rpartition(" ")[2]
    if request.url.path == "/auth/token":
        if kind == "echo-sign-in":
            account = base64.b64decode(sent).decode()
            return JSONResponse({"error": sent, "message": f"{account} is not welcome"}, 400)
        return JSONResponse({"access_token": f"{TOKEN}-{kind}", "expires_in": 3600})
    password = f"{PASSWORD}-{kind}"
    basic = base64.b64encode(f"{kind}@example.com:{password}".encode()).decode()
    return {
        "echo-password": JSONResponse({"error": f"the password {password} has expired"}, 422),
        "echo-basic": JSONResponse({"error": {"message": f"not {basic}"}}, 503),
        "echo-tail": JSONResponse({"message": f"the token that ends in {sent[-10:]}"}, 403),
        "echo": JSONResponse({"error": "unwelcome", "message": f"Bearer {sent}"}, 422),
        "echo-401": JSONResponse({"error": sent}, 401, {"WWW-Authenticate": f'Bearer error="{sent}"'}),
        "echo-header": Response(sent, headers=dict.fromkeys(("Content-Encoding", "Content-Type", "Retry-After"), sent)),
        "echo-json": JSONResponse({sent: sent, "data": [{"id": 1, sent: sent}, sent], "pagination": sent}),
        "redirect": Response(None, 307, {"Location": f"https://elsewhere.invalid/?access_token={sent}"}),
        "redirect-host": Response(None, 307, {"Location": f"https://user:{sent}@{sent}.invalid/{sent}"}),
    }[kind]


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What the daemons left behind: bytes by place, and the runs."""

    places: Mapping[str, bytes]
    runs: Mapping[str, Mapping[str, Any]]
    secret_ids: tuple[str, str]  # one as it is, and a token that one was wrapped in


@pytest.fixture(scope="module")
async def aftermath(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Aftermath]:
    """Run all tenants but two in a daemon that signs in to Vault by AppRole.

    One of them is read as a role of its own, by a daemon whose secret id is wrapped, one where Vault is sealed.
    """
    folder = tmp_path_factory.mktemp("secrets")
    collector = Collector()
    async with AsyncExitStack() as stack:
        vault = await stack.enter_async_context(real_openbao())
        platform = await stack.enter_async_context(running_platform(mock_settings()))
        catch_all = Route("/{path:path}", hostile, methods=["GET", "POST"])
        enemy = await stack.enter_async_context(serving(Starlette(routes=[catch_all])))
        endpoint = await stack.enter_async_context(serving(collector.app))
        role = await vault.put_role("adsyncd", "adsyncd/*")
        await vault.ask("POST", "auth/token/create", {"id": VAULT_TOKEN, "policies": ["adsyncd"]})
        secret_id = role.secret_id.get_secret_value()
        broker = await vault.put_role("broker", "nothing")
        await vault.ask("PUT", "sys/policies/acl/broker", {"policy": BROKER})
        await vault.put_role("adsyncd-brokered", "adsyncd/brokered")
        wrapping_token = (await wrapped_secret_id(vault, "broker", "10m")).get_secret_value()
        program = Program(
            folder,
            {
                "ROLE": secret_id,
                "WRAPPED": wrapping_token,
                "TOKEN": VAULT_TOKEN,
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            },
        )

        def settings(auth: Mapping[str, Any]) -> None:
            addresses = {"mixo": platform.base_url, "enemy": enemy, "nobody": "http://127.0.0.1:9"}
            program.settings(
                vault={"address": vault.address, "auth": auth},
                platforms={name: {"base_url": address} for name, address in addresses.items()},
                defaults={"quota": {"requests": 1000, "per": "60s"}, "sync": {"timeout": "500ms", "max_attempts": 2}},
            )

        for tenant in [*MOCK, *HOSTILE, "refused"]:
            password = "canary-password-wrong" if tenant == "wrong-password" else f"{PASSWORD}-{tenant}"
            await vault.put_secret(f"adsyncd/{tenant}", {"email": f"{tenant}@example.com", "password": password})
            where = "enemy" if tenant in HOSTILE else "nobody" if tenant == "refused" else "mixo"
            sync = {"max_attempts": 10} if tenant == "unauthorized" else {}
            program.tenant(tenant, platform=where, credentials={"vault": f"adsyncd/{tenant}"}, sync=sync)
        settings({"method": "approle", "role_id": role.role_id, "secret_id": {"env": "ROLE"}})
        async with program.daemon("--log-level", "debug") as first:
            await first.logs("run ended", len(SICK) + 1)
            cmdline = Path(f"/proc/{first.process.pid}/cmdline").read_bytes()  # noqa: ASYNC240 - no disk
            asked = await program.run("status", "--json")
            database = files(folder)
            assert database.keys() == {"adsyncd.db", "adsyncd.db-wal", "adsyncd.db-shm"}
        content = {"email": "brokered@example.com", "password": f"{PASSWORD}-brokered"}
        await vault.put_secret("adsyncd/brokered", content)
        program.tenant("brokered", credentials={"vault": "adsyncd/brokered"}, auth={"role": "adsyncd-brokered"})
        settings({"method": "approle", "role_id": broker.role_id, "secret_id": {"env": "WRAPPED", "wrapped": True}})
        async with program.daemon("--log-level", "debug") as third:
            await third.logs("run ended", len(SICK) + 2)
        await vault.seal()
        settings({"method": "token", "token": {"env": "TOKEN"}})
        program.tenant("sealed", credentials={"vault": "adsyncd/sealed"})
        async with program.daemon("--log-level", "debug") as second:
            await second.logs("run ended", len(SICK) + 3)
        shown = [await program.run("runs", *options) for options in (("--limit", "99"), ("--limit", "99", "--json"))]
        checked = await program.run("check")
        yield Aftermath(
            {
                "command line": cmdline,
                "database": b"".join([*database.values(), *files(folder).values()]),
                "log": first.log.read_bytes(),
                "runs": b"".join(run.stdout + run.stderr for run in shown),
                "check": checked.stdout + checked.stderr,
                "status": asked.stdout + asked.stderr,
                **collector.bodies,
            },
            {run["tenant"]: run for run in json.loads(shown[1].stdout)},
            (secret_id, wrapping_token),
        )


def mock_settings() -> Mapping[str, Any]:
    return {
        "everyone": {**HEALTHY, "campaigns": 5},
        "accounts": {
            f"{tenant}@example.com": {
                "password": f"{PASSWORD}-{tenant}",
                "clients": [] if tenant == "foreign" else [tenant],
            }
            for tenant in (*MOCK, "brokered")
        },
        "clients": MOCK,
    }


async def test_no_secret_is_found_anywhere(aftermath: Aftermath) -> None:
    for secret in (PASSWORD, TOKEN, MOCK_TOKEN, VAULT_TOKEN, *aftermath.secret_ids):
        for place, content in aftermath.places.items():
            assert [form for form in forms(secret) if form in content] == [], place
    for place, content in aftermath.places.items():
        assert re.findall(VAULT_TOKEN_OF_A_ROLE, content) == [], place
        known = {SystemClock().boot_id.encode(), *re.findall(rb"service\.instance\.id(?s:.){2,8}?" + UUID, content)}
        assert set(re.findall(UUID, content)) <= known, place


async def test_the_search_looked_at_what_happened(aftermath: Aftermath) -> None:
    everywhere = {"command line", "database", "log", "runs", "check", "status", "traces", "metrics", "logs"}
    assert aftermath.places.keys() == everywhere
    for place in everywhere - {"command line", "check", "status"}:
        for tenant in aftermath.runs:
            assert tenant.encode() in aftermath.places[place], place
    assert b"adsyncd" in aftermath.places["command line"]
    assert b"ready" in aftermath.places["check"]
    for tenant in ("good", *HOSTILE):
        assert f'"id": "{tenant}"'.encode() in aftermath.places["status"]


async def test_each_run_came_as_far_as_the_secret_that_it_is_about(aftermath: Aftermath) -> None:
    outcomes = {tenant: run["outcome"] for tenant, run in aftermath.runs.items()}
    assert outcomes == {**dict.fromkeys(SICK, "failed"), **dict.fromkeys(WELL, "succeeded")}
    errors = {tenant: run["error"] for tenant, run in aftermath.runs.items()}
    for tenant, words in {
        "wrong-password": "the platform refused email and password",
        "foreign": "the platform answered 403: Forbidden this account may not act for this client id",
        "echo": "the platform answered 422",
        "echo-401": "the platform answered 401 to a token that it had just issued",
        "echo-sign-in": "the platform answered 400 to the sign-in",
        "redirect": "the platform answered 307, a redirect to elsewhere.invalid, which is not followed",
        "redirect-host": "the platform answered 307, a redirect to another host, which is not followed",
        "sealed": "is sealed or in maintenance; unseal it",
    }.items():
        assert words in errors[tenant]
    assert errors["echo-password"] == "the platform answered 422"
    assert errors["echo-basic"] == "the platform answered 503"
    assert errors["echo-tail"] == "the platform answered 403"


@pytest.mark.parametrize("before", ["", "a", "ab"])
async def test_the_search_finds_a_secret_in_base64_wherever_it_stands(before: str) -> None:
    encoded = base64.b64encode(f"{before}{PASSWORD}-1".encode())
    assert [form for form in forms(PASSWORD) if form in encoded]


@pytest.mark.parametrize(("module", "where"), [(sign_in, "read_token"), (Reader, "read")])
async def test_the_traceback_of_a_mistake_of_ours_shows_no_values(
    module: ModuleType | type,
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def mistaken(*arguments: object) -> None:
        token = next(str(content) for content in arguments if isinstance(content, bytes | dict))
        raise RuntimeError(f"a mistake with {len(token)} characters")

    monkeypatch.setattr(module, where, mistaken)
    collector = Collector()
    account = {"good@example.com": {"password": PASSWORD, "clients": ["good"]}}
    async with (
        running_platform({"everyone": HEALTHY, "accounts": account}) as platform,
        serving(collector.app) as endpoint,
    ):
        program = Program(tmp_path)
        program.settings(platform.base_url)
        program.tenant("good", credentials={"env": "GOOD"})
        settings = load_settings(program.config, {})
        with (
            otel_environ(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, GOOD_EMAIL="good@example.com", GOOD_PASSWORD=PASSWORD),
            restored_logging(),
        ):
            async with daemon.open_parts(settings, os.environ, "debug") as parts:
                run = await daemon.sync_once(parts, read_tenants(settings).good["good"], Tally())
    assert run.error == "internal error: see the log"
    log = capsys.readouterr().err.encode()
    for content in (log, collector.bodies["logs"]):
        assert b"Traceback" in content
        assert b"a mistake with" in content
    for content in (log, *collector.bodies.values()):
        assert [form for secret in (PASSWORD, MOCK_TOKEN) for form in forms(secret) if form in content] == []
