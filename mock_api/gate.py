"""What all metered requests go through, whichever API they are for.

    token (401) -> client id (403) -> meter (429, uncounted) -> fault -> answer

So everything behind the meter is counted against the quota, whatever becomes of it.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from pydantic import JsonValue
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mock_api.clients import ClientState, Verdict
from mock_api.quota_fields import quota_fields
from mock_api.settings import Behaviour


class Meters(Protocol):
    """The quotas of the platform and of its client ids."""

    @property
    def now(self) -> Callable[[], float]:
        """Return the seconds since the epoch."""

    def take(self, client: ClientState, now: float, cost: int) -> Verdict:
        """Count a request as `cost` against all quotas or against none."""


class Api(Protocol):
    """An API: who a request is from, and how it says what is wrong."""

    async def authorized(self, request: Request) -> ClientState:
        """Return the state of the client id that a request is for. Raises `HTTPException`."""

    def throttled(self, behaviour: Behaviour, verdict: Verdict, now: float) -> Response:
        """Return the refusal of a request beyond a quota."""

    def failed(self, error: HTTPException) -> Response:
        """Return the answer to a request that failed."""


class Gate:
    """An endpoint behind the meters, as an ASGI app: a request is in flight until its answer is out.

    `cost` returns as how many requests one counts.
    """

    def __init__(
        self,
        meters: Meters,
        api: Api,
        answer: Callable[[ClientState, Request], Awaitable[Response]],
        cost: Callable[[Behaviour], int],
    ) -> None:
        self._meters = meters
        self._api = api
        self._answer = answer
        self._cost = cost

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        try:
            client = await self._api.authorized(request)
        except HTTPException as error:
            await self._api.failed(error)(scope, receive, send)
            return
        behaviour = client.behaviour
        now = self._meters.now()
        verdict = self._meters.take(client, now, self._cost(behaviour))
        with client.in_flight():
            if verdict.accepted:
                try:
                    response = await self._answer(client, request)
                except HTTPException as error:
                    response = self._api.failed(error)
            else:
                response = self._api.throttled(behaviour, verdict, now)
            response.headers.update(quota_fields(behaviour.ratelimit_headers, client.id, verdict, now))
            await response(scope, receive, send)


async def read_json(request: Request) -> JsonValue:
    """Return the JSON of a request's body. Raises `HTTPException` (400)."""
    try:
        body: JsonValue = await request.json()
    except ValueError:
        raise HTTPException(400, "the body is not JSON") from None
    except ClientDisconnect:
        raise HTTPException(400, "the client left before its body was here") from None
    return body
