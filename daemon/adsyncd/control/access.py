"""Decides for every request on the control sockets whether a browser was led here by a foreign site.

A browser is on the same machine as a forwarded socket, so any site that it shows can send requests here. Two checks
keep them out, and neither needs a cookie or a session:

- DNS rebinding: a site's own name may resolve to 127.0.0.1, and then the browser takes the answers for that site's
  own. So the request must name one of our hosts (421 Misdirected Request, RFC 9110, section 15.5.20).
- Cross-site requests: a site may submit a form to 127.0.0.1. So whatever is not GET or HEAD must come from a page of
  the same origin (403), which browsers state in `Origin` and `Sec-Fetch-Site`. Other clients send neither.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adsyncd.control import wire
from adsyncd.control.problem import ProblemDetails
from adsyncd.model.web_host import WebHost, read_host

OWN_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]", "adsyncd"})
SAFE_METHODS = frozenset({"GET", "HEAD"})
_READS_ONLY = "adsyncd.reads_only"
_ABSOLUTE = re.compile("https?://([^/]*)(/.*)?", re.IGNORECASE | re.DOTALL)
_ORIGIN = re.compile("(https?)://(.*)", re.DOTALL)
_PORTS = {"http": 80, "https": 443}
_LONGEST_ECHO = 100


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why a request is refused, with the fix."""

    status: HTTPStatus
    detail: str
    fix: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Access:
    """An ASGI application that checks each request before `app` gets it.

    `hosts` returns the further names of this server. If `reads_only`, no method but GET and HEAD gets through.
    """

    def __init__(
        self, app: ASGIApp, hosts: Callable[[], Collection[str]] = frozenset, *, reads_only: bool = False
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._reads_only = reads_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _with_origin_form(scope)
        scope.setdefault("extensions", {})[_READS_ONLY] = self._reads_only
        no_store = scope["path"].startswith("/v1/")

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                if no_store:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        refused = refusal(
            scope["method"], scope["path"], Headers(scope=scope), OWN_HOSTS.union(self._hosts()), self._reads_only
        )
        await (_answer(refused) if refused else self._app)(scope, receive, send_protected)


def reads_only(request: Request) -> bool:
    """Return whether the request came over a socket that takes no commands."""
    return bool(request.scope.get("extensions", {}).get(_READS_ONLY))


def refusal(method: str, path: str, headers: Headers, hosts: Collection[str], reads_only: bool) -> Refusal | None:  # noqa: PLR0911 - one return for each reason
    """Return why a request is refused, or None if it is not."""
    if not path.startswith("/"):
        return Refusal(HTTPStatus.BAD_REQUEST, "the target of the request is not a path", "ask for a path such as /")
    named = headers.getlist("host")
    if len(named) != 1:
        return Refusal(HTTPStatus.BAD_REQUEST, f"the request has {len(named)} Host fields", "send exactly one")
    [text] = named
    host = read_host(text)
    if host is None:
        return Refusal(HTTPStatus.BAD_REQUEST, f"the Host {_shown(text)} is not a host", "send the name of a host")
    if host.name not in hosts:
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"this server does not go by the name {_shown(host.name)}",
            "use localhost; or add the name to page.hosts in the settings, and run: adsyncd reload",
        )
    if method in SAFE_METHODS:
        return None
    if reads_only:
        return Refusal(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "this socket only reads (page.socket)",
            "send commands to control.socket",
            {"Allow": ", ".join(sorted(SAFE_METHODS))},
        )
    return _cross_site(headers, host)


def _cross_site(headers: Headers, host: WebHost) -> Refusal | None:
    for origin in headers.getlist("origin"):
        if not _is_same_origin(origin, host):
            return Refusal(
                HTTPStatus.FORBIDDEN,
                f"a page of the origin {_shown(origin)} may not send commands here",
                "use the page at this address; a reverse proxy must pass the Host field on as it is, with its port",
            )
    for site in headers.getlist("sec-fetch-site"):
        if site not in {"same-origin", "none"}:
            return Refusal(
                HTTPStatus.FORBIDDEN,
                f"a page of another origin may not send commands here (Sec-Fetch-Site: {_shown(site)})",
                "use the page at this address",
            )
    return None


def _is_same_origin(origin: str, host: WebHost) -> bool:
    """Return whether an Origin (RFC 6454, section 7) is of this host.

    The scheme is not known behind a proxy that ends TLS, so the origin's own tells the default of the port.
    """
    found = _ORIGIN.fullmatch(origin)
    theirs = read_host(found[2]) if found else None
    if not found or theirs is None:
        return False
    default = _PORTS[found[1]]
    return (theirs.name, _port(theirs, default)) == (host.name, _port(host, default))


def _port(host: WebHost, default: int) -> int:
    return default if host.port is None else host.port


def _with_origin_form(scope: Scope) -> Scope:
    """Return a request with a path as its target. The host of an absolute target replaces Host (RFC 9112, 3.2.2)."""
    found = _ABSOLUTE.fullmatch(scope.get("raw_path", b"").decode("latin-1"))
    if not found:
        return scope
    path = found[2] or "/"
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "headers": [(b"host", found[1].encode("latin-1")), *others],
    }


def _answer(refused: Refusal) -> Response:
    problem = ProblemDetails(title=refused.status.phrase, status=refused.status, detail=refused.detail, fix=refused.fix)
    headers = {"Cache-Control": "no-store", **refused.headers}
    return Response(problem.model_dump_json(), refused.status, headers, wire.PROBLEM_JSON)


def _shown(text: str) -> str:
    return f'"{text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}..."}"'
