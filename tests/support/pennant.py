"""Pennant, the ad platform of docs/profiles.md, as its own documentation there describes it: two hosts, one account."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from support import web

APP = {"client_id": "pennant-app", "client_secret": "a-long-app-secret", "refresh_token": "a-long-refresh-token"}
TOKEN = "pennant-access-token"
_MOST = 2  # campaigns on a page, whatever is asked for


@dataclass
class Pennant:
    """The platform. `items`: the campaigns of its account; `pages`: how many pages were asked for."""

    items: list[dict[str, Any]]
    ads: str = ""
    login: str = ""
    pages: list[str] = field(default_factory=list)
    slow_downs: int = 0  # the answers that refuse for a limit's sake, before others

    async def sign_in(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if form != {"grant_type": "refresh_token", **APP}:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"access_token": TOKEN, "expires_in": 3600})

    async def campaigns(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"status": "error", "code": "who_are_you"})
        if self.slow_downs:
            self.slow_downs -= 1
            return JSONResponse({"status": "error", "code": "slow_down"})
        query = request.query_params
        self.pages.append(str(query))
        start = _CURSORS.index(query["after"]) * _MOST if "after" in query else 0
        shown = self.items[start : start + min(int(query["limit"]), _MOST)]
        more = start + len(shown) < len(self.items)
        result = {"items": shown, **({"more": _CURSORS[start // _MOST + 1]} if more else {})}
        return JSONResponse({"status": "ok", "result": result})


_CURSORS = ["", "bmV4dDoy", "bmV4dDo0", "bmV4dDo2"]


@asynccontextmanager
async def running_pennant(items: list[dict[str, Any]]) -> AsyncIterator[Pennant]:
    """Serve the platform at `ads`, and its sign-in at `login`."""
    pennant = Pennant(items)
    ads = Starlette(routes=[Route("/v2/accounts/4711/campaigns", pennant.campaigns)])
    login = Starlette(routes=[Route("/oauth/token", pennant.sign_in, methods=["POST"])])
    async with web.serving(ads) as pennant.ads, web.serving(login) as pennant.login:
        yield pennant
