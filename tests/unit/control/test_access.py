"""Hostile and honest requests to the layer that decides about access, and to the API behind it."""

from collections.abc import Mapping
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Scope

from adsyncd.control.access import OWN_HOSTS, Access, reads_only, refusal
from support.control import Inside, refused

HOSTS = OWN_HOSTS | {"ads.example.com", "[2001:db8::7]"}
KEPT_OUT = (
    "evil.example",
    "localhost.evil.example",
    "evil.example.localhost",
    "evillocalhost",
    "ads.example.com.evil.example",
    "evil.ads.example.com",
    "127.0.0.1.evil.example",
    "127.0.0.2",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0.0.0.0",
    "[::]",
    "[::2]",
    "[::ffff:127.0.0.1]",
    "localhost..",
    "localhost,evil.example",
    "%6cocalhost",
    "",
    ":8090",
    ".",
    "x" * 5000,
)


def judged(method: str = "GET", reads_only: bool = False, **headers: str) -> int | None:
    """Return the status with which a request is refused, or None."""
    fields = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    found = refusal(method, "/v1/status", fields, HOSTS, reads_only)
    return None if found is None else found.status


@pytest.mark.parametrize("port", ["", ":", ":80", ":8090", ":65535"])
@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "LocalHost",
        "localhost.",
        "127.0.0.1",
        "[::1]",
        "[0:0::1]",
        "adsyncd",
        "ads.example.com",
        "[2001:DB8::7]",
    ],
)
def test_each_of_our_names_is_let_in_with_any_port(name: str, port: str) -> None:
    assert judged(host=name + port) is None
    assert judged("POST", host=name + port) is None


@pytest.mark.parametrize("host", KEPT_OUT)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PUT"])
def test_another_name_is_misdirected(method: str, host: str) -> None:
    assert judged(method, host=host) == 421
    assert judged(method, reads_only=True, host=host) == 421


@pytest.mark.parametrize(
    "host", ["user@localhost", "localhost:x", "localhost:99999", "::1", "local host", "localhost/"]
)
def test_what_is_no_host_is_a_bad_request(host: str) -> None:
    assert judged(host=host) == 400


def test_a_request_has_exactly_one_host() -> None:
    two = Headers(raw=[(b"host", b"localhost"), (b"host", b"localhost")])
    for headers in (Headers(), two):
        found = refusal("GET", "/", headers, HOSTS, reads_only=False)
        assert found is not None
        assert found.status == 400


def test_a_name_that_a_proxy_forwards_is_not_trusted() -> None:
    assert judged(host="evil.example", x_forwarded_host="localhost", forwarded="host=localhost") == 421


SAME_ORIGIN = (
    ("localhost:8090", "http://localhost:8090"),
    ("LOCALHOST.:8090", "http://localhost:8090"),
    ("127.0.0.1:8090", "http://127.0.0.1:8090"),
    ("[::1]:8090", "http://[::1]:8090"),
    ("ads.example.com", "https://ads.example.com"),
    ("ads.example.com:443", "https://ads.example.com"),
    ("ads.example.com", "https://ads.example.com:443"),
    ("ads.example.com", "http://ads.example.com"),
    ("ads.example.com:8443", "https://ads.example.com:8443"),
)
CROSS_ORIGIN = (
    ("localhost:8090", "null"),
    ("localhost:8090", ""),
    ("localhost:8090", "https://evil.example"),
    ("localhost:8090", "http://localhost"),
    ("localhost:8090", "http://localhost:8091"),
    ("localhost:8090", "http://localhost:8090.evil.example"),
    ("localhost:8090", "http://evil.example/localhost:8090"),
    ("localhost:8090", "http://localhost:8090/"),
    ("localhost:8090", "http://localhost:8090@evil.example"),
    ("localhost:8090", "http://evil.example@localhost:8090"),
    ("localhost:8090", "http://127.0.0.1:8090"),
    ("localhost:8090", "localhost:8090"),
    ("localhost:8090", "//localhost:8090"),
    ("localhost:8090", "HTTP://localhost:8090"),  # browsers send it in lower case
    ("localhost:8090", "file://"),
    ("localhost:8090", "chrome-extension://localhost:8090"),
    ("localhost:8090", "http://localhost:8090 https://evil.example"),
    ("localhost:8090", "http://localhost:8090\thttps://evil.example"),
    ("ads.example.com", "https://ads.example.com:8443"),
    ("ads.example.com:443", "http://ads.example.com"),
    ("ads.example.com:0", "https://ads.example.com"),
    ("ads.example.com", "https://ads.example.com:0"),
    ("ads.example.com", "https://evil.ads.example.com"),
)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "TRACE", "ANY"])
@pytest.mark.parametrize(("host", "origin"), CROSS_ORIGIN)
def test_a_foreign_page_changes_nothing(method: str, host: str, origin: str) -> None:
    assert judged(method, host=host, origin=origin) == 403
    assert judged("GET", host=host, origin=origin) is None  # it can't read the answer


@pytest.mark.parametrize(("host", "origin"), SAME_ORIGIN)
def test_our_own_page_may(host: str, origin: str) -> None:
    assert judged("POST", host=host, origin=origin, sec_fetch_site="same-origin") is None


@pytest.mark.parametrize(
    ("site", "status"),
    [("same-origin", None), ("none", None), ("same-site", 403), ("cross-site", 403), ("", 403), ("None", 403)],
)
def test_a_browser_says_by_which_site_it_was_led_here(site: str, status: int | None) -> None:
    assert judged("POST", host="localhost", sec_fetch_site=site) == status
    assert judged("GET", host="localhost", sec_fetch_site=site) is None  # such as a link in a chat


def test_of_several_origins_or_sites_each_counts() -> None:
    for name, ours, theirs in (("origin", "http://localhost", "null"), ("sec-fetch-site", "none", "cross-site")):
        for values in ((ours, theirs), (theirs, ours)):
            fields = [(name.encode(), value.encode()) for value in values]
            assert refusal("POST", "/", Headers(raw=[(b"host", b"localhost"), *fields]), HOSTS, reads_only=False)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "head", "TRACE"])
def test_a_socket_that_reads_only_takes_no_other_method(method: str) -> None:
    assert judged(method, reads_only=True, host="localhost") == 405
    assert judged("GET", reads_only=True, host="localhost") is None
    assert judged("HEAD", reads_only=True, host="localhost") is None


@given(
    st.sampled_from(["GET", "POST"]),
    st.one_of(st.text(max_size=20), st.sampled_from(KEPT_OUT), st.sampled_from(sorted(HOSTS))),
    st.one_of(st.none(), st.text(max_size=20), st.sampled_from([origin for _, origin in CROSS_ORIGIN + SAME_ORIGIN])),
)
def test_what_gets_through_names_one_of_our_hosts_and_no_foreign_origin(method: str, host: str, origin: str) -> None:
    fields = {"host": host} if origin is None else {"host": host, "origin": origin}
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in fields.items()]
    if refusal(method, "/", Headers(raw=raw), HOSTS, reads_only=False) is None:
        bare = host.lower().split("]")[0] + "]" if host.startswith("[") else host.lower().split(":")[0].rstrip(".")
        assert bare in HOSTS | {"[0:0::1]"}
        assert method == "GET" or origin is None or bare in origin.lower()


# As an application


async def tell_kind(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.method} {request.url} {'reads' if reads_only(request) else 'commands'}")


BEHIND = Starlette(routes=[Route("/", tell_kind, methods=["GET", "POST"]), Route("/v1/x", tell_kind)])


async def sent(
    app: Access, method: str = "GET", target: str = "/", headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """Send a request as uvicorn would hand it over: with any target, which no client library sends."""
    fields = {"host": "localhost", **{name.lower(): value for name, value in (headers or {}).items()}}
    scope: Scope = {
        "type": "http",
        "method": method,
        "path": unquote(target),
        "raw_path": target.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
    }
    said = list[Message]()

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        said.append(message)

    await app(scope, receive, send)
    start, *rest = said
    return httpx.Response(start["status"], headers=start["headers"], content=b"".join(one["body"] for one in rest))


async def test_each_answer_is_protected_also_a_refusal_and_none_allows_another_origin(
    inside: Inside, api: httpx.AsyncClient
) -> None:
    foreign = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answers = [
        await api.get("/v1/tenants", headers=foreign),
        await api.get("/v1/openapi.json", headers=foreign),
        await api.head("/v1/status"),
        await api.get("/v1/no-such", headers=foreign),
        await api.get("/v1/status", headers={"Host": "evil.example"}),
        await api.options("/v1/tenants/acme/pause", headers=foreign),
        await api.post("/v1/tenants/acme/pause", headers=foreign),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 421, 403, 403]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert not inside.supervisor.worker("acme").status(None).paused_since


async def test_a_page_decides_itself_how_long_it_is_kept() -> None:
    assert "cache-control" not in (await sent(Access(BEHIND))).headers


async def test_a_refusal_is_a_problem_with_its_fix(api: httpx.AsyncClient) -> None:
    long = "evil." * 50
    problem = refused(await api.get("/v1/status", headers={"Host": long}), 421)
    assert problem["title"] == "Misdirected Request"
    assert problem["detail"] == f'this server does not go by the name "{long[:100]}..."'
    assert "page.hosts" in problem["fix"]
    foreign = {"Host": "ads", "Origin": "https://evil.example"}
    assert refused(await api.post("/v1/reload", headers=foreign), 421)
    problem = refused(await api.post("/v1/reload", headers=foreign | {"Host": "adsyncd"}), 403)
    assert problem["detail"] == 'a page of the origin "https://evil.example" may not send commands here'
    assert "must pass the Host field on" in problem["fix"]


async def test_a_socket_that_reads_only_says_which_methods_it_has() -> None:
    app = Access(BEHIND, reads_only=True)
    assert (await sent(app)).text.endswith("reads")
    assert (await sent(Access(BEHIND))).text.endswith("commands")
    for target in ("/", "/no/such"):
        answer = await sent(app, "POST", target)
        assert refused(answer, 405)["detail"] == "this socket only reads (page.socket)"
        assert answer.headers["allow"] == "GET, HEAD"


async def test_further_names_are_those_of_now() -> None:
    names = set[str]()
    app = Access(BEHIND, lambda: names)
    for status in (421, 200):
        assert (await sent(app, headers={"Host": "ads.example.com"})).status_code == status
        names.add("ads.example.com")


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://evil.example/", "localhost", 421),
        ("HTTP://evil.example/v1/x", "localhost", 421),
        ("https://evil.example", "localhost", 421),
        ("http://user@localhost/", "localhost", 400),
        ("http:///", "localhost", 421),
        ("ftp://localhost/", "localhost", 400),
        ("localhost:80", "localhost", 400),
        ("*", "localhost", 400),
        ("http://localhost:8090/v1/x", "localhost", 200),
        ("http://localhost", "evil.example", 200),  # RFC 9112, 3.2.2: the target's host replaces Host
        ("//evil.example/", "localhost", 404),
    ],
)
async def test_the_host_of_an_absolute_target_counts(target: str, host: str, status: int) -> None:
    assert (await sent(Access(BEHIND), target=target, headers={"Host": host})).status_code == status


async def test_the_host_of_an_absolute_target_is_the_one_that_an_origin_has_to_match() -> None:
    for origin, status in (("http://localhost:8090", 200), ("http://localhost:9", 403)):
        headers = {"Host": "localhost:9", "Origin": origin}
        answer = await sent(Access(BEHIND), "POST", "http://localhost:8090/", headers)
        assert answer.status_code == status
