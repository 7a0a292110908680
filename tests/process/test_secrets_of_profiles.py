"""Canaries in the place of the secrets that a profile names: they get nowhere but where they belong.

The platform sends back what it was sent: in errors, in keys, in cursors and links, and in redirects.
"""

import json
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from support.canaries import Collector, files, forms
from support.program import Program
from support.web import serving

CANARIES = {
    "client_id": "canary-client",
    "client_secret": "canary secret/+&",
    "refresh_token": "1//canary-refresh",
    "app_key": "canary-app-key",
}
TOKEN = "canary-token"
PROFILE = """
[sign_in]
url = "/oauth/token/{account}"
form = { id = "{secret.client_id}", secret = "{secret.client_secret}", refresh = "{secret.refresh_token}" }

[headers]
X-App = "{secret.app_key}"
X-Account = "{account}"

[list]
path = "/v1/campaigns"
records = "data"

[list.paging]
kind = "cursor"
param = "after"
next = "next"

[fields]
id = "id"

[expect]
path = "code"
values = [0]
"""
WORDS = {
    "sign-in-error": "the platform refused client_id, client_secret and refresh_token; fix them",
    "sign-in-keys": "sign-in: access_token leads to nothing; it has no keys that may be shown",
    "sign-in-away": "a redirect to another host, which is not followed",
    "list-error": "the platform answered 200, but its code is not what the profile",
    "list-keys": "answer: data leads to nothing; it has no keys that may be shown",
    "cursor": "next repeats a secret, which must not be sent in an address or stored",
    "refused": "the platform answered 401 to a token that it had just issued",
}


async def hostile(request: Request) -> Response:
    if request.url.path.startswith("/oauth"):
        kind = request.url.path.rpartition("/")[2]
        form = (await request.body()).decode()
        sent = {name: values[0] for name, values in parse_qs(form).items()}
        assert set(sent.values()) == set(CANARIES.values()) - {CANARIES["app_key"]}
        return {
            "sign-in-error": JSONResponse({"error": "invalid_grant", "error_description": form, **sent}, 400),
            "sign-in-keys": JSONResponse(dict.fromkeys(sent.values(), 1)),
            "sign-in-away": Response(None, 307, {"Location": f"https://{sent['id']}.invalid/?{form}"}),
        }.get(kind) or JSONResponse({"access_token": f"{TOKEN}-{kind}"})
    kind, app = request.headers["x-account"], request.headers["x-app"]
    assert app == CANARIES["app_key"]
    token = request.headers["authorization"].removeprefix("Bearer ")
    page = {"code": 0, "data": [{"id": "cmp-1"}], "next": None}
    return {
        "list-error": JSONResponse({"code": 7, "message": f"{app} may not", "error": token}),
        "list-keys": JSONResponse({"code": 0, token: 1, app: 2}),
        "cursor": JSONResponse(page | {"next": f"x{token}"}),
        "refused": JSONResponse({"error": token, "message": app}, 401),
        "good": JSONResponse(page),
    }[kind]


@pytest.fixture(scope="module")
async def left(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[dict[str, bytes], dict[str, object]]]:
    """Run all tenants once; yield what is left behind, by place, and each run's error."""
    folder, collector = tmp_path_factory.mktemp("profiles"), Collector()
    profile = folder / "hostile.toml"
    profile.write_text(PROFILE)
    profile.chmod(0o600)
    app = Starlette(routes=[Route("/{path:path}", hostile, methods=["GET", "POST"])])
    async with serving(app) as enemy, serving(collector.app) as endpoint:
        environ = {f"TENANT_{name.upper()}": value for name, value in CANARIES.items()}
        program = Program(folder, environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
        program.settings(
            platforms={"enemy": {"base_url": enemy, "profile": str(profile)}},
            defaults={"quota": {"requests": 1000, "per": "60s"}, "sync": {"max_attempts": 2}},
        )
        for tenant in (*WORDS, "good"):
            program.tenant(tenant, platform="enemy", credentials={"env": "TENANT"})
        async with program.daemon("--log-level", "debug") as daemon:
            await daemon.logs("run ended", len(WORDS) + 1)
            status = await program.run("status", "--json")
            probe = await program.run("probe", "cursor")
        runs = await program.run("runs", "--limit", "99", "--json")
        places = {
            "database": b"".join(files(folder).values()),
            "log": daemon.log.read_bytes(),
            "status": status.stdout + status.stderr,
            "probe": probe.stdout + probe.stderr,
            "runs": runs.stdout + runs.stderr,
            **collector.bodies,
        }
        yield places, {run["tenant"]: run["error"] for run in json.loads(runs.stdout)}


async def test_no_secret_is_found_anywhere(left: tuple[dict[str, bytes], dict[str, object]]) -> None:
    places, errors = left
    for place, content in places.items():
        assert content, place
        for secret in (*CANARIES.values(), TOKEN):
            assert [form for form in forms(secret) if form in content] == [], place
    assert {"traces", "metrics", "logs"} <= places.keys()
    assert errors.keys() == {*WORDS, "good"}


async def test_each_run_came_as_far_as_the_answer_that_it_is_about(
    left: tuple[dict[str, bytes], dict[str, object]],
) -> None:
    _, errors = left
    assert errors.pop("good") is None
    for tenant, error in errors.items():
        assert error is not None, tenant
        assert WORDS[tenant] in str(error), tenant
