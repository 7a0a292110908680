"""A sign-in is sent as the profile describes it, and its answer read so: no secret shows, whatever the answer."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import SecretStr

from adsyncd import __version__
from adsyncd.config.profile_file import shipped_profile
from adsyncd.credentials import Credentials
from adsyncd.errors import BadAnswer, PlatformError, ProfileMismatch, SignInRefused, Unavailable
from adsyncd.model.profile import Answer, Means, Profile, TokenRequest
from adsyncd.model.tenant import Platform, Tenant
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.profile_requests import constant_headers, values_of
from adsyncd.platforms.requests import Requests
from adsyncd.platforms.sign_in import SignIn, sign_in_place
from adsyncd.platforms.verdict import meaning
from adsyncd.platforms.words import Secrets
from adsyncd.rate.dialect import Rule
from adsyncd.rate.feedback import Said
from adsyncd.telemetry import CALL
from support.accounts import an_account
from support.tenants import a_tenant

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BUILT_IN = shipped_profile()
GOOGLE = shipped_profile("google-ads")
NAMED = {"client_id": "canary client", "client_secret": 'canary+secret&"=é', "refresh_token": "1//canary-refresh"}


def a_profile(base: Profile = BUILT_IN, **parts: object) -> Profile:
    return replace(base, sign_in=replace(TokenRequest("POST", "/token"), **parts))  # type: ignore[arg-type]  # any part


def tenant_of(profile: Profile, sign_in_url: str | None = None) -> Tenant:
    platform = Platform("mixo", "https://ads.invalid/api", profile, sign_in_url=sign_in_url)
    return a_tenant(client_id="act/1", platform=platform, vars=(("region", "eu-1"),))


class Parts:
    """One sign-in, and the secrets that it taught."""

    def __init__(self, profile: Profile, credentials: Credentials, sign_in_url: str | None = None) -> None:
        self.secrets = Secrets()
        self.profile = profile
        assert isinstance(profile.sign_in, TokenRequest)
        tenant = tenant_of(profile, sign_in_url)
        self.place = sign_in_place(tenant, profile.sign_in)
        self.sign_in = SignIn(profile.sign_in, tenant, self.secrets)
        transport = httpx.MockTransport(lambda _: httpx.Response(200))
        constant = constant_headers(profile.sign_in.headers, values_of(tenant))
        self.request = self.sign_in.build(credentials, Requests(transport, self.place.base_url, constant, 10.0))

    @property
    def body(self) -> bytes:
        assert isinstance(self.request.stream, httpx.ByteStream)
        return b"".join(self.request.stream)

    def read(self, status: int, data: object, said: Said | None = None) -> tuple[str, float]:
        """Read an answer as the transport hands it over."""
        means = meaning(self.profile, status, data)
        call = Call(Kind.SIGN_IN, said=said or Said(), data=data, means=means)
        token, life_s = self.sign_in.read(httpx.Response(status, extensions={CALL: call}), NOW)
        return token.get_secret_value(), life_s

    def refused(self, status: int, data: object, said: Said | None = None) -> PlatformError:
        with pytest.raises(PlatformError) as refused:
            self.read(status, data, said)
        assert "canary" not in str(refused.value)
        return refused.value


def google() -> Parts:
    return Parts(GOOGLE, Credentials.of(NAMED | {"developer_token": "canary-developer"}))


def test_the_built_in_sign_in_is_sent_byte_for_byte_as_ever() -> None:
    parts = Parts(BUILT_IN, an_account("ads@acme.example", "pass:word é"))
    basic = base64.b64encode("ads@acme.example:pass:word é".encode()).decode()
    assert parts.request.method == "POST"
    assert str(parts.request.url) == "https://ads.invalid/api/auth/token"
    assert parts.request.headers.raw == [
        (b"host", b"ads.invalid"),
        (b"user-agent", f"adsyncd/{__version__}".encode()),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"x-client-id", b"act/1"),
        (b"authorization", f"Basic {basic}".encode()),
        (b"content-length", b"0"),
    ]
    assert parts.body == b""
    assert parts.secrets.are_in(basic)


def test_a_form_is_sent_to_its_own_host_and_holds_any_text() -> None:
    parts = google()
    assert (str(parts.request.url), parts.request.headers["host"]) == (
        "https://oauth2.googleapis.com/token",
        "oauth2.googleapis.com",
    )
    assert parts.request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert int(parts.request.headers["content-length"]) == len(parts.body)
    sent = {name: values[0] for name, values in parse_qs(parts.body.decode(), strict_parsing=True).items()}
    assert sent == {"grant_type": "refresh_token"} | NAMED
    assert not {name for name in parts.request.headers if name in ("authorization", "developer-token")}
    assert parts.secrets.are_in(parts.body.decode())


def test_json_holds_any_text_and_header_fields_their_secrets() -> None:
    profile = a_profile(
        json='{"Login":"{secret.client_id}","Password":"{secret.client_secret}","Minutes":1440,"At":"{account}"}',
        headers=(("x-key", "key={secret.key}"), ("x-region", "{var.region}")),
    )
    parts = Parts(profile, Credentials.of(NAMED | {"key": "canary-key"}))
    assert json.loads(parts.body) == {
        "Login": NAMED["client_id"],
        "Password": NAMED["client_secret"],
        "Minutes": 1440,
        "At": "act/1",
    }
    assert parts.request.headers["content-type"] == "application/json"
    assert (parts.request.headers["x-key"], parts.request.headers["x-region"]) == ("key=canary-key", "eu-1")
    assert "canary" not in str(parts.request.url)


def test_a_get_has_neither_a_body_nor_a_length() -> None:
    parts = Parts(a_profile(method="GET", basic=("user", "key")), Credentials.of({"user": "u", "key": "k"}))
    assert (parts.request.method, parts.body, parts.request.headers.get("content-length")) == ("GET", b"", None)
    assert parts.request.headers["authorization"] == "Basic dTpr"
    assert parts.secrets.are_in("dTpr")


@pytest.mark.parametrize(
    ("url", "override", "place"),
    [
        ("/auth/{account}", None, ("https://ads.invalid/api", "/auth/act%2F1", "base_url")),
        ("https://id.invalid/t", None, ("https://id.invalid", "/t", "sign_in.url of the profile adsyncd")),
        ("https://{var.region}.id.invalid:8443/t", None, ("https://eu-1.id.invalid:8443", "/t", "sign_in.url of the")),
        ("/auth", "https://sandbox.invalid/v2/t", ("https://sandbox.invalid", "/v2/t", "platforms.mixo.sign_in_url")),
        ("https://id.invalid/t", "http://[::1]:8080", ("http://[::1]:8080", "/", "platforms.mixo.sign_in_url")),
    ],
)
def test_it_goes_to_a_path_of_the_platform_or_to_another_host(
    url: str, override: str | None, place: tuple[str, str, str]
) -> None:
    parts = Parts(a_profile(url=url), Credentials.of({}), override)
    base_url, path, named = place
    assert (parts.place.base_url, parts.place.path) == (base_url, path)
    assert parts.place.named.startswith(named)
    assert str(parts.request.url) == base_url + path
    whole = parts.request.url.raw_path.decode()
    assert Call.of(parts.request).template == whole.replace("act%2F1", "{account}")


@pytest.mark.parametrize(
    ("status", "data", "said"),
    [
        (401, {}, "the platform refused client_id, client_secret and refresh_token; fix them where the drop-in's"),
        (
            400,
            {"error": "invalid_grant", "error_description": "Token expired"},
            "refresh_token: invalid_grant Token",
        ),
        (
            400,
            {"error": "invalid_client"},
            "and refresh_token: invalid_client; fix them where",
        ),
        (400, {"error": "invalid_grant", "error_description": NAMED["refresh_token"]}, "refresh_token; fix them"),
        (200, {"error": "invalid_grant"}, "and refresh_token: invalid_grant; fix them"),
        (
            200,
            {"error": "bad_verification_code"},
            "200 to the sign-in: bad_verification_code; see whether",
        ),
        (
            400,
            {"error": "invalid_request"},
            "400 to the sign-in: invalid_request; see whether sign_in.url",
        ),
        (404, BadAnswer("HTML"), "the platform answered 404 to the sign-in; see whether sign_in.url of the profile"),
        (403, {"error": ["invalid_grant"]}, "403 to the sign-in; see whether"),
    ],
)
def test_a_refusal_is_told_with_its_fix(status: int, data: object, said: str) -> None:
    refused = google().refused(status, data)
    assert type(refused) is SignInRefused
    assert said in str(refused)


def test_one_secret_is_named_alone_and_none_is_no_word() -> None:
    parts = Parts(a_profile(json='{"key":"{secret.key}"}'), Credentials.of({"key": "canary-key"}))
    assert str(parts.refused(401, {})) == "the platform refused key; fix it where the drop-in's credentials point"
    assert str(Parts(a_profile(), Credentials.of({})).refused(401, {})).startswith("the platform refused the sign-in; ")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_what_may_pass_is_tried_later(status: int) -> None:
    error = google().refused(status, {"error": "invalid_grant"}, Said(wait_s=7))
    assert isinstance(error, Unavailable)
    assert error.after_s == 7
    assert type(google().refused(400, {"error": "busy"}, Said(wait_s=7))) is Unavailable
    assert type(google().refused(401, {}, Said(wait_s=7))) is SignInRefused
    assert type(google().refused(200, {"error": "busy"}, Said(throttled=True))) is Unavailable


@pytest.mark.parametrize(
    ("means", "error"),
    [(Means.SIGN_IN, SignInRefused), (Means.REFUSED, SignInRefused), (Means.LATER, Unavailable)],
)
@pytest.mark.parametrize("status", [200, 400, 401, 503])
def test_the_rules_of_the_profile_say_what_an_answer_means(
    means: Means, error: type[PlatformError], status: int
) -> None:
    profile = replace(GOOGLE, answers=(Answer(means, Rule(None, "code", (7,))),))
    parts = Parts(profile, Credentials.of(NAMED))
    assert type(parts.refused(status, {"code": 7, "access_token": "canary-token"})) is error
    assert parts.read(200, {"code": 8, "access_token": "canary-token"})[0] == "canary-token"


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (BadAnswer("not JSON"), BadAnswer, "not JSON"),
        ([], BadAnswer, "it should be an object"),
        ({"access_token": 7}, BadAnswer, "access_token: Input should be a valid string"),
        ({"access_token": "two canaries"}, BadAnswer, "a header cannot hold"),
        (
            {"data": {"access_token": "canary-1"}},
            ProfileMismatch,
            "sign-in: access_token leads to nothing; it has data",
        ),
        ({"canary client": 1, "ok": 2}, ProfileMismatch, "it has no keys that may be shown"),
    ],
)
def test_a_success_without_a_token_says_what_is_there(data: object, error: type[PlatformError], said: str) -> None:
    raised = google().refused(200, data)
    assert type(raised) is error
    assert said in str(raised)


def test_a_token_comes_with_its_life_and_is_a_secret_from_then_on() -> None:
    parts = google()
    assert parts.read(200, {"access_token": "canary-token", "expires_in": 60}) == ("canary-token", 60)
    assert parts.secrets.are_in("not canary-token")
    again = Parts(a_profile(token="Token", life=timedelta(hours=24)), Credentials.of({}))
    assert again.read(200, {"Token": "canary-token"}) == ("canary-token", 86_400)


@pytest.mark.parametrize("name", [*NAMED, "developer_token"])
def test_every_named_secret_is_kept_from_words(name: str) -> None:
    parts = google()
    value = (NAMED | {"developer_token": "canary-developer"})[name]
    for echo in (value, json.dumps(value), base64.b64encode(f"x{value}".encode()).decode(), parts.body.decode()):
        assert str(parts.refused(403, {"error": f"no {echo}"})).endswith("google-ads is right")
    assert SecretStr(value).get_secret_value() not in repr(vars(parts.secrets))
