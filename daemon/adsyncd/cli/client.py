"""The client of the control API: HTTP over the daemon's socket."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote

import anyio
import httpx
from pydantic import TypeAdapter, ValidationError

from adsyncd.control.paging import TOTAL
from adsyncd.control.problem import FilesRefusedProblem, ProblemDetails
from adsyncd.errors import AdsyncdError, DaemonBusy, NoDaemon

ANSWERS_WITHIN_S = 10.0
_LARGEST_ANSWER = 64 * 1024 * 1024  # twice that of 20,000 tenants, each with an error

_PAUSES_S = (0.2, 0.5)  # before a question is asked again
_CUT_OFF = ("Server disconnected", "peer closed connection")  # as h11 and httpcore say it

_MOST_PAGES = 1000
_MOST_ITEMS = 50_000  # bounds the memory

T = TypeVar("T")
_PROBLEM = TypeAdapter(FilesRefusedProblem | ProblemDetails)


class Refused(AdsyncdError):
    """The daemon refused a command. `problem` is its answer."""

    def __init__(self, problem: ProblemDetails) -> None:
        super().__init__("; ".join(part for part in (problem.detail, problem.fix) if part))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """An answer. `next`: the path of the next page, or an empty text; `total`: the number of items of all pages."""

    answer: T
    next: str
    total: int | None


class Client:
    """Sends questions and commands to the daemon. `place` names its socket in errors."""

    def __init__(self, http: httpx.AsyncClient, place: str) -> None:
        self._http = http
        self._place = place

    async def ask(
        self,
        method: str,
        path: str,
        answers: TypeAdapter[T],
        *,
        order: Mapping[str, object] | None = None,
        within_s: float = ANSWERS_WITHIN_S,
    ) -> T:
        """Return the answer to a request, with `order` for a body. Raises DaemonBusy, NoDaemon and Refused."""
        return (await self._ask(method, path, answers, within_s, order)).answer

    async def ask_all(self, path: str, answers: TypeAdapter[list[T]]) -> list[T]:
        """Return all items of a list, page after page. Raises as `ask` does."""
        return (await self.ask_some(path, answers, None)).answer

    async def ask_some(self, path: str, answers: TypeAdapter[list[T]], most: int | None) -> "Page[list[T]]":
        """Return the items of a list, page after page, until there are `most`, or all. Raises as `ask` does."""
        found = list[T]()
        for _ in range(_MOST_PAGES):
            page = await self._ask("GET", path, answers, ANSWERS_WITHIN_S)
            found += page.answer
            if not page.next or (most is not None and len(found) >= most):
                return Page(found, page.next, len(found) if page.total is None else page.total)
            path = page.next
            if not path.startswith("/v1/") or len(found) > _MOST_ITEMS:
                break
        raise self._not_adsyncd("with pages without an end")

    async def _ask(
        self,
        method: str,
        path: str,
        answers: TypeAdapter[T],
        within_s: float,
        order: Mapping[str, object] | None = None,
    ) -> "Page[T]":
        try:
            with anyio.fail_after(within_s):
                status, body, headers = await self._exchange_again(method, path, order)
        except TimeoutError as error:
            raise DaemonBusy(f"{self._daemon} has not answered within {within_s:g} s; {_next(method)}") from error
        except httpx.HTTPError as error:
            if _is_busy(error):
                raise DaemonBusy(f"{self._daemon} closed the connection without an answer; {_next(method)}") from error
            raise NoDaemon(f"no daemon answers at {self._place}: {_reason(error)}") from error
        try:
            if status in {HTTPStatus.OK, HTTPStatus.ACCEPTED}:
                return Page(answers.validate_json(body), _next_in(headers), _total_in(headers))
            raise Refused(_PROBLEM.validate_json(body))
        except ValidationError as error:
            if status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise DaemonBusy(f"{self._daemon} is busy with too many requests; try again") from error
            raise self._not_adsyncd(f"with status {status}") from error

    async def _exchange_again(
        self, method: str, path: str, order: Mapping[str, object] | None
    ) -> tuple[int, bytes, httpx.Headers]:
        """Exchange; a question that a busy daemon did not answer is asked again."""
        for pause_s in _PAUSES_S if method == "GET" else ():
            try:
                return await self._exchange(method, path, order)
            except httpx.HTTPError as error:
                if not _is_busy(error):
                    raise
                await anyio.sleep(pause_s)
        return await self._exchange(method, path, order)

    async def _exchange(
        self, method: str, path: str, order: Mapping[str, object] | None
    ) -> tuple[int, bytes, httpx.Headers]:
        """Return the status, the raw body (a compressed one could expand beyond the limit) and the headers."""
        body = bytearray()
        async with self._http.stream(method, path, json=order, headers={"Accept-Encoding": "identity"}) as answer:
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise self._not_adsyncd("with more than 64 MiB")
            return answer.status_code, bytes(body), answer.headers

    @property
    def _daemon(self) -> str:
        return f"the daemon at {self._place}"

    def _not_adsyncd(self, how: str) -> NoDaemon:
        return NoDaemon(f"the server at {self._place} is not adsyncd of this version: it answered {how}")


@asynccontextmanager
async def reaching(socket: Path) -> AsyncIterator[Client]:
    """Open a client for the daemon that listens at `socket`."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://adsyncd", timeout=None) as http:  # noqa: S113 - each request as a whole has a deadline
        yield Client(http, str(socket))


def is_absent(error: NoDaemon) -> bool:
    """Return whether no process listens at the socket; otherwise one may, which can't be asked."""
    return any(isinstance(cause, FileNotFoundError | ConnectionRefusedError) for cause in _causes(error))


def path_of(tenant: str) -> str:
    """Return the path of a tenant; any text typed as its id is quoted."""
    return f"/v1/tenants/{quote(tenant, safe='')}"


def _next_in(headers: httpx.Headers) -> str:
    return httpx.Response(200, headers=headers).links.get("next", {}).get("url", "")


def _total_in(headers: httpx.Headers) -> int | None:
    total = headers.get(TOTAL, "")
    return int(total) if total.isdecimal() else None


def _is_busy(error: httpx.HTTPError) -> bool:
    """Return whether something listens and takes no more connections, or ended one before its answer."""
    if isinstance(error, httpx.RemoteProtocolError):
        return str(error).startswith(_CUT_OFF)
    if isinstance(error, httpx.ConnectError):
        return any(isinstance(cause, BlockingIOError) for cause in _causes(error))
    return isinstance(error, httpx.NetworkError)


def _next(method: str) -> str:
    """Return what to do about a daemon that does not answer."""
    if method == "GET":
        return "try again, and see its log: journalctl -u adsyncd --since -5min"
    return "it may have done it, or do it yet: see adsyncd status, and its log: journalctl -u adsyncd --since -5min"


def _reason(error: Exception) -> str:
    """Return why the socket could not be reached, and the fix."""
    for cause in _causes(error):
        match cause:
            case FileNotFoundError():
                return "there is no such socket; start the daemon, or name its settings with --config"
            case ConnectionRefusedError():
                return "it ended and left its socket behind; start it again"
            case PermissionError():
                return "permission denied; run this as its user or root, or as a member of the group in control.group"
    return str(error) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
