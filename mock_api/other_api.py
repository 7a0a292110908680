"""One more API of the platform, as a description has it: its sign-in, its listing, and its ways to say what is wrong.

It shares client ids, quotas, faults, latency and ledger with the platform's own API, and takes no pushes.
"""

import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qsl

import anyio
from pydantic import JsonValue
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mock_api.accounts import PlatformAccount, Tokens, basic_credentials
from mock_api.answers import NoAnswer, failure, instead, spoilt, throttled
from mock_api.campaigns import Catalogue
from mock_api.clients import ClientState, Verdict
from mock_api.description import ApiDescription, FieldTable, Means, PagingKind
from mock_api.faults import FaultKind
from mock_api.gate import read_json
from mock_api.pages import CURSOR_PARAM, Asked, BadPage, Cursors, asked
from mock_api.settings import Behaviour, MockSettings
from mock_api.templates import Found, match, put

_CURRENCIES = ("EUR", "JPY", "USD")
_SECRET = "secret."  # noqa: S105 - how the names of such placeholders begin
_UNEXPECTED = -1  # a value that no success has
_MEANINGS = {HTTPStatus.UNAUTHORIZED: Means.SIGN_IN, HTTPStatus.BAD_REQUEST: Means.REFUSED}


class Platform(Protocol):
    """The platform that an API belongs to."""

    @property
    def now(self) -> Callable[[], float]:
        """Return the seconds since the epoch."""

    @property
    def settings(self) -> MockSettings:
        """The current settings."""

    def client(self, client_id: str) -> ClientState:
        """Return the state of a client id."""

    def catalogue(self, client: ClientState) -> Catalogue:
        """Return its campaigns."""


class OtherApi:
    """An API below the path `/NAME`."""

    def __init__(self, platform: Platform, name: str, description: ApiDescription, tokens: Tokens) -> None:
        self._platform = platform
        self._prefix = f"/{name}"
        self._about = description
        self._tokens = tokens

    @property
    def list_cost(self) -> int:
        """As how many requests a listing counts."""
        return self._about.list_.cost

    def is_sign_in(self, path: str) -> bool:
        """Return whether this is the path of the sign-in."""
        own = self._about.sign_in.path
        return own is not None and path == self._prefix + own

    async def sign_in(self, request: Request) -> Response:
        """Exchange an account's secrets for an access token."""
        about = self._about.sign_in
        email = await self._signing_in(request) if request.method == about.method else None
        if email is None:
            return failure(HTTPStatus.UNAUTHORIZED, "wrong credentials")
        account = self._platform.settings.accounts[email]
        if account.silent:
            return NoAnswer(drop=False)
        lifetime_s = account.token_lifetime_s or self._platform.settings.token_lifetime_s
        expires_at = self._platform.now() + lifetime_s
        for client_id in account.clients:
            self._platform.client(client_id).book.tokens_issued += 1
        body = put({}, about.token, self._tokens.issue(email, account, expires_at))
        if about.expires_in:
            body = put(body, about.expires_in, lifetime_s)
        if about.expires_at:
            body = put(body, about.expires_at, datetime.fromtimestamp(expires_at, UTC).isoformat())
        return JSONResponse(body)

    async def authorized(self, request: Request) -> ClientState:
        """Return the state of the account that a request is for; raises `HTTPException` (400, 401, 403, 404)."""
        email = self._bearer(request)
        found = await self._listing(request)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "there is nothing here")
        account = self._platform.settings.accounts.get(email or "")
        headers = match(_lowered(self._about.headers), dict(request.headers))
        if account is None or headers is None or not _are_its_secrets(headers, email or "", account):
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "the token or a key is missing, wrong or expired")
        client_id = (found | headers).get("account", "default")
        if client_id not in account.clients:
            raise HTTPException(HTTPStatus.FORBIDDEN, "these credentials may not act for this account")
        return self._platform.client(client_id)

    async def answer(self, client: ClientState, request: Request) -> Response:
        """Answer with one page of the account's campaigns."""
        behaviour = client.behaviour
        fault = client.fault(behaviour.listing_faults, str(request.url))
        match fault:
            case FaultKind.UNAUTHORIZED:
                return self.failed(HTTPException(HTTPStatus.UNAUTHORIZED, "the token is not valid"))
            case FaultKind.ERROR_CODE:
                return self._error_code()
        if substitute := instead(fault, behaviour.redirect_to):
            return substitute
        cursors = self._cursors(client)
        sent = await self._sent(request)
        try:
            part = asked(self._about.list_, sent, behaviour.page_size, cursors)
        except BadPage as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
        if fault is FaultKind.EXPIRED_CURSOR and part.first:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "the cursor has expired")
        await anyio.sleep(client.latency(behaviour.list_latency_s))
        page = self._page(client, part, fault, request)
        client.moved += behaviour.shifting
        return spoilt(fault, JSONResponse(page))

    def throttled(self, behaviour: Behaviour, verdict: Verdict, now: float) -> Response:
        """Return the refusal of a request beyond a quota."""
        usual = throttled(behaviour, verdict, now)
        return self._said(Means.THROTTLED, usual.status_code, json.loads(bytes(usual.body)), usual.headers)

    def failed(self, error: HTTPException) -> Response:
        """Return the answer to a request that failed."""
        usual = json.loads(bytes(failure(error.status_code, error.detail).body))
        means = _MEANINGS.get(HTTPStatus(error.status_code), Means.REFUSED)
        return self._said(means, error.status_code, usual, error.headers or {})

    async def _signing_in(self, request: Request) -> str | None:
        """Return the email of the account whose secrets a sign-in has."""
        about = self._about.sign_in
        sent: dict[str, JsonValue] = {"headers": dict(request.headers)}
        wanted: dict[str, JsonValue] = {"headers": dict(_lowered(about.headers))}
        if about.form is not None:
            sent["body"] = dict(parse_qsl((await request.body()).decode(errors="replace")))
            wanted["body"] = dict(about.form)
        elif about.json_ is not None:
            sent["body"], wanted["body"] = await read_json(request), about.json_
        if about.basic:
            wanted["basic"] = [f"{{{_SECRET}{name}}}" for name in about.basic]
            sent["basic"] = list(basic_credentials(request.headers.get("authorization", "")) or ())
        found = match(wanted, sent)
        accounts = self._platform.settings.accounts.items()
        return next((email for email, one in accounts if found and _are_its_secrets(found, email, one)), None)

    def _bearer(self, request: Request) -> str | None:
        """Return the email of the account that a request's token belongs to."""
        text = request.headers.get(self._about.token.header, "")
        scheme, _, value = text.rpartition(" ")
        if scheme.lower() != self._about.token.scheme.lower():
            return None
        accounts, static = self._platform.settings.accounts, self._about.sign_in.static
        if static is None:
            return self._tokens.email(accounts, value, self._platform.now())
        return next((email for email, one in accounts.items() if value and one.secrets.get(static) == value), None)

    async def _listing(self, request: Request) -> Found | None:
        """Return the placeholders' values if a request asks for a listing."""
        about = self._about.list_
        path, _, query = about.path.partition("?")
        fixed = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
        sent: dict[str, JsonValue] = {
            "path": request.scope["path"].removeprefix(self._prefix),
            "params": {**request.query_params},
        }
        wanted: dict[str, JsonValue] = {"path": path, "params": {**fixed, **about.params}}
        if about.json_ is not None:
            sent["body"], wanted["body"] = await read_json(request), about.json_
        return match(wanted, sent) if request.method == about.method else None

    async def _sent(self, request: Request) -> Mapping[str, JsonValue]:
        """Return the parameters with which a request asks for its page."""
        if self._about.list_.paging.in_ == "query":
            return dict(request.query_params)
        body = await read_json(request)
        return body if isinstance(body, dict) else {}

    def _page(self, client: ClientState, part: Asked, fault: FaultKind, request: Request) -> JsonValue:
        about = self._about.list_
        some = self._platform.catalogue(client).some(part.first, part.size)
        body: JsonValue = {}
        if self._about.expect:
            body = put(body, self._about.expect.path, self._about.expect.values[0])
        if fault is not FaultKind.NO_RECORDS and (some.campaigns or about.absent == "error"):
            records = [self._record(client.id, campaign) for campaign in some.campaigns]
            body = put(body, about.records, [*records])
        if about.paging.has_more:
            body = put(body, about.paging.has_more, some.has_more)
        if about.paging.total and "total" in some.total:
            body = put(body, about.paging.total, some.total["total"])
        if about.paging.next and some.has_more:
            reached = part.size if client.behaviour.fault is FaultKind.REPEATING else part.first + part.size
            body = put(body, about.paging.next, self._next(client, reached, fault, request))
        return body

    def _next(self, client: ClientState, reached: int, fault: FaultKind, request: Request) -> str:
        """Return the cursor or the link to the campaigns after the `reached` ones."""
        cursor = self._cursors(client).cursor(reached)
        if fault is FaultKind.TOKEN_IN_CURSOR:
            cursor += request.headers.get(self._about.token.header, "").rpartition(" ")[2]
        if self._about.list_.paging.kind is not PagingKind.LINK:
            return cursor
        link = request.url.include_query_params(**{CURSOR_PARAM: cursor})
        match fault:
            case FaultKind.LINK_ELSEWHERE:
                return f"{client.behaviour.redirect_to}{link.path}?{link.query}"
            case FaultKind.LINK_USERINFO:
                return str(link.replace(username="someone", password="else"))  # noqa: S106 - it is the fault
            case FaultKind.LINK_ACCOUNT:
                return str(link.replace(path=link.path.replace(client.id, f"{client.id}-2")))
        return str(link)

    def _record(self, client_id: str, campaign: Mapping[str, JsonValue]) -> JsonValue:
        values = {**campaign, "currency": random.Random(client_id).choice(_CURRENCIES)}  # noqa: S311 - made-up
        record: JsonValue = {}
        for name, field in self._about.fields_.described():
            record = put(record, field.path[0], _written(values[name], field))
        return record

    def _cursors(self, client: ClientState) -> Cursors:
        secret = f"{self._platform.settings.seed}{self._prefix}/{client.id}"
        return Cursors(secret, self._platform.now(), client.behaviour.cursor_lifetime_s)

    def _error_code(self) -> Response:
        """Return an error with the status 200, or the usual one if the API has no such errors."""
        usual: dict[str, JsonValue] = {"message": "try again later"}
        later, expect = self._about.answer(Means.LATER), self._about.expect
        if expect and (later is None or later.path is None):
            return JSONResponse(put(usual, expect.path, _UNEXPECTED))
        return self._said(Means.LATER, HTTPStatus.OK if later else HTTPStatus.SERVICE_UNAVAILABLE, usual, {})

    def _said(self, means: Means, status: int, usual: JsonValue, headers: Mapping[str, str]) -> Response:
        """Return an answer in the API's own words, in which it has `usual` besides."""
        answer = self._about.answer(means)
        if answer is not None:
            status = answer.status or (HTTPStatus.OK if self._about.expect else status)
            if answer.path:
                usual = put(usual, answer.path, answer.values[0])
        kept = {name: value for name, value in headers.items() if name.lower() in {"retry-after", "www-authenticate"}}
        return JSONResponse(usual, status, kept)


def _are_its_secrets(found: Found, email: str, account: PlatformAccount) -> bool:
    """Return whether the secrets among the values of placeholders are those of an account."""
    own = {"email": email, "password": account.password, **account.secrets}
    return all(
        own.get(name.removeprefix(_SECRET)) == value for name, value in found.items() if name.startswith(_SECRET)
    )


def _written(value: JsonValue, field: FieldTable) -> JsonValue:
    """Return a campaign's value as the API writes it; an odd one stays as it is."""
    if field.scale != 1 and isinstance(value, int | float):
        return round(value / field.scale)
    if field.time in {"ms", "s"} and isinstance(value, str) and value:
        return round(datetime.fromisoformat(value).timestamp() * (1000 if field.time == "ms" else 1))
    return value


def _lowered(headers: Mapping[str, str]) -> dict[str, JsonValue]:
    return {name.lower(): text for name, text in headers.items()}
