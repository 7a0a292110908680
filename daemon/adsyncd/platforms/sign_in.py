"""A platform's sign-in as its profile describes it: the request for a token, and what the answer means."""

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote, urlencode, urlsplit

import httpx
from pydantic import SecretStr

from adsyncd.credentials import Credentials, listed
from adsyncd.errors import BadAnswer, ProfileMismatch, SignInRefused
from adsyncd.model.profile import Means, TokenRequest
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.profile_requests import values_of
from adsyncd.platforms.requests import Requests
from adsyncd.platforms.templates import fields, filled, holds_secret, in_json, route, secret_values
from adsyncd.platforms.verdict import failure, in_words, is_later, refuses_token
from adsyncd.platforms.wire import at, read_token
from adsyncd.platforms.words import Secrets

_FORM = b"application/x-www-form-urlencoded"
_OF_CREDENTIALS = frozenset({"invalid_client", "invalid_grant", "unauthorized_client"})  # RFC 6749, 5.2


@dataclass(frozen=True, slots=True)
class SignInPlace:
    """Where a tenant signs in: a `path` below `base_url`, which another host may have than the platform's.

    `named`: the key that says so. `template`: the path with its placeholders, as traces name it.
    """

    base_url: str
    path: str
    named: str
    template: str


def sign_in_place(tenant: Tenant, request: TokenRequest) -> SignInPlace:
    """Return where a tenant signs in."""
    platform = tenant.platform
    url, named = request.url, f"sign_in.url of the profile {platform.profile.name}"
    if platform.sign_in_url is not None:
        url, named = platform.sign_in_url, f"platforms.{platform.name}.sign_in_url"
    template, url = url, filled(url, values_of(tenant), lambda value: quote(value, safe=""))
    if url.startswith("/"):
        return SignInPlace(platform.base_url, url, "base_url", route(template))
    parts = urlsplit(url)
    return SignInPlace(
        f"{parts.scheme}://{parts.netloc}", parts.path or "/", named, route(urlsplit(template).path) or "/"
    )


class SignIn:
    """The request that brings a tenant its token. `secrets` learns all that it holds."""

    def __init__(self, request: TokenRequest, tenant: Tenant, secrets: Secrets) -> None:
        self._request = request
        self._profile = tenant.platform.profile
        self._values = values_of(tenant)
        self._place = sign_in_place(tenant, request)
        self._secrets = secrets

    def build(self, credentials: Credentials, requests: Requests) -> httpx.Request:
        """Return the request that sends `credentials`. `requests` add the header fields without a secret."""
        request, values = self._request, self._values | secret_values(credentials)
        headers = fields([(name, text) for name, text in request.headers if holds_secret(text)], values)
        known = list(credentials.secrets.values())
        if request.basic is not None:
            account = ":".join(credentials.secret(name).get_secret_value() for name in request.basic)
            basic = b64encode(account.encode()).decode("ascii")
            known.append(SecretStr(basic))
            headers.append((b"authorization", f"Basic {basic}".encode("ascii")))
        self._secrets.use("credentials", *known)
        body, media = b"", b"application/json"
        if request.form is not None:
            body, media = urlencode([(key, filled(text, values)) for key, text in request.form]).encode("ascii"), _FORM
        elif request.json is not None:
            body = filled(request.json, values, in_json).encode("utf-8")
        call = Call(Kind.SIGN_IN, template=requests.path + self._place.template)
        return requests.build(request.method, self._place.path, call, headers, body=body, media=media)

    def read(self, answer: httpx.Response, now: datetime) -> tuple[SecretStr, float]:
        """Return the token in an answer that came `now`, and its life in seconds. Raises a `PlatformError`."""
        call = Call.of(answer)
        of_credentials = _is_of_credentials(answer, call.data)
        refused = answer.is_client_error and (refuses_token(answer) or not is_later(answer))
        if call.means is Means.SIGN_IN or (call.means is None and refused and of_credentials):
            raise self._credentials_refused(answer)
        if call.means is Means.REFUSED or (call.means is None and refused):
            raise self._refused(answer)
        if error := failure(answer, self._profile, self._secrets):
            raise error
        data = call.data
        if isinstance(data, BadAnswer):
            raise data
        if isinstance(data, dict) and data.get("error") and at(data, self._request.token) is None:
            raise self._credentials_refused(answer) if of_credentials else self._refused(answer)  # under a success
        try:
            token, life_s = read_token(data, self._request, answer.headers.get("date"), now)
        except ProfileMismatch as error:
            raise error.with_names(self._secrets.shown) from None
        self._secrets.use("token", token)
        return token, life_s

    def _credentials_refused(self, answer: httpx.Response) -> SignInRefused:
        names = self._request.secrets
        return SignInRefused(
            f"the platform refused {listed(names) if names else 'the sign-in'}{in_words(answer, self._secrets)}; "
            f"fix {'it' if len(names) == 1 else 'them'} where the drop-in's credentials point"
        )

    def _refused(self, answer: httpx.Response) -> SignInRefused:
        return SignInRefused(
            f"the platform answered {answer.status_code} to the sign-in{in_words(answer, self._secrets)}; "
            f"see whether {self._place.named} is right"
        )


def _is_of_credentials(answer: httpx.Response, data: object) -> bool:
    error = data.get("error") if isinstance(data, dict) else None
    return answer.status_code == HTTPStatus.UNAUTHORIZED or (isinstance(error, str) and error in _OF_CREDENTIALS)
