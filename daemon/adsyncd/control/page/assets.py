"""The style sheet, the script and the icon: read once, named with their version, so that browsers may keep them."""

import hashlib
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_TYPES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    kind: str
    version: str


def versioned(name: str) -> str:
    """Return the address of an asset, with its version."""
    return f"/assets/{name}?v={_asset(name).version}"


def asset(request: Request, name: str) -> Response:
    """Answer a request for an asset. Raises HTTPException if there is none of this name."""
    if name not in _TYPES:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    found = _asset(name)
    current = request.query_params.get("v") == found.version
    headers = {
        "etag": f'"{found.version}"',
        "cache-control": _FOR_EVER if current else "no-cache",
        "x-content-type-options": "nosniff",
    }
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.content, headers=headers, media_type=found.kind)


@cache
def _asset(name: str) -> _Asset:
    content = files("adsyncd.control.page").joinpath("static", name).read_bytes()
    return _Asset(content, _TYPES[name], hashlib.blake2b(content, digest_size=8).hexdigest())
