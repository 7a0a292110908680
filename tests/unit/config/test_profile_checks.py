import tomllib
from typing import Any

import pytest

from adsyncd.config.diagnostics import Diagnostic
from adsyncd.config.profile_checks import misfits
from adsyncd.config.profile_file import SHIPPED, shipped_names
from adsyncd.config.profile_tables import ProfileFile

LEAST: dict[str, Any] = {
    "sign_in": {"static": "access_token"},
    "list": {"path": "/v1/campaigns", "records": "data"},
    "fields": {"id": "id"},
}
BY_REQUEST = 'sign_in = { url = "/token", basic = ["user", "key"] }\n'


def found(text: str) -> list[Diagnostic]:
    """Return what does not fit in a profile of which `text` says all but the least."""
    return list(misfits(ProfileFile.model_validate(LEAST | tomllib.loads(text))))


def one(text: str) -> tuple[str, str, str]:
    [diagnostic] = found(text)
    return ".".join(diagnostic.key), diagnostic.what, diagnostic.fix


@pytest.mark.parametrize("name", shipped_names())
def test_the_profiles_that_adsyncd_has_fit(name: str) -> None:
    document = tomllib.loads((SHIPPED / f"{name}.toml").read_text())
    assert list(misfits(ProfileFile.model_validate(document))) == []


PUSH = 'push = { path = "/v1/{id}/sync", json = {} }\n'
LIST = 'list = { path = "/v1", records = "data", method = "POST", %s }\n'


@pytest.mark.parametrize(
    "text",
    [
        'headers = { X-Id = "{account}", X-Key = "{secret.key}", X-Var = "{var.region}" }\nvars = ["region"]',
        'sign_in = { url = "/{account}/token", form = { a = "{secret.a}" }, headers = { X = "{secret.b}" } }',
        'sign_in = { url = "/token", json = { a = { b = ["{secret.a}", 1, 1.5, true] } } }',
        LIST % 'params = { size = "{page_size}" }, json = { account = "{account}" }',
        PUSH,
        'push = { path = "/v1/sync", json = { id = "{id}" } }',
        LIST % 'json = { query = "query { campaigns { id name } }" }',
        LIST % 'json = { query = "SELECT {} FROM { campaign } WHERE {a:1}" }',
    ],
)
def test_placeholders_stand_where_something_fills_them_and_other_braces_are_text(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "key", "name", "fix"),
    [
        ('headers = { X-Id = "{acount}" }', "headers.X-Id", "acount", "did you mean {account}?"),
        ('headers = { X-Id = "{page_size}" }', "headers.X-Id", "page_size", None),
        ('headers = { X-Id = "{id}" }', "headers.X-Id", "id", None),
        ('headers = { X-Id = "{var.region}" }', "headers.X-Id", "var.region", 'add "region" to vars'),
        (
            LIST % 'json = { query = "{name}" }',
            "list.json.query",
            "name",
            "known here are {account}, {page_size}; braces that are text need a space: { name }",
        ),
        (PUSH.replace("{}", '{ a = { b = ["{page_size}"] } }'), "push.json.a.b", "page_size", None),
        ('base_url = "https://{account}.example.com"', "base_url", "account", None),
        (BY_REQUEST.replace("/token", "/{page_size}"), "sign_in.url", "page_size", None),
        ('token = { scheme = "{account}" }', "token.scheme", "account", None),
    ],
)
def test_a_placeholder_that_nothing_fills_is_refused(text: str, key: str, name: str, fix: str | None) -> None:
    at, what, advice = one(text)
    assert (at, what) == (key, f"has {{{name}}}, which nothing fills here")
    assert fix is None or advice == fix


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('sign_in = { url = "/{secret.key}", basic = ["a", "b"] }', "sign_in.url"),
        ('list = { path = "/v1?k={secret.key}", records = "data" }', "list.path"),
        ('list = { path = "/v1", records = "data", params = { k = "{secret.key}" } }', "list.params.k"),
        (LIST % 'json = { a = { k = ["x{secret.key}"] } }', "list.json.a.k"),
        ('push = { path = "/{id}/{secret.key}" }', "push.path"),
        ('push = { path = "/{id}", json = { k = "{secret.key}" } }', "push.json.k"),
        ('base_url = "https://ads.example.com/{secret.key}"', "base_url"),
        ('token = { scheme = "{secret.key}" }', "token.scheme"),
    ],
)
def test_a_secret_stands_in_headers_and_bodies_of_sign_ins_alone(text: str, key: str) -> None:
    what = "must not have the secret {secret.key}: it would show"
    assert one(text) == (key, what, "secrets may stand in headers, and in form and json of sign_in")


@pytest.mark.parametrize(
    "odd", ["{secret.Key}", "{secret.a.b}", "{ secret.key }", "{SECRET.key}", "{var.a-b}", "{var.}"]
)
def test_what_was_meant_as_a_placeholder_is_not_sent_as_it_is(odd: str) -> None:
    key, what, _ = one(f'headers = {{ X-Key = "a {odd} b" }}')
    assert (key, what) == ("headers.X-Key", f"has {odd}, which is no placeholder")


def test_a_name_has_no_placeholder() -> None:
    assert found(LIST % 'json = { "{secret.key}" = { a = 1 } }')[0] == Diagnostic(
        ("list", "json", "{secret.key}"), "has a placeholder in its name", "write it in the value"
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("inf", "must not be inf or nan, which JSON has not"),
        ("nan", "must not be inf or nan, which JSON has not"),
        ("2026-11-30", "must not be a date or a time, which JSON has not"),
        ("2026-11-30T10:00:00Z", "must not be a date or a time, which JSON has not"),
        ("10:00:00", "must not be a date or a time, which JSON has not"),
    ],
)
def test_a_body_has_only_what_json_has(value: str, what: str) -> None:
    assert one(LIST % f"json = {{ a = [1, {value}] }}")[:2] == ("list.json.a", what)


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        *(
            (f'headers = {{ {name} = "x" }}', f"headers.{name}", "is set by adsyncd itself")
            for name in [
                *("Host", "Content-Length", "Transfer-Encoding", "Connection", "Accept-Encoding", "Expect", "Cookie"),
                *("TE", "Upgrade", "Trailer", "If-None-Match", "Proxy-Authorization"),
            ]
        ),
        (PUSH + 'headers = { Content-Type = "x" }', "headers.Content-Type", "is set by adsyncd itself"),
        (LIST % "json = {}" + 'headers = { Content-Type = "x" }', "headers.Content-Type", "is set by adsyncd itself"),
        (
            'headers = { AUTHORIZATION = "x" }',
            "headers.AUTHORIZATION",
            "carries the token, which adsyncd sets itself",
        ),
        (
            'headers = { x-token = "x" }\ntoken = { header = "X-Token" }',
            "headers.x-token",
            "carries the token, which adsyncd sets itself",
        ),
        (
            'sign_in = { url = "/t", json = { a = "{secret.a}" }, headers = { Content-Type = "x" } }',
            "sign_in.headers.Content-Type",
            "is set by adsyncd itself",
        ),
        (
            BY_REQUEST.replace(" }", ', headers = { Authorization = "x" } }'),
            "sign_in.headers.Authorization",
            "is set by adsyncd itself",
        ),
        ('token = { header = "Host" }', "token.header", "must not be host, which adsyncd sets itself"),
        ('token = { header = "Content-Type" }', "token.header", "must not be content-type, which adsyncd sets itself"),
        (
            PUSH.replace(" }\n", ', idempotency_header = "Content-Type" }\n'),
            "push.idempotency_header",
            "must not be content-type, which adsyncd sets itself",
        ),
        (
            PUSH.replace(" }\n", ', idempotency_header = "Authorization" }\n'),
            "push.idempotency_header",
            "is authorization, which has another value already",
        ),
        (
            PUSH.replace(" }\n", ', idempotency_header = "X-Key" }\n') + 'headers = { x-key = "1" }',
            "push.idempotency_header",
            "is x-key, which has another value already",
        ),
    ],
)
def test_a_header_field_has_one_value(text: str, key: str, what: str) -> None:
    assert one(text)[:2] == (key, what)


def test_a_header_field_that_is_there_twice_is_refused_however_it_is_written() -> None:
    both = found('headers = { X-A = "1", x-a = "2", X-B = "3" }')
    assert [".".join(diagnostic.key) for diagnostic in both] == ["headers.X-A", "headers.x-a"]
    assert {diagnostic.what for diagnostic in both} == {"is there twice: capitals do not count"}


@pytest.mark.parametrize(
    "text",
    [
        'headers = { Content-Type = "application/json", Accept = "text/x", User-Agent = "me" }',
        'sign_in = { url = "/t", headers = { Authorization = "Key {secret.key}", Content-Type = "x" } }',
        'token = { header = "X-Token" }\nheaders = { Authorization = "Basic {secret.basic}" }',
    ],
)
def test_other_header_fields_are_the_profile_s_own(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('params = { page = "1" }, paging = { kind = "number", param = "page" }', "list.params.page"),
        ('params = { n = "1" }, paging = { kind = "number", param = "page", size = "n" }', "list.params.n"),
        ('json = { page = 1 }, paging = { kind = "number", param = "page", in = "body" }', "list.json.page"),
    ],
)
def test_a_parameter_that_paging_sets_is_stated_nowhere_else(text: str, key: str) -> None:
    at, what, _ = one(LIST % text)
    assert (at, what) == (key, f"has {key.rpartition('.')[2]}, which paging sets")


def test_a_parameter_that_paging_sets_is_not_in_the_path_either() -> None:
    listing = 'list = { path = "/v1?a=b&page=1", records = "data", paging = { kind = "number", param = "page" } }'
    assert one(listing)[:2] == ("list.path", "has page, which paging sets")
    twice = LIST % 'paging = { kind = "number", param = "page", size = "page" }'
    assert one(twice)[:2] == ("list.paging.size", "is the same parameter as param")
    assert found(LIST % 'params = { page = "1" }, paging = { kind = "number", param = "page", in = "body" }') == []


def test_a_profile_needs_a_secret_and_uses_what_it_asks_for() -> None:
    assert one('sign_in = { url = "/token" }')[:2] == ("sign_in", "sends no secret")
    assert one('vars = ["region"]') == (
        "vars.0",
        "has region, which no text uses",
        "use {var.region}, or remove it",
    )
    assert one('push = { path = "/sync" }')[:2] == ("push", "does not say which campaign is pushed")


def test_a_long_name_leaves_the_problem_in_sight() -> None:
    assert len(one(f'headers = {{ X = "{{{"a" * 900}}}" }}')[1]) < 120
