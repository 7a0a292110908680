"""The routes of the pages: what each view asks of the daemon, and the answers to browsers, errors included.

A command is a form: it is answered by a redirect to the tenant's page, or by that page with the reason of a refusal.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from adsyncd.clock import Clock
from adsyncd.control.access import reads_only
from adsyncd.control.audit import recorded
from adsyncd.control.commands import Commands
from adsyncd.control.page.assets import asset
from adsyncd.control.page.failures import failures_view
from adsyncd.control.page.found import Hit, found_view, hits
from adsyncd.control.page.frame import Frame, Notice, frame
from adsyncd.control.page.quotas import quotas_view
from adsyncd.control.page.rendering import html
from adsyncd.control.page.run import run_view
from adsyncd.control.page.sources import Lists, Records
from adsyncd.control.page.tenant import RUNS, Story, tenant_view
from adsyncd.control.page.tenants import tenant_path, tenants_view
from adsyncd.control.page.trail import ROWS, trail
from adsyncd.errors import AdsyncdError, CommandRefused, NoSuchTenant, Stopping, StoreError
from adsyncd.model.alert import Alert
from adsyncd.model.failure import RunDetails, unpushed_of
from adsyncd.model.run import Outcome
from adsyncd.model.selection import Selection, Show
from adsyncd.model.status import DaemonStatus, RunProgress, TenantStatus
from adsyncd.model.tenant import TENANT_ID, Tenant

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
E = TypeVar("E", bound=StrEnum)
_MOST_IN_AN_HOUR = 400  # runs
_MOST_HITS = 20
_LONGEST_QUERY = 200


Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Site:
    """The pages. `host`: the name of this machine.

    What a reload changes is asked for anew: `tenants` in service by id, `folders` of their files, and `trace_url`, the
    address of a trace. `alerts`: those that fire.
    """

    commands: Commands
    lists: Lists
    records: Records
    clock: Clock
    host: str
    tenants: Callable[[], Mapping[str, Tenant]] = dict
    folders: Callable[[], Sequence[Path]] = tuple
    alerts: Callable[[], Sequence[Alert]] = tuple
    trace_url: Callable[[], str | None] = lambda: None

    @property
    def routes(self) -> list[Route]:
        """The routes of all views and assets."""
        pages: Mapping[str, Answer] = {
            "/": self._tenants,
            "/tenants/{tenant}": self._tenant,
            "/tenants/{tenant}/runs/{run}": self._run,
            "/quotas": self._quotas,
            "/failures": self._failures,
            "/find": self._find,
            "/assets/{name}": _asset,
            "/favicon.ico": _icon,
        }
        return [
            *(Route(path, self._page(answer)) for path, answer in pages.items()),
            *(
                Route(f"/tenants/{{tenant}}/{command}", self._page(self._command), methods=["POST"])
                for command in ("trigger", "pause", "resume")
            ),
        ]

    async def error(self, request: Request, status: int, detail: str, fix: str | None = None) -> Response:
        """Return an error as a page."""
        phrase = HTTPStatus(status).phrase
        around = await self._frame(phrase, still=True)
        sentence = f"{status}: {phrase.lower()}."
        return await _rendered(request, "error.html", around, status, sentence=sentence, detail=detail, fix=fix or "")

    def _page(self, answer: Answer) -> Answer:
        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except HTTPException as error:
                return await self.error(request, error.status_code, error.detail)
            except NoSuchTenant as error:
                return await self.error(request, HTTPStatus.NOT_FOUND, error.what, error.fix)
            except CommandRefused as error:
                return await self.error(request, HTTPStatus.CONFLICT, error.what, error.fix)
            except (Stopping, StoreError) as error:
                return await self.error(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))

        return answered

    async def _frame(
        self, title: str, daemon: DaemonStatus | None = None, *, current: str = "", asked: str = "", still: bool = False
    ) -> Frame:
        known = daemon or await self.lists.daemon()
        now, failures = self.clock.now(), None
        with suppress(StoreError):
            failures = sum((await self.records.dead_letter_counts()).values())
        return frame(
            title,
            host=self.host,
            daemon=known,
            now=now,
            current=current,
            failures=failures,
            asked=asked,
            still=still,
        )

    async def _tenants(self, request: Request) -> Response:
        now, here = self.clock.now(), trail(request.query_params.get("after", ""))
        show = _member(Show, request.query_params.get("show", "")) or Show.ALL
        page = await self.lists.tenants(Selection(frozenset({show})), worst=True, limit=ROWS, after=here.after)
        causes, alerts = self.lists.causes(), len(self.alerts())  # at once: from the same look at all tenants
        daemon = await self.lists.daemon()
        history = self.lists.history(now - _DAY, _HOUR)
        view = await to_thread.run_sync(
            lambda: tenants_view(daemon, page, causes, history, now, show=show, trail=here, alerts=alerts)
        )
        around = await self._frame(view.sentence.removesuffix("."), daemon, current="Tenants")
        return await _rendered(request, "tenants.html", around, view=view)

    async def _tenant(self, request: Request) -> Response:
        return await self._tenant_page(request, done=request.query_params.get("done", ""))

    async def _tenant_page(
        self, request: Request, status: int = HTTPStatus.OK, *, done: str = "", refused: Notice | None = None
    ) -> Response:
        tenant_id, now = _tenant_id(request), self.clock.now()
        row = await self.lists.tenant(tenant_id)
        folders = [folder for folder in self.folders() if (folder / f"{tenant_id}.toml").exists()]
        view = tenant_view(
            daemon := await self.lists.daemon(),
            row,
            await self._story(request, row.status, now),
            now,
            tenant=self.tenants().get(tenant_id),
            file=folders[-1] / f"{tenant_id}.toml" if folders else None,  # the one in the latest directory counts
            alerts=self.alerts(),
            trace_url=self.trace_url(),
            reads_only=reads_only(request),
            done=done,
            refused=refused,
        )
        around = await self._frame(tenant_id, daemon, current="Tenants", still=refused is not None)
        return await _rendered(request, "tenant.html", around, status, view=view)

    async def _story(self, request: Request, status: TenantStatus, now: datetime) -> Story:
        """Return a tenant's runs; none while the database can't be used, which the page says."""
        of, going = status.id, status.run.run_id if status.run else None
        outcome = _member(Outcome, request.query_params.get("outcome", ""))
        here = trail(request.query_params.get("after", ""))
        before = _instant(here.after) if here.after else None
        try:
            page = await self.records.runs_of(of, outcome=outcome, before=before, limit=RUNS + 1, going=going)
            hour = await self.records.runs_of(of, since=now - 2 * _HOUR, limit=_MOST_IN_AN_HOUR, going=going)
        except StoreError:
            return Story((), ())
        return Story(page[:RUNS], hour, len(page) > RUNS, outcome, here, self.lists.free_permits(of))

    async def _command(self, request: Request) -> Response:
        tenant_id, command = _tenant_id(request), request.url.path.rpartition("/")[2]
        try:
            with recorded(request, command, tenant_id):
                if command == "trigger":
                    self.commands.trigger(tenant_id)
                elif command == "pause":
                    await self.commands.pause(tenant_id)
                else:
                    await self.commands.resume(tenant_id)
        except NoSuchTenant:
            raise
        except AdsyncdError as error:
            fix = error.fix if isinstance(error, CommandRefused) else ""
            notice = Notice("bad", error.what if isinstance(error, CommandRefused) else str(error), fix)
            return await self._tenant_page(request, HTTPStatus.CONFLICT, refused=notice)
        return RedirectResponse(f"{tenant_path(tenant_id)}?done={command}", HTTPStatus.SEE_OTHER)

    async def _run(self, request: Request) -> Response:
        tenant_id, run_id, now = _tenant_id(request), request.path_params["run"], self.clock.now()
        progress = await self._progress(tenant_id, run_id)
        run = await self.records.run(run_id, going=progress.run_id if progress else None)
        if run is None or run.tenant != tenant_id:
            raise HTTPException(
                HTTPStatus.NOT_FOUND, f"{tenant_id} has no such run, or it is older than store.keep_runs"
            )
        here = trail(request.query_params.get("after", ""))
        rows = await self.records.unpushed(run_id, ROWS + 1, here.after)
        following = rows[ROWS - 1].campaign_id if len(rows) > ROWS else None
        more = unpushed_of(run) - ROWS * len(here.cursors) - len(rows[:ROWS])
        view = run_view(
            daemon := await self.lists.daemon(),
            RunDetails(run, rows[:ROWS], max(0, more)),
            now,
            progress=progress,
            trace_url=self.trace_url(),
            trail=here,
            following=following,
        )
        around = await self._frame(f"{tenant_id}, {view.due.words}", daemon, current="Tenants")
        return await _rendered(request, "run.html", around, view=view)

    async def _progress(self, tenant_id: str, run_id: str) -> RunProgress | None:
        """Return the progress of a run, if it is the tenant's run in progress."""
        try:
            progress = (await self.commands.statuses.one(tenant_id)).run
        except NoSuchTenant:  # its runs are kept for a while
            return None
        return progress if progress and progress.run_id == run_id else None

    async def _quotas(self, request: Request) -> Response:
        here = trail(request.query_params.get("after", ""))
        page = await self.lists.quotas(ROWS, here.after)
        daemon = await self.lists.daemon()
        view = quotas_view(daemon, page, self.clock.now(), trail=here)
        return await _rendered(request, "quotas.html", await self._frame("Quotas", daemon, current="Quotas"), view=view)

    async def _failures(self, request: Request) -> Response:
        reasons, daemon = await self.lists.reasons(), await self.lists.daemon()
        view = failures_view(daemon, reasons, self.clock.now())
        around = await self._frame("Failures", daemon, current="Failures")
        return await _rendered(request, "failures.html", around, view=view)

    async def _find(self, request: Request) -> Response:
        text = request.query_params.get("q", "").replace("\0", "").strip()[:_LONGEST_QUERY]
        found = await self._hits(text) if text else []
        if len(found) == 1:
            return RedirectResponse(found[0].href, HTTPStatus.SEE_OTHER)
        return await _rendered(
            request, "found.html", await self._frame("Search", asked=text, still=True), view=found_view(text, found)
        )

    async def _hits(self, text: str) -> list[Hit]:
        page = await self.lists.tenants(Selection(q=text), worst=False, limit=_MOST_HITS, after=None)
        tenants = [row.status.id for row in page.rows]
        if text in tenants:
            return hits([text], (), (), self.clock.now())
        runs = await self.records.find_runs(text, _MOST_HITS)
        return hits(tenants, await self.records.find_campaign(text, _MOST_HITS), runs, self.clock.now())


def wants_page(request: Request) -> bool:
    """Whether a request comes from a browser that would show a page: errors of the API stay problem details."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")


def _tenant_id(request: Request) -> str:
    text: str = request.path_params["tenant"]
    if re.fullmatch(TENANT_ID, text) is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such tenant")
    return text


def _member(kind: type[E], text: str) -> E | None:
    """Return the member that a parameter names; None without one."""
    try:
        return kind(text) if text else None
    except ValueError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no list {text[:_LONGEST_QUERY]}") from error


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such page") from error
    if instant.tzinfo is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such page")
    return instant


async def _rendered(request: Request, template: str, around: Frame, status: int = 200, **values: object) -> Response:
    """Render in a thread: a hundred rows take some milliseconds, in which the runs go on."""
    return await to_thread.run_sync(lambda: html(request, template, around, status, **values))


async def _asset(request: Request) -> Response:
    return asset(request, request.path_params["name"])


async def _icon(request: Request) -> Response:
    return asset(request, "icon.svg")
