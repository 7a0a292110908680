"""A platform's sign-in, as its profile describes it: what is sent, and what the answer means. It sends nothing itself."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote, urlencode, urlsplit

import httpx
from pydantic import SecretStr

from adsyncd.credentials import Credentials
from adsyncd.errors import BadAnswer, SignInRefused, Unavailable
from adsyncd.model.profile import SECRET, Means, Profile, Texts, TokenRequest, secrets_in
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.requests import Requests
from adsyncd.platforms.templates import filled, in_json
from adsyncd.platforms.verdict import accepted, in_words, is_later
from adsyncd.platforms.wire import read_token
from adsyncd.platforms.words import Secrets

_FORM = b"application/x-www-form-urlencoded"
_OF_CREDENTIALS = frozenset({"invalid_client", "invalid_grant", "unauthorized_client"})  # RFC 6749, 5.2


@dataclass(frozen=True, slots=True)
class SignInPlace:
    """Where a tenant signs in: a `path` below `base_url`, which may be another host than the platform's.

    `named`: the key that says so.
    """

    base_url: str
    path: str
    named: str


def sign_in_place(tenant: Tenant, request: TokenRequest) -> SignInPlace:
    """Return where a tenant signs in."""
    platform = tenant.platform
    url, named = request.url, "sign_in.url of the profile"
    if platform.sign_in_url is not None:
        url, named = platform.sign_in_url, "sign_in_url"
    url = filled(url, plain_values(tenant), lambda value: quote(value, safe=""))
    if url.startswith("/"):
        return SignInPlace(platform.base_url, url, "base_url")
    parts = urlsplit(url)
    return SignInPlace(f"{parts.scheme}://{parts.netloc}", parts.path or "/", named)


def plain_values(tenant: Tenant) -> dict[str, str]:
    """Return the values of placeholders that are no secret, by name."""
    values = {"account": tenant.client_id, "page_size": str(tenant.sync.page_size)}
    return values | {f"var.{name}": value for name, value in tenant.vars}


class SignIn:
    """The request that brings one tenant's token, and what its answer means."""

    def __init__(self, request: TokenRequest, tenant: Tenant, secrets: Secrets) -> None:
        self._request = request
        self._profile = tenant.platform.profile
        self._values = plain_values(tenant)
        self._secrets = secrets
        self._place = sign_in_place(tenant, request)
        self._names = _names(request)

    def build(self, credentials: Credentials, requests: Requests) -> httpx.Request:
        """Return the request. Its secrets are known as such from here on."""
        request, values = self._request, self._values | secret_values(credentials)
        basic, body, media = [], b"", b"application/json"
        headers = fields(request.headers, values)
        if request.basic is not None:
            account = ":".join(credentials.secret(name).get_secret_value() for name in request.basic)
            basic = [b64encode(account.encode()).decode("ascii")]
            headers.append((b"authorization", f"Basic {basic[0]}".encode("ascii")))
        if request.form is not None:
            body, media = urlencode([(name, filled(text, values)) for name, text in request.form]).encode("ascii"), _FORM
        elif request.json is not None:
            body = filled(request.json, values, in_json).encode("utf-8")
        self._secrets.use("credentials", *credentials.secrets.values(), *map(SecretStr, basic))
        return requests.build(
            request.method, self._place.path, Call(Kind.SIGN_IN), headers, body=body, media=media
        )

    def read(self, answer: httpx.Response, now: datetime) -> tuple[SecretStr, float]:
        """Return the token in an answer that came `now`, and its life in seconds. Raises `PlatformError`."""
        call = Call.of(answer)
        refused = answer.is_client_error and not is_later(answer)
        if call.means is Means.LATER or (call.said.throttled and call.means is None):
            raise Unavailable(
                f"the platform answered {answer.status_code} to the sign-in{in_words(answer, self._secrets)}",
                call.said.wait_s,
            )
        if call.means is Means.SIGN_IN or (call.means is None and refused and self._is_of_credentials(answer)):
            raise self._credentials_refused(answer)
        if call.means is Means.REFUSED or refused:
            raise SignInRefused(
                f"the platform answered {answer.status_code} to the sign-in{in_words(answer, self._secrets)}; "
                f"see whether {self._place.named} is right"
            )
        data = Call.of(accepted(answer, self._secrets)).data
        if isinstance(data, BadAnswer):
            raise data
        if isinstance(data, dict) and self._request.token not in data and self._is_of_credentials(answer):
            raise self._credentials_refused(answer)  # some answer 200 to it
        token, life_s = read_token(data, self._profile.name, self._request, answer.headers.get("date"), now, self._secrets)
        self._secrets.use("token", token)
        return token, life_s
