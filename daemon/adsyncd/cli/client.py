"""The client of the control API: HTTP over the daemon's socket."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import anyio
import httpx
from pydantic import TypeAdapter, ValidationError

from adsyncd.control.problem import FilesRefusedProblem, ProblemDetails
from adsyncd.errors import AdsyncdError, DaemonBusy, NoDaemon

ANSWERS_WITHIN_S = 10.0
_LARGEST_ANSWER = 64 * 1024 * 1024  # twice that of 20,000 tenants, each with an error

_MOST_PAGES = 1000
_MOST_ITEMS = 50_000  # bounds the memory

T = TypeVar("T")
_PROBLEM = TypeAdapter(FilesRefusedProblem | ProblemDetails)


class Refused(AdsyncdError):
    """The daemon refused a command. `problem` is its answer."""

    def __init__(self, problem: ProblemDetails) -> None:
        super().__init__("; ".join(part for part in (problem.detail, problem.fix) if part))
        self.problem = problem


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
        return (await self._ask(method, path, answers, within_s, order))[0]

    async def ask_all(self, path: str, answers: TypeAdapter[list[T]]) -> list[T]:
        """Return all items of a list, page after page. Raises as `ask` does."""
        found = list[T]()
        for _ in range(_MOST_PAGES):
            page, path = await self._ask("GET", path, answers, ANSWERS_WITHIN_S)
            found += page
            if not path:
                return found
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
    ) -> tuple[T, str]:
        """Return the answer, and the path of the next page or an empty text."""
        try:
            with anyio.fail_after(within_s):
                status, body, following = await self._exchange(method, path, order)
        except TimeoutError as error:
            raise DaemonBusy(
                f"the daemon at {self._place} has not answered within {within_s:g} s; see its log"
            ) from error
        except httpx.HTTPError as error:
            raise NoDaemon(f"no daemon answers at {self._place}: {_reason(error)}") from error
        try:
            if status in {HTTPStatus.OK, HTTPStatus.ACCEPTED}:
                return answers.validate_json(body), following
            raise Refused(_PROBLEM.validate_json(body))
        except ValidationError as error:
            if status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise DaemonBusy(f"the daemon at {self._place} is busy with too many requests; try again") from error
            raise self._not_adsyncd(f"with status {status}") from error

    async def _exchange(self, method: str, path: str, order: Mapping[str, object] | None) -> tuple[int, bytes, str]:
        """Return the status, the raw body (a compressed one could expand beyond the limit) and the next page's path."""
        body = bytearray()
        async with self._http.stream(method, path, json=order, headers={"Accept-Encoding": "identity"}) as answer:
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise self._not_adsyncd("with more than 64 MiB")
            return answer.status_code, bytes(body), answer.links.get("next", {}).get("url", "")

    def _not_adsyncd(self, how: str) -> NoDaemon:
        return NoDaemon(f"the server at {self._place} is not adsyncd of this version: it answered {how}")


@asynccontextmanager
async def reaching(socket: Path) -> AsyncIterator[Client]:
    """Open a client for the daemon that listens at `socket`."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://adsyncd", timeout=None) as http:  # noqa: S113 - each request as a whole has a deadline
        yield Client(http, str(socket))


def path_of(tenant: str) -> str:
    """Return the path of a tenant; any text typed as its id is quoted."""
    return f"/v1/tenants/{quote(tenant, safe='')}"


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
