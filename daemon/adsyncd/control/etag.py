"""Answers that a client has already are not sent again: ETag and 304 (RFC 9110, section 13.1.2)."""

from hashlib import blake2b
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

_KEPT = ("link", "content-security-policy", "vary", "cache-control")  # header fields that a 304 repeats


def tagged(request: Request, response: Response) -> Response:
    """Return a complete answer to a GET with its ETag, or a 304 if the client's If-None-Match has it.

    Two equal bodies have equal tags. A client asks again each time: `Cache-Control: no-cache`.
    """
    tag = f'"{blake2b(bytes(response.body), digest_size=12).hexdigest()}"'
    response.headers["etag"] = tag
    response.headers.setdefault("cache-control", "no-cache")
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag not in known and "*" not in known:
        return response
    kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
    return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={**kept, "etag": tag})
