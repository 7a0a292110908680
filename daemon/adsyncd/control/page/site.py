"""The routes of the pages: what each view asks of the daemon, and the answers to browsers, errors included."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Protocol

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adsyncd.clock import Clock
from adsyncd.control.commands import Commands
from adsyncd.control.overview import Bucket, Cause, QuotasPage, Reason, Show, TenantRow, TenantsPage
from adsyncd.control.page.assets import asset
from adsyncd.control.page.frame import Frame, frame
from adsyncd.control.page.rendering import html
from adsyncd.control.page.tenants import tenants_view
from adsyncd.control.page.trail import ROWS, trail
from adsyncd.errors import AdsyncdError, CommandRefused
from adsyncd.model.status import DaemonStatus

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


class Lists(Protocol):
    """What the pages ask of all tenants. See `adsyncd.control.overview.Overview`."""

    async def tenants(
        self, show: Show, *, platform: str | None, q: str | None, worst: bool, limit: int, after: str | None
    ) -> TenantsPage:
        """Return a page of tenants."""

    async def tenant(self, tenant_id: str) -> TenantRow:
        """Return a tenant. Raises NoSuchTenant."""

    def causes(self) -> Sequence[Cause]:
        """Return what is wrong, by cause."""

    def history(self, since: datetime, bucket: timedelta) -> Sequence[Bucket]:
        """Return the runs since an instant, summed up by buckets."""

    async def quotas(self, limit: int, after: str | None) -> QuotasPage:
        """Return the platforms and a page of client ids."""

    async def reasons(self) -> Sequence[Reason]:
        """Return what failed, by reason."""


Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Site:
    """The pages. `host`: the name of this machine. `trace_url`: see `page.trace_url`; it may change with a reload."""

    commands: Commands
    lists: Lists
    clock: Clock
    host: str
    trace_url: Callable[[], str | None] = lambda: None

    @property
    def routes(self) -> list[Route]:
        """The routes of all views and assets."""
        return [
            Route("/", self._page(self._tenants)),
            Route("/assets/{name}", self._page(_asset)),
            Route("/favicon.ico", self._page(_icon)),
        ]

    async def error(self, request: Request, status: int, detail: str, fix: str | None = None) -> Response:
        """Return an error as a page."""
        phrase = HTTPStatus(status).phrase
        around = frame(phrase, host=self.host, daemon=await self._daemon(), now=self.clock.now(), still=True)
        sentence = f"{status}: {phrase.lower()}."
        return await _rendered(request, "error.html", around, status, sentence=sentence, detail=detail, fix=fix or "")

    def _page(self, answer: Answer) -> Answer:
        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except HTTPException as error:
                return await self.error(request, error.status_code, error.detail)
            except CommandRefused as error:
                return await self.error(request, HTTPStatus.CONFLICT, error.what, error.fix)
            except AdsyncdError as error:
                return await self.error(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))

        return answered

    async def _daemon(self) -> DaemonStatus:
        return await self.commands.status()

    async def _tenants(self, request: Request) -> Response:
        query, now = request.query_params, self.clock.now()
        show = _choice(query.get("show", Show.ALL))
        here = trail(query.get("after", ""))
        page = await self.lists.tenants(show, platform=None, q=None, worst=True, limit=ROWS, after=here.after)
        daemon = await self._daemon()
        history = self.lists.history(now - _DAY, _HOUR)
        view = tenants_view(daemon, page, self.lists.causes(), history, now, show=show, trail=here)
        around = frame(view.sentence, host=self.host, daemon=daemon, now=now, current="Tenants")
        return await _rendered(request, "tenants.html", around, view=view)


def wants_page(request: Request) -> bool:
    """Whether a request comes from a browser that would show a page: errors of the API stay problem details."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")


def _choice(text: str) -> Show:
    try:
        return Show(text)
    except ValueError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no list {text}") from error


async def _rendered(request: Request, template: str, around: Frame, status: int = 200, **values: object) -> Response:
    """Render in a thread: a hundred rows take some milliseconds, in which the runs go on."""
    return await anyio.to_thread.run_sync(lambda: html(request, template, around, status, **values))


async def _asset(request: Request) -> Response:
    return asset(request, request.path_params["name"])


async def _icon(request: Request) -> Response:
    return asset(request, "icon.svg")
