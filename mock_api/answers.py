"""Answers other than the requested ones: the API's errors, and those of proxies, crashes and bad networks."""

import json
import math
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from http import HTTPStatus

from pydantic import JsonValue
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from mock_api.clients import Verdict
from mock_api.faults import FaultKind
from mock_api.settings import Behaviour, RetryAfter

DROP = "mock_api.drop"
"""ASGI extension: a callable that closes the connection at once."""

_META_APP = 4  # Meta's codes: too many calls of an app, or to an ad account
_META_AD_ACCOUNT = 80_004
_CHUNK = b" " * 1_000_000
_CHUNKS = 100


class NoAnswer(Response):
    """Waits until the client leaves; with `drop` the server closes the connection at once."""

    def __init__(self, *, drop: bool) -> None:
        super().__init__()
        self._drop = drop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send nothing."""
        if self._drop:
            scope["extensions"][DROP]()
        while (await receive())["type"] != "http.disconnect":
            pass


def failure(status: int, message: str, headers: Mapping[str, str] | None = None, **more: JsonValue) -> Response:
    """Return an error of the API: `{error, message}`."""
    return JSONResponse({"error": HTTPStatus(status).phrase, "message": message} | more, status, headers)


def throttled(behaviour: Behaviour, verdict: Verdict, now: float) -> Response:
    """Return a refusal with the time to retry, rounded up, in the configured form."""
    wait_s = verdict.wait_s
    headers: dict[str, str] = {}
    body: dict[str, JsonValue] = {"retry_after": math.ceil(wait_s * 1000) / 1000}
    match behaviour.retry_after:
        case RetryAfter.SECONDS:
            headers["Retry-After"] = str(math.ceil(wait_s))
        case RetryAfter.DATE:
            headers["Retry-After"] = formatdate(math.ceil(now + wait_s), usegmt=True)
        case RetryAfter.ABSENT:
            body = {}
    if behaviour.throttle_status == HTTPStatus.TOO_MANY_REQUESTS:
        return failure(429, "too many requests", headers, **body)
    code, what = (_META_APP, "app") if verdict.by_platform else (_META_AD_ACCOUNT, "ad-account")
    error = {"message": f"(#{code}) There have been too many calls from this {what}", "type": "OAuthException"}
    return JSONResponse({"error": error | {"code": code}}, behaviour.throttle_status, headers)


def instead(fault: FaultKind, redirect_to: str) -> Response | None:
    """Return the answer of a `fault` that replaces serving the request, or None."""
    match fault:
        case FaultKind.UNAVAILABLE:
            return failure(503, "try again later")
        case FaultKind.UNAUTHORIZED:
            return failure(401, "the token is not valid", {"WWW-Authenticate": "Bearer"})
        case FaultKind.HTML:
            return HTMLResponse("<!doctype html><title>Welcome</title><p>Please sign in to this network.")
        case FaultKind.REDIRECT:
            return RedirectResponse(redirect_to)
        case FaultKind.HUGE:
            return StreamingResponse(_huge(), media_type="application/json")
    return None


def spoilt(fault: FaultKind, answer: JSONResponse) -> Response:
    """Return the `answer` of a served request as a `fault` changes it."""
    match fault:
        case FaultKind.HANG | FaultKind.DROP:
            return NoAnswer(drop=fault is FaultKind.DROP)
        case FaultKind.MALFORMED:
            body = bytes(answer.body)
            return Response(body[: len(body) // 2], answer.status_code, media_type=answer.media_type)
        case FaultKind.WRONG_TYPES:
            return JSONResponse(_wrong(json.loads(bytes(answer.body))))
    return answer


def _wrong(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _wrong(item) for key, item in value.items()}
    if isinstance(value, list):
        return {str(index): _wrong(item) for index, item in enumerate(value)}
    return value if value is None else f"{value} or so"


async def _huge() -> AsyncIterator[bytes]:
    yield b'{"data": ['
    for _ in range(_CHUNKS):
        yield _CHUNK
    yield b"]}"
