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
from adsyncd.errors import AdsyncdError, DaemonBusy, NoDaemon

ANSWERS_WITHIN_S = 10.0
_LARGEST_ANSWER = 64 * 1024 * 1024  # that of 20,000 tenants, each with an error, is half as large

T = TypeVar("T")
_REFUSAL = TypeAdapter(wire.FilesRefused | wire.ProblemDetails)


class Refused(AdsyncdError):
    """The daemon does not do what it was told. `problem`: what it says."""

    def __init__(self, problem: wire.ProblemDetails) -> None:
        super().__init__("; ".join(part for part in (problem.detail, problem.fix) if part))
        self.problem = problem


class Client:
    """Asks the daemon, and tells it what to do. `place` names its socket, for people."""

    def __init__(self, http: httpx.AsyncClient, place: str) -> None:
        self._http = http
        self._place = place

    async def ask(self, method: str, path: str, answers: TypeAdapter[T], *, within_s: float = ANSWERS_WITHIN_S) -> T:
        """Return the answer, which has to be there in `within_s` seconds. Raises DaemonBusy, NoDaemon and Refused."""
        try:
            with anyio.fail_after(within_s):
                status, body = await self._exchange(method, path)
        except TimeoutError as error:
            raise DaemonBusy(
                f"the daemon at {self._place} has not answered within {within_s:g} s; see its log"
            ) from error
        except httpx.HTTPError as error:
            raise NoDaemon(f"no daemon answers at {self._place}: {_reason(error)}") from error
        try:
            if status in {HTTPStatus.OK, HTTPStatus.ACCEPTED}:
                return answers.validate_json(body)
            raise Refused(_REFUSAL.validate_json(body))
        except ValidationError as error:
            if status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise DaemonBusy(f"the daemon at {self._place} answers too many others; try again") from error
            raise self._stranger(f"with status {status}") from error

    async def _exchange(self, method: str, path: str) -> tuple[int, bytes]:
        """Return the status and the body, as it came: what is compressed could be far larger than it seems."""
        body = bytearray()
        async with self._http.stream(method, path, headers={"Accept-Encoding": "identity"}) as answer:
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise self._stranger("without an end")
            return answer.status_code, bytes(body)

    def _stranger(self, how: str) -> NoDaemon:
        return NoDaemon(f"what answers at {self._place} {how} is no adsyncd of this version")


@asynccontextmanager
async def reaching(socket: Path) -> AsyncIterator[Client]:
    """Open the way to the daemon that listens there."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
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
