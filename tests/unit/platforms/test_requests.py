import httpx
import pytest

from adsyncd import __version__
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.requests import Requests

CALL = Call(Kind.PUSH)


def a_request(
    method: str = "POST",
    path: str = "/a",
    *,
    base_url: str = "http://ads.invalid",
    query: str | None = None,
    body: bytes = b"",
    media: bytes = b"application/json",
) -> httpx.Request:
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    requests = Requests(transport, base_url, [(b"x-client-id", "cl\u00efent".encode())], 10.0)
    return requests.build(method, path, CALL, [(b"x-one", b"1")], query=query, body=body, media=media)


def test_a_request_has_what_all_have_and_its_own() -> None:
    assert a_request(body=b"{}").headers.raw == [
        (b"host", b"ads.invalid"),
        (b"user-agent", f"adsyncd/{__version__}".encode()),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"x-client-id", "cl\u00efent".encode()),
        (b"x-one", b"1"),
        (b"content-length", b"2"),
        (b"content-type", b"application/json"),
    ]
    assert Call.of(a_request()) is CALL


def test_a_platform_s_own_accept_and_user_agent_take_the_place_of_the_usual_ones() -> None:
    own = [(b"accept", b"application/vnd.ads+json"), (b"x-key", b"1"), (b"user-agent", b"agency/1")]
    requests = Requests(httpx.MockTransport(lambda _: httpx.Response(200)), "http://ads.invalid", own, 10.0)
    assert requests.build("GET", "/", CALL, []).headers.raw == [
        (b"host", b"ads.invalid"),
        (b"user-agent", b"agency/1"),
        (b"accept", b"application/vnd.ads+json"),
        (b"accept-encoding", b"identity"),
        (b"x-key", b"1"),
    ]


def test_a_body_may_be_a_form() -> None:
    form = a_request(body=b"a=1", media=b"application/x-www-form-urlencoded")
    assert form.headers.raw[-1] == (b"content-type", b"application/x-www-form-urlencoded")
    assert form.headers["content-length"] == "3"


@pytest.mark.parametrize(("method", "length"), [("POST", "0"), ("GET", None)])
def test_without_a_body_only_a_method_that_may_have_one_states_its_length(method: str, length: str | None) -> None:
    headers = a_request(method).headers
    assert (headers.get("content-length"), headers.get("content-type")) == (length, None)


@pytest.mark.parametrize(
    ("base_url", "whole"),
    [
        ("http://ads.invalid", "http://ads.invalid/a/b%2Fc?page=1"),
        ("http://ads.invalid/", "http://ads.invalid/a/b%2Fc?page=1"),
        ("https://ads.invalid:8443/v1/", "https://ads.invalid:8443/v1/a/b%2Fc?page=1"),
        ("http://[::1]:80/v1", "http://[::1]/v1/a/b%2Fc?page=1"),
    ],
)
def test_a_path_continues_the_base_url(base_url: str, whole: str) -> None:
    request = a_request(path="/a/b%2Fc", query="page=1", base_url=base_url)
    assert (request.url, str(request.url), request.headers["host"]) == (httpx.URL(whole), whole, whole.split("/")[2])


def test_connecting_has_half_of_the_time() -> None:
    timeouts = a_request().extensions["timeout"]
    assert (timeouts["connect"], timeouts["pool"]) == (5.0, 10.0)
