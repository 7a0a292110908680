"""The ad platform as an ASGI app: its own API, the further ones that its settings describe, and what tests ask for."""

import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime

import anyio
from pydantic import JsonValue, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from mock_api.accounts import Tokens, signing_in
from mock_api.answers import NoAnswer, failure, instead, spoilt, throttled
from mock_api.campaigns import Catalogue
from mock_api.clients import ClientState, Verdict
from mock_api.gate import Gate, read_json
from mock_api.ledger import Book, Counts
from mock_api.meters import Meter, meter
from mock_api.other_api import OtherApi
from mock_api.settings import Behaviour, MockSettings, merge_patch

_LARGEST_PAGE = 100


def create_app(document: JsonValue, now: Callable[[], float]) -> Starlette:
    """Return the platform that the settings in `document` describe.

    `now` returns seconds since the epoch and never goes back; sleeping is `anyio.sleep` on the same time line. All
    randomness comes from the document's seed. Raises pydantic's `ValidationError`.
    """
    platform = AdPlatform(document, now)
    return Starlette(
        routes=[
            Route("/health", _health),
            Route("/auth/token", platform.sign_in, methods=["POST"]),
            Route("/api/campaigns", Gate(platform, platform, platform.list_campaigns, _list_cost), methods=["GET"]),
            Route(
                "/api/campaigns/{campaign_id}/sync",
                Gate(platform, platform, platform.push, _push_cost),
                methods=["POST"],
            ),
            Route("/api/error", _error),
            Route("/_ledger", platform.ledger),
            Route("/_ledger/reset", platform.reset_ledger, methods=["POST"]),
            Route("/_settings", platform.change_settings, methods=["POST"]),
            _OtherApis(platform),
        ],
        exception_handlers={HTTPException: _api_error},
    )


class AdPlatform:
    """The platform's state, and the endpoints that read and change it."""

    def __init__(self, document: JsonValue, now: Callable[[], float]) -> None:
        self.now = now
        self._document = document
        self._settings = MockSettings.model_validate(document)
        self._tokens = Tokens(random.Random(self._settings.seed))  # noqa: S311 - a mock's tokens are to be reproducible
        self._tokens_of: dict[str, Tokens] = {}  # by the name of another API
        self._clients: dict[str, ClientState] = {}
        self._shared = self._shared_meter()
        self._counts = Counts()

    async def sign_in(self, request: Request) -> Response:
        """Exchange Basic credentials for an access token."""
        email = signing_in(self._settings.accounts, request.headers.get("authorization", ""))
        if email is None:
            return failure(401, "wrong email or password", {"WWW-Authenticate": "Basic"})
        account = self._settings.accounts[email]
        if account.silent:
            return NoAnswer(drop=False)
        lifetime_s = account.token_lifetime_s or self._settings.token_lifetime_s
        now = self.now()
        for client_id in account.clients:
            self.client(client_id).book.tokens_issued += 1
        return JSONResponse(
            {
                "access_token": self._tokens.issue(email, account, now + lifetime_s),
                "token_type": "Bearer",
                "expires_in": lifetime_s,
                "issued_at": _timestamp(now),
            }
        )

    async def authorized(self, request: Request) -> ClientState:
        """Return the state of the client id that a request's token opens; raises `HTTPException` (401, 403)."""
        account = self._tokens.account(self._settings.accounts, request.headers.get("authorization", ""), self.now())
        if account is None:
            raise HTTPException(401, "the token is missing, wrong or expired", {"WWW-Authenticate": "Bearer"})
        client_id = request.headers.get("x-client-id", "default")
        if client_id not in account.clients:
            raise HTTPException(403, "this account may not act for this client id")
        return self.client(client_id)

    def throttled(self, behaviour: Behaviour, verdict: Verdict, now: float) -> Response:
        """Return the refusal of a request beyond a quota."""
        return throttled(behaviour, verdict, now)

    def failed(self, error: HTTPException) -> Response:
        """Return the answer to a request that failed."""
        return failure(error.status_code, error.detail, error.headers)

    def other_api(self, name: str) -> OtherApi | None:
        """Return the API below the path `/name`, if there is one."""
        description = self._settings.apis.get(name)
        if description is None:
            return None
        if name not in self._tokens_of:
            self._tokens_of[name] = Tokens(random.Random(f"{self._settings.seed}/{name}"))  # noqa: S311 - as above
        return OtherApi(self, name, description, self._tokens_of[name])

    def take(self, client: ClientState, now: float, cost: int) -> Verdict:
        """Count a request as `cost` against the quotas of the client id and of the platform, or against none."""
        verdict = client.take(now, self._shared, cost)
        if self._settings.shared is not None:
            if verdict.accepted:
                self._counts.accept(now, [self._settings.shared.window_s], cost)
            elif verdict.by_platform:
                self._counts.refuse(now)
        return verdict

    async def list_campaigns(self, client: ClientState, request: Request) -> Response:
        """Answer with one page of the client id's campaigns."""
        behaviour = client.behaviour
        fault = client.fault(behaviour.listing_faults, str(request.url))
        if substitute := instead(fault, behaviour.redirect_to):
            return substitute
        page, limit = _count(request, "page", 1), _count(request, "limit", 10)
        await anyio.sleep(client.latency(behaviour.list_latency_s))
        size = behaviour.page_size or min(limit, _LARGEST_PAGE)
        listing = JSONResponse(self.catalogue(client).page(page, size))
        client.moved += behaviour.shifting
        if behaviour.etag:
            tag = f'"{hashlib.sha256(listing.body).hexdigest()[:16]}"'
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers={"ETag": tag})
            listing.headers["ETag"] = tag
        return spoilt(fault, listing)

    async def push(self, client: ClientState, request: Request) -> Response:
        """Sync a campaign. A repeated key gets the first answer, once that is due; for another campaign, 422."""
        behaviour = client.behaviour
        fault = client.fault(behaviour.push_faults, str(request.url))
        if substitute := instead(fault, behaviour.redirect_to):
            return substitute
        campaign_id = request.path_params["campaign_id"]
        if await read_json(request) != {"campaign_id": campaign_id}:
            raise HTTPException(400, "the body must be {campaign_id}, with the id of the path")
        if campaign_id not in self.catalogue(client):
            raise HTTPException(404, "no such campaign")
        if campaign_id in behaviour.rejected:
            raise HTTPException(422, behaviour.rejection)
        push = client.push(campaign_id, request.headers.get("idempotency-key", ""), self.now())
        if push.campaign_id != campaign_id:
            raise HTTPException(422, "this Idempotency-Key belongs to another campaign")
        await anyio.sleep(max(0.0, push.due - self.now()))
        return spoilt(
            fault,
            JSONResponse(
                {
                    "success": True,
                    "campaign_id": campaign_id,
                    "synced_at": _timestamp(push.due),
                    "message": "campaign synced",
                }
            ),
        )

    async def ledger(self, request: Request) -> Response:
        """Answer with the pages of all client ids, or of `?client_id=`, and what the platform's own quota saw."""
        wanted = request.query_params.getlist("client_id") or self._clients
        pages = {client_id: self.client(client_id).book.as_json() for client_id in wanted}
        return JSONResponse({"clients": pages, "platform": self._counts.as_json()})

    async def reset_ledger(self, _: Request) -> Response:
        """Start an empty ledger. Meters and idempotency keys are kept."""
        self._counts = Counts()
        for client in self._clients.values():
            client.book = Book()
        return Response(status_code=204)

    async def change_settings(self, request: Request) -> Response:
        """Merge a patch into the settings, from the next request on. An invalid patch changes nothing."""
        patch = await read_json(request)  # first: while it arrives another one may be merged
        document = merge_patch(self._document, patch)
        before = self._settings
        try:
            self._settings = MockSettings.model_validate(document)
        except ValidationError as error:
            return failure(422, str(error))
        self._document = document
        after = self._settings
        if (after.shared, after.everyone.algorithm) != (before.shared, before.everyone.algorithm):
            self._shared = self._shared_meter()
        for client in self._clients.values():
            client.adopt(self._settings.behaviour(client.id))
        return Response(status_code=204)

    def _shared_meter(self) -> Meter | None:
        shared = self._settings.shared
        return None if shared is None else meter(self._settings.everyone.algorithm, shared)

    @property
    def settings(self) -> MockSettings:
        """The current settings."""
        return self._settings

    def client(self, client_id: str) -> ClientState:
        """Return the state of a client id, which begins with its first request."""
        client = self._clients.get(client_id)
        if client is None:
            client = ClientState(client_id, self._settings.seed, self._settings.behaviour(client_id))
            self._clients[client_id] = client
        return client

    def catalogue(self, client: ClientState) -> Catalogue:
        """Return the campaigns of a client id."""
        return Catalogue(self._settings.seed, client.id, client.behaviour, client.moved)


class _OtherApis(BaseRoute):
    """The paths of the APIs that the settings describe at the time of a request."""

    def __init__(self, platform: AdPlatform) -> None:
        self._platform = platform

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether a request is for one of them."""
        api = self._platform.other_api(scope["path"].split("/")[1]) if scope["type"] == "http" else None
        return (Match.NONE, {}) if api is None else (Match.FULL, {"endpoint": api})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that matches."""
        api = scope["endpoint"]
        if api.is_sign_in(scope["path"]):
            response = await api.sign_in(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await Gate(self._platform, api, api.answer, lambda _: api.list_cost)(scope, receive, send)


def _list_cost(behaviour: Behaviour) -> int:
    return behaviour.list_cost


def _push_cost(behaviour: Behaviour) -> int:
    return behaviour.push_cost


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _error(_: Request) -> Response:
    return failure(500, "this endpoint always fails")


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette types its handlers by Exception
    return failure(error.status_code, error.detail, error.headers)


def _count(request: Request, name: str, usual: int) -> int:
    text = request.query_params.get(name, str(usual))
    if not text.isdecimal() or int(text) < 1:
        raise HTTPException(400, f"{name} must be a whole number from 1")
    return int(text)


def _timestamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
