"""How commands reach the daemon: HTTP over its control socket."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import anyio
import httpx
from pydantic import TypeAdapter, ValidationError

from adsyncd.control import wire
from adsyncd.errors import AdsyncdError, NoDaemon

ANSWERS_WITHIN_S = 10.0

T = TypeVar("T")
_REFUSAL = TypeAdapter(wire.FilesRefused | wire.ProblemDetails)


class Refused(AdsyncdError):
    """The daemon does not do what it was told. `problem`: what it says."""

    def __init__(self, problem: wire.ProblemDetails) -> None:
        super().__init__("; ".join(part for part in (problem.detail, problem.mend) if part))
        self.problem = problem


class Client:
    """Asks the daemon, and tells it what to do. `place` names its socket, for people."""

    def __init__(self, http: httpx.AsyncClient, place: str) -> None:
        self._http = http
        self._place = place

    async def ask(self, method: str, path: str, answers: TypeAdapter[T], *, within_s: float = ANSWERS_WITHIN_S) -> T:
        """Return the answer, which has to be there in `within_s` seconds. Raises NoDaemon and Refused."""
        try:
            with anyio.fail_after(within_s):
                answer = await self._http.request(method, path)
        except TimeoutError as error:
            raise NoDaemon(
                f"the daemon at {self._place} has not answered within {within_s:g} s; see its log"
            ) from error
        except httpx.TransportError as error:
            raise NoDaemon(f"no daemon answers at {self._place}: {_reason(error)}") from error
        try:
            if answer.is_success:
                return answers.validate_json(answer.content)
            raise Refused(_REFUSAL.validate_json(answer.content))
        except ValidationError as error:
            status = HTTPStatus(answer.status_code).phrase
            raise NoDaemon(f"what answers at {self._place} ({status}) is no adsyncd of this version") from error


@asynccontextmanager
async def reaching(socket: Path) -> AsyncIterator[Client]:
    """Open the way to the daemon that listens there."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://adsyncd", timeout=None) as http:  # noqa: S113 - the whole request has a deadline, each time
        yield Client(http, str(socket))


def path_of(tenant: str) -> str:
    """Return where a tenant is asked about, whatever has been typed as its id."""
    return f"/v1/tenants/{quote(tenant, safe='')}"


def _reason(error: Exception) -> str:
    """Say why the socket could not be reached, and what to do about it."""
    for cause in _causes(error):
        match cause:
            case FileNotFoundError():
                return "there is no such socket; start the daemon, or name its settings with --config"
            case ConnectionRefusedError():
                return "it has ended and left its socket behind; start it again"
            case PermissionError():
                return "you may not ask it; run this as its user or root, or as a member of the group in control.group"
    return str(error) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
