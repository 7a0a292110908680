from dataclasses import replace
from typing import Any

import httpx
import pytest

from adsyncd import __version__
from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import ProfileMismatch
from adsyncd.model.profile import Listing, Paging, PagingKind, Push
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.paging import Ask
from adsyncd.platforms.profile_requests import ProfileRequests, constant_headers, values_of
from adsyncd.platforms.requests import Requests
from support.tenants import a_tenant

CALL = Call(Kind.LISTING)
VALUES: dict[str, Any] = {"vars": (("login", "{id}"), ("a b", "ü")), "client_id": 'a/b"&c'}


def tenant_of(profile: str = "adsyncd", listing: Listing | None = None, push: Push | None = None, **c: Any) -> Tenant:  # noqa: ANN401 - as a_tenant has it
    tenant = a_tenant(**c)
    described = shipped_profile(profile)
    described = replace(described, listing=listing or described.listing, push=push or described.push)
    return replace(tenant, platform=replace(tenant.platform, profile=described))


def requests_of(tenant: Tenant) -> ProfileRequests:
    headers = constant_headers(tenant.platform.profile.headers, values_of(tenant))
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    return ProfileRequests(Requests(transport, tenant.platform.base_url, headers, 10.0), tenant)


def asked(tenant: Tenant, value: str | None = None, query: str | None = None) -> httpx.Request:
    return requests_of(tenant).listing(Ask(value, query), CALL, [])


def target(tenant: Tenant, value: str | None = None, query: str | None = None) -> str:
    return asked(tenant, value, query).url.raw_path.decode()


def paged(kind: PagingKind, *, in_body: bool = False, **listing: Any) -> Listing:  # noqa: ANN401 - whatever it has
    paging = Paging(kind, None if kind is PagingKind.LINK else "at", "size", in_body)
    return Listing("POST" if in_body else "GET", "/x", "data", paging=paging, **listing)


# The built-in API


COMMON = [
    (b"host", b"ads.example.com:8443"),
    (b"user-agent", f"adsyncd/{__version__}".encode()),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"x-client-id", "acme ü".encode()),
]


def test_requests_know_the_template_of_their_path() -> None:
    tenant = tenant_of(
        listing=Listing("GET", "/{account}/x y?q=1", "data"),
        push=Push("PUT", "/c/{id}?from={id}"),
        base_url="http://ads.invalid/v2/",
        client_id="act/1",
    )
    calls = Call(Kind.LISTING), Call(Kind.PUSH)
    requests_of(tenant).listing(Ask(), calls[0], [])
    requests_of(tenant).push("7", "key", calls[1])
    assert [call.template for call in calls] == ["/v2/{account}/x%20y", "/v2/c/{campaign_id}"]


def test_requests_of_the_built_in_api_have_been_the_same_bytes_in_every_version() -> None:
    tenant = a_tenant(base_url="https://ads.example.com:8443/v1/", client_id="acme ü", page_size=25)
    requests = requests_of(tenant)
    listing = requests.listing(Ask("3"), CALL, [(b"if-none-match", b'W/"v1"')])
    assert (listing.method, listing.url.raw_path) == ("GET", b"/v1/api/campaigns?page=3&limit=25")
    assert listing.headers.raw == [*COMMON, (b"if-none-match", b'W/"v1"')]
    assert listing.read() == b""
    push = requests.push('a/b "ü"\\{id}', "key-1", CALL)
    assert (push.method, push.url.raw_path) == ("POST", b"/v1/api/campaigns/a%2Fb%20%22%C3%BC%22%5C%7Bid%7D/sync")
    body = '{"campaign_id":"a/b \\"ü\\"\\\\{id}"}'.encode()
    own = [(b"idempotency-key", b"key-1"), (b"content-length", b"34"), (b"content-type", b"application/json")]
    assert push.headers.raw == [*COMMON, *own]
    assert push.read() == body


# Addresses


def test_a_profile_s_texts_stand_in_an_address_as_they_are_and_values_quoted() -> None:
    path = "/a/{account}/b?q=search&search=(status:(values:List(ACTIVE,{var.login})),x:{account})"
    tenant = tenant_of(listing=Listing("GET", path, "data"), **VALUES)
    assert target(tenant) == (
        "/a/a%2Fb%22%26c/b?q=search&search=(status:(values:List(ACTIVE,%7Bid%7D)),x:a%2Fb%22%26c)"
    )


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("id,name", "id,name"),
        ("urn%3Ali", "urn%3Ali"),
        ("100%", "100%25"),
        ("a b", "a%20b"),
        ("a&b=c", "a%26b=c"),
        ("a+b", "a%2Bb"),
        ("a#b", "a%23b"),
        ('"ü"', "%22%C3%BC%22"),
        ('["{account}"]', "%5B%22a%2Fb%22%26c%22%5D"),
        ("{page_size}/{var.login}", "10/%7Bid%7D"),
        ("{nothing}", "{nothing}"),
    ],
)
def test_a_parameter_is_one_parameter_whatever_it_holds(text: str, sent: str) -> None:
    listing = Listing("GET", "/x", "data", params=(("f", text), ("g", "1")))
    assert target(tenant_of(listing=listing, **VALUES)) == f"/x?f={sent}&g=1"


def test_the_name_of_a_parameter_cannot_begin_another() -> None:
    listing = Listing("GET", "/x", "data", params=(("a=1&b", "2"), ("fields[c]", "3")))
    assert target(tenant_of(listing=listing)) == "/x?a%3D1%26b=2&fields%5Bc%5D=3"


# Pages


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, "/x?q=1&size=10"),
        ("3", "/x?q=1&at=3&size=10"),
        ("a&b=/c d+e%ü(", "/x?q=1&at=a%26b%3D%2Fc%20d%2Be%25%C3%BC%28&size=10"),
    ],
)
def test_a_cursor_is_one_parameter_whatever_it_is(value: str | None, sent: str) -> None:
    assert target(tenant_of(listing=paged(PagingKind.CURSOR, params=(("q", "1"),))), value) == sent


def test_a_link_has_the_query_in_place_of_the_first_page_s() -> None:
    tenant = tenant_of(listing=paged(PagingKind.LINK, params=(("q", "1"),)))
    assert (target(tenant), target(tenant, query="cursor=(a)&q=2")) == ("/x?q=1&size=10", "/x?cursor=(a)&q=2")


@pytest.mark.parametrize(
    ("kind", "value", "body"),
    [
        (PagingKind.CURSOR, None, b'{"a":"a/b\\"&c","n":10,"m":"10","size":10}'),
        (PagingKind.CURSOR, '7"', b'{"a":"a/b\\"&c","n":10,"m":"10","at":"7\\"","size":10}'),
        (PagingKind.OFFSET, "20", b'{"a":"a/b\\"&c","n":10,"m":"10","at":20,"size":10}'),
        (PagingKind.NUMBER, "2", b'{"a":"a/b\\"&c","n":10,"m":"10","at":2,"size":10}'),
    ],
)
def test_a_body_holds_text_that_stays_text_and_numbers_that_stay_numbers(
    kind: PagingKind, value: str | None, body: bytes
) -> None:
    text = '{"a":"{account}","n":"{page_size}","m":"1{var.x}"}'
    tenant = tenant_of(listing=paged(kind, in_body=True, json=text), client_id=VALUES["client_id"], vars=(("x", "0"),))
    request = asked(tenant, value)
    assert (request.url.raw_path, request.read()) == (b"/x", body)
    assert request.headers["content-type"] == "application/json"


def test_a_body_may_hold_the_paging_alone() -> None:
    assert asked(tenant_of(listing=paged(PagingKind.OFFSET, in_body=True)), "0").read() == b'{"at":0,"size":10}'


def test_the_path_of_a_listing_is_below_that_of_its_platform() -> None:
    tenant = tenant_of(listing=Listing("GET", "/{account}/x?q=1", "data"), base_url="http://ads.invalid/v2/")
    assert requests_of(tenant).listing_path == "/v2/acme/x"


# Header fields


def test_header_fields_hold_values_as_they_are_and_those_with_a_secret_come_later() -> None:
    texts = (("x-key", "{secret.key}"), ("x-login", "{var.login}"), ("x-both", "{account}:{secret.key}"), ("x-id", "1"))
    values = values_of(a_tenant(vars=(("login", "{account}"),)))
    assert constant_headers(texts, values) == [(b"x-login", b"{account}"), (b"x-id", b"1")]


# Pushes


def test_a_push_is_as_the_profile_has_it() -> None:
    described = Push("PUT", "/c/{id}/{account}?from={account}", '{"id":"{id}","size":"{page_size}"}')
    request = requests_of(tenant_of(push=described, client_id="{id}")).push('1"/', "key", CALL)
    assert (request.method, request.url.raw_path) == ("PUT", b"/c/1%22%2F/%7Bid%7D?from=%7Bid%7D")
    assert request.read() == b'{"id":"1\\"/","size":10}'
    assert "key" not in request.headers.values()


def test_a_push_may_have_no_body() -> None:
    request = requests_of(tenant_of(push=Push("POST", "/c/{id}", None, "X-Key"))).push("1", "key", CALL)
    assert (request.read(), request.headers["x-key"], request.headers["content-length"]) == (b"", "key", "0")


def test_a_platform_that_takes_no_pushes_gets_none() -> None:
    with pytest.raises(ProfileMismatch, match="the profile meta has no push"):
        requests_of(tenant_of("meta")).push("1", "key", CALL)
